"""A fitted detector as files: one skops file a scikit-learn object, and `detector.json` for the rest.

Knows the names and the format's version, and checks all that comes back before it is used; leaves which
types a file may hold to `model_files`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.anomaly.base_detectors import BASE_DETECTORS, BaseDetectors, DetectorParameters, family_of
from training.anomaly.ensemble import Ensemble
from training.anomaly.features import POINTS
from training.anomaly.profile import Profile
from training.artifacts.model_files import check_layout, read_json, read_skops, write_json, write_skops
from training.errors import UntrustedModel
from training.reasons import Reason, ReasonCode, render

if TYPE_CHECKING:
    from training.anomaly.detector import AnomalyDetector


LAYOUT_VERSION = 1


class SavedDetector(BaseModel):
    """What `detector.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    parameters: DetectorParameters
    threshold: float = Field(ge=0.3, le=0.8)
    seed: int
    profile: Profile
    ensemble: Ensemble
    silent: dict[str, str] = Field(description="base detectors that were not fitted, with the reason")


def save_detector(detector: "AnomalyDetector", folder: Path) -> None:
    """Write a fitted detector into a folder, made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, fitted in (detector.base_detectors.forests | detector.base_detectors.densities).items():
        write_skops(fitted, folder / f"{name}.skops")
    saved = SavedDetector(
        parameters=detector.parameters,
        threshold=detector.threshold,
        seed=detector.seed,
        profile=detector.profile,
        ensemble=detector.ensemble,
        silent={name: render(reason) for name, reason in detector.base_detectors.skipped.items()},
    )
    write_json(saved.model_dump(mode="json"), folder / "detector.json")


def load_detector(kind: "type[AnomalyDetector]", folder: Path) -> "AnomalyDetector":
    """Read a detector back; raises UntrustedModel on anything that does not fit together."""
    content = read_json(folder / "detector.json")
    check_layout(content.get("format"), LAYOUT_VERSION, name="detector.json")
    try:
        saved = SavedDetector.model_validate(content)
    except ValidationError as error:
        raise UntrustedModel(f"detector.json does not fit: {error}. Retrain this sensor.") from error
    active = [voice for voice in BASE_DETECTORS if voice not in saved.silent]
    calibrated = set(saved.ensemble.rarities) == set(active) and set(saved.ensemble.weights) == set(
        BASE_DETECTORS
    )
    if not calibrated or "ensemble" not in saved.ensemble.scales:
        raise UntrustedModel("detector.json lacks the calibration of a voice. Retrain this sensor.")
    detector = kind(saved.parameters, threshold=saved.threshold, seed=saved.seed)
    detector.profile = saved.profile
    detector.ensemble = saved.ensemble
    fitted = {
        voice: _read_base_detector(folder, voice, saved.profile) for voice in active if voice != "deviation"
    }
    detector.base_detectors = BaseDetectors.of(
        {voice: model for voice, model in fitted.items() if family_of(voice) == "forest"},
        {voice: model for voice, model in fitted.items() if family_of(voice) == "density"},
        {name: Reason(ReasonCode.TEXT, {"text": text}) for name, text in saved.silent.items()},
    )
    return detector


def _read_base_detector(folder: Path, name: str, profile: Profile) -> Any:
    fitted = read_skops(folder / f"{name}.skops")
    expected = "IsolationForest" if family_of(name) == "forest" else "LocalOutlierFactor"
    if type(fitted).__name__ != expected:
        raise UntrustedModel(f"{name}.skops holds a {type(fitted).__name__}, not a {expected}.")
    columns = len(POINTS) if name.endswith("points") else profile.window.bit_length()
    if getattr(fitted, "n_features_in_", None) != columns:
        raise UntrustedModel(f"{name}.skops was fitted to other features. Retrain this sensor.")
    return fitted
