"""Compare two frames of readings: has the newer one drifted, at a stated false-alarm rate?

Needs no database; every champion is checked by `fleet`, and stored checks are read by `store`.
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from monitoring.drift.comparison import DriftComparer, DriftComparison, DriftSettings
from monitoring.drift.statistics import Readings
from training.common.arrays import Floats
from training.common.times import epoch_seconds
from training.errors import DataError

__all__ = ["DriftComparer", "DriftComparison", "DriftSettings", "compare", "to_readings"]


def compare(
    reference: pd.DataFrame | pd.Series,
    current: pd.DataFrame | pd.Series,
    *,
    settings: DriftSettings | None = None,
    unit: str = "",
    step: timedelta | None = None,
) -> DriftComparison:
    """Compare readings with the window before them.

    Frames have the columns `timestamp, value` and optionally `anomaly_score` and `forecast_error`; a Series
    holds values by time. The newest block of `current`, at most `settings.current` long, is judged; earlier
    readings only date the onset. Rows without a finite value are left out.

    Raises:
        DataError: a frame lacks a column.

    >>> hours = pd.date_range("2026-01-01", periods=720, freq="h")
    >>> values = pd.Series(np.random.default_rng(0).normal(20, 1, 720), index=hours)
    >>> compare(values[:672], values[672:]).verdict.value
    'steady'
    >>> compare(values[:672], values[672:] + 2, unit="bar").reason
    'level moved by +2 bar (2 SDs)'
    """
    settings = settings or DriftSettings()
    return DriftComparer(settings, unit, step).of(to_readings(reference), to_readings(current))


def to_readings(frame: pd.DataFrame | pd.Series) -> Readings:
    """The finite readings of a frame or a Series in order of time, each time once.

    Raises:
        DataError: a column is missing.
    """
    if isinstance(frame, pd.Series):
        frame = pd.DataFrame({"timestamp": frame.index, "value": frame.to_numpy()})
    if missing_columns := {"timestamp", "value"} - set(frame.columns):
        raise DataError(
            "Readings to compare need the columns timestamp and value; missing: "
            f"{', '.join(sorted(missing_columns))}."
        )
    seconds, values = epoch_seconds(frame["timestamp"]), _to_floats(frame["value"])
    valid = np.flatnonzero(np.isfinite(values) & np.isfinite(seconds))
    unique_seconds, first = np.unique(seconds[valid], return_index=True)
    rows = valid[first]
    scores, errors = (
        _to_floats(frame[name])[rows] if name in frame else np.full(len(rows), np.nan)
        for name in ("anomaly_score", "forecast_error")
    )
    return Readings(unique_seconds, values[rows], scores, errors)


def _to_floats(column: pd.Series) -> Floats:
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
