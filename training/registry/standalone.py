"""Serve one registered version alone: what `mlflow models serve -m models:/pt-1001-detector/3` runs.

The version contains no code: it names `training.standalone`, which must be installed where it is served. The
endpoint for all sensors is `serving.fleet_model`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from training.anomaly.detector_files import open_detector
from training.anomaly.profile_detector import ProfileDetector
from training.anomaly.rule_based_detector import RULES_FILE
from training.errors import DataError
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind
from training.registry.signatures import SIGNATURES


class StandaloneDetector:
    """Scores rows of `timestamp, value`, each in the context of the rows before it."""

    def __init__(self, detector: ProfileDetector) -> None:
        self._detector = detector

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """One result per input row, in the same order."""
        readings = pd.Series(rows["value"].to_numpy(float), index=as_utc(rows["timestamp"]))
        detected = self._detector.detect(readings)
        detected["timestamp"] = rows["timestamp"].to_numpy()
        return detected[[column.name for column in SIGNATURES[Kind.DETECTOR].outputs.inputs]]


class StandaloneForecaster:
    """Forecasts at the requested timestamps, then `horizon` steps after the newest training reading."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One result per input row, then one per further step."""
        horizon = int((params or {}).get("horizon", 0))
        parts = [self._forecaster.predict(as_utc(rows["timestamp"]))]
        if horizon > 0:
            parts.append(self._forecaster.forecast(horizon))
        forecast = pd.concat(parts, ignore_index=True)
        return pd.DataFrame(
            {
                "timestamp": forecast["timestamps"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "expected": forecast["forecasted_values"],
                "lower": forecast["lower_bound"],
                "upper": forecast["upper_bound"],
            }
        )


def as_utc(stamps: pd.Series) -> pd.DatetimeIndex:
    """Texts or times of any zone as naive UTC; those without a zone are UTC.

    Raises:
        DataError: a timestamp is missing or is not ISO 8601.
    """
    try:
        times = pd.to_datetime(stamps, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise DataError(
            f"A timestamp is invalid: {error}. Use ISO 8601, such as 2026-01-31T23:00:00Z."
        ) from error
    if times.isna().any():
        raise DataError("A timestamp is missing. Use ISO 8601, such as 2026-01-31T23:00:00Z.")
    return pd.DatetimeIndex(times).tz_localize(None)


def _load_pyfunc(path: str) -> StandaloneDetector | StandaloneForecaster:
    """Load a version from the folder of its files; MLflow calls this."""
    folder = Path(path)
    if any((folder / name).exists() for name in ("detector.json", RULES_FILE)):
        return StandaloneDetector(open_detector(folder))
    return StandaloneForecaster(Forecaster.load(folder))
