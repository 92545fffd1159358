"""One registered version served alone: what `mlflow models serve -m models:/pt-1001-detector/3` runs.

Knows one model's columns in and out. The artifact holds no code: it names this module, which must be
installed where it is served. Many sensors behind one endpoint are the fleet model's work.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from training.anomaly.detector import AnomalyDetector
from training.errors import DataError
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind
from training.registry.signatures import SIGNATURES


class StandaloneDetector:
    """Scores rows of `timestamp, value`, each in the light of the rows before it."""

    def __init__(self, detector: AnomalyDetector) -> None:
        self._detector = detector

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """One row of answer for each row asked, in the same order."""
        readings = pd.Series(rows["value"].to_numpy(float), index=as_utc(rows["timestamp"]))
        detected = self._detector.detect(readings)
        detected["timestamp"] = rows["timestamp"].to_numpy()
        return detected[[column.name for column in SIGNATURES[Kind.DETECTOR].outputs.inputs]]


class StandaloneForecaster:
    """Forecasts at the timestamps asked for, then `horizon` steps after the newest reading it knows."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row of answer for each row asked, then one for each further step."""
        horizon = int((params or {}).get("horizon", 0))
        parts = [self._forecaster.predict(as_utc(rows["timestamp"]))]
        if horizon > 0:
            parts.append(self._forecaster.forecast(horizon))
        answer = pd.concat(parts, ignore_index=True)
        return pd.DataFrame(
            {
                "timestamp": answer["timestamps"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "expected": answer["forecasted_values"],
                "lower": answer["lower_bound"],
                "upper": answer["upper_bound"],
            }
        )


def as_utc(stamps: pd.Series) -> pd.DatetimeIndex:
    """Texts or times of any zone as naive UTC; without a zone they are UTC.

    Raises:
        DataError: a text is no time, or is missing.
    """
    try:
        times = pd.to_datetime(stamps, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise DataError(
            f"A timestamp cannot be read: {error}. Write them like 2026-01-31T23:00:00Z."
        ) from error
    if times.isna().any():
        raise DataError("A timestamp is missing. Write them like 2026-01-31T23:00:00Z.")
    return pd.DatetimeIndex(times).tz_localize(None)


def _load_pyfunc(path: str) -> StandaloneDetector | StandaloneForecaster:
    """What MLflow calls with the folder of the version's files."""
    folder = Path(path)
    if (folder / "detector.json").exists():
        return StandaloneDetector(AnomalyDetector.load(folder))
    return StandaloneForecaster(Forecaster.load(folder))
