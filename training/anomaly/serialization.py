"""Save and load a fitted detector: one skops file per scikit-learn object, and `detector.json` for the rest.

Everything that is read is checked before use. Which types a skops file may contain is in
`training.artifacts.model_files`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.anomaly.ensemble import Ensemble
from training.anomaly.features import POINTS
from training.anomaly.models.base_detectors import (
    BASE_DETECTORS,
    BaseDetectors,
    DetectorParameters,
    family_of,
)
from training.anomaly.profile import Profile
from training.artifacts.model_files import check_layout, read_json, read_skops, write_json, write_skops
from training.errors import UntrustedModel
from training.reasons import Reason, ReasonCode, render

if TYPE_CHECKING:
    from training.anomaly.detector import AnomalyDetector


LAYOUT_VERSION = 1


class SavedDetector(BaseModel):
    """The content of `detector.json`, the same since 0.1.0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    parameters: DetectorParameters
    threshold: float = Field(ge=0.3, le=0.8)
    seed: int
    profile: Profile
    ensemble: Ensemble
    silent: dict[str, str] = Field(description="base detectors that were not fitted, with the reason")


def save_detector(detector: "AnomalyDetector", folder: Path) -> None:
    """Write a fitted detector into a folder, which is created if needed."""
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
    """Read what `save_detector` wrote; raises UntrustedModel where files are invalid or inconsistent."""
    content = read_json(folder / "detector.json")
    check_layout(content.get("format"), LAYOUT_VERSION, name="detector.json")
    try:
        saved = SavedDetector.model_validate(content)
    except ValidationError as error:
        raise UntrustedModel(f"detector.json is invalid: {error}. Retrain this sensor.") from error
    active = [name for name in BASE_DETECTORS if name not in saved.silent]
    calibrated = set(saved.ensemble.rarities) == set(active) and set(saved.ensemble.weights) == set(
        BASE_DETECTORS
    )
    if not calibrated or "ensemble" not in saved.ensemble.scales:
        raise UntrustedModel("detector.json lacks the calibration of a base detector. Retrain this sensor.")
    detector = kind(saved.parameters, threshold=saved.threshold, seed=saved.seed)
    detector.profile = saved.profile
    detector.ensemble = saved.ensemble
    fitted = {
        name: _read_base_detector(folder, name, saved.profile) for name in active if name != "deviation"
    }
    detector.base_detectors = BaseDetectors.of(
        {name: model for name, model in fitted.items() if family_of(name) == "forest"},
        {name: model for name, model in fitted.items() if family_of(name) == "density"},
        {name: Reason(ReasonCode.TEXT, {"text": text}) for name, text in saved.silent.items()},
    )
    return detector


def _read_base_detector(folder: Path, name: str, profile: Profile) -> Any:
    fitted = read_skops(folder / f"{name}.skops")
    expected = "IsolationForest" if family_of(name) == "forest" else "LocalOutlierFactor"
    if type(fitted).__name__ != expected:
        raise UntrustedModel(f"{name}.skops contains a {type(fitted).__name__}, not a {expected}.")
    columns = len(POINTS) if name.endswith("points") else profile.window.bit_length()
    if getattr(fitted, "n_features_in_", None) != columns:
        raise UntrustedModel(f"{name}.skops was fitted to other features. Retrain this sensor.")
    return fitted
