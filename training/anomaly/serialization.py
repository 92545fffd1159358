"""A fitted detector as files: one skops file a scikit-learn object, and `detector.json` for the rest.

Knows the names and the format's version, and checks all that comes back before it is used; leaves which
types a file may hold to `model_files`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.anomaly.base_detectors import VOICES, DetectorParameters, Voices, family_of
from training.anomaly.ensemble import Ensemble
from training.anomaly.features import POINTS, Profile
from training.artifacts.model_files import check_layout, read_json, read_skops, write_json, write_skops
from training.errors import UntrustedModel

if TYPE_CHECKING:
    from training.anomaly.detector import AnomalyDetector


LAYOUT = 1


class SavedDetector(BaseModel):
    """What `detector.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    parameters: DetectorParameters
    threshold: float = Field(ge=0.3, le=0.8)
    seed: int
    profile: Profile
    ensemble: Ensemble
    silent: dict[str, str] = Field(description="voices left out, with the reason")


def save_detector(detector: "AnomalyDetector", folder: Path) -> None:
    """Write a fitted detector into a folder, made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for voice, fitted in (detector.voices.forests | detector.voices.densities).items():
        write_skops(fitted, folder / f"{voice}.skops")
    saved = SavedDetector(
        parameters=detector.parameters,
        threshold=detector.threshold,
        seed=detector.seed,
        profile=detector.profile,
        ensemble=detector.ensemble,
        silent=detector.voices.silent,
    )
    write_json(saved.model_dump(mode="json"), folder / "detector.json")


def load_detector(kind: "type[AnomalyDetector]", folder: Path) -> "AnomalyDetector":
    """Read a detector back; raises UntrustedModel on anything that does not fit together."""
    written = read_json(folder / "detector.json")
    check_layout(written.get("format"), LAYOUT, name="detector.json")
    try:
        saved = SavedDetector.model_validate(written)
    except ValidationError as error:
        raise UntrustedModel(f"detector.json does not fit: {error}. Retrain this sensor.") from error
    spoken = [voice for voice in VOICES if voice not in saved.silent]
    calibrated = set(saved.ensemble.rarities) == set(spoken) and set(saved.ensemble.weights) == set(VOICES)
    if not calibrated or "ensemble" not in saved.ensemble.scales:
        raise UntrustedModel("detector.json lacks the calibration of a voice. Retrain this sensor.")
    detector = kind(saved.parameters, threshold=saved.threshold, seed=saved.seed)
    detector.profile = saved.profile
    detector.ensemble = saved.ensemble
    fitted = {voice: _read_voice(folder, voice, saved.profile) for voice in spoken if voice != "deviation"}
    detector.voices = Voices.of(
        {voice: model for voice, model in fitted.items() if family_of(voice) == "forest"},
        {voice: model for voice, model in fitted.items() if family_of(voice) == "density"},
        dict(saved.silent),
    )
    return detector


def _read_voice(folder: Path, voice: str, profile: Profile) -> Any:
    fitted = read_skops(folder / f"{voice}.skops")
    expected = "IsolationForest" if family_of(voice) == "forest" else "LocalOutlierFactor"
    if type(fitted).__name__ != expected:
        raise UntrustedModel(f"{voice}.skops holds a {type(fitted).__name__}, not a {expected}.")
    columns = len(POINTS) if voice.endswith("points") else profile.window.bit_length()
    if getattr(fitted, "n_features_in_", None) != columns:
        raise UntrustedModel(f"{voice}.skops was fitted to other features. Retrain this sensor.")
    return fitted
