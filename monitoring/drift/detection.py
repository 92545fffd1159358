"""Have the readings drifted from the window a model was trained on? A verdict that can be believed.

`compare` answers for two frames of readings and knows no database; `check_fleet` asks it for every champion,
`DriftCheckStore.latest` says what came of it last. The false-alarm rate is the one number
to set: how far blocks of readings move by themselves is learned from the window's own past, its
autocorrelation, day, week and the distance of the check included. Reading order: `drift_comparison` (what is
asked when), `drift_blocks`, `drift_statistics`, `drift_null`, `drift_judgement`, `drift_kinds`; for a fleet,
`drift_fleet`, `drift_models`, `drift_quality`, `drift_neighbours`, `drift_recording`, `drift_page`.
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from monitoring.drift.comparison import DriftComparer, DriftComparison, DriftSettings
from monitoring.drift.statistics import Readings
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

    Frames hold `timestamp, value` and perhaps `anomaly_score` and `forecast_error`; a Series is values by
    time. The newest stretch of `current`, at most `settings.current` long, is judged; what lies before it
    tells since when. Rows without a finite value are left out.

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
    """Readings of a frame or a Series in order of time, each time once, without those that are not finite.

    Raises:
        DataError: a column is missing.
    """
    if isinstance(frame, pd.Series):
        frame = pd.DataFrame({"timestamp": frame.index, "value": frame.to_numpy()})
    if missing_columns := {"timestamp", "value"} - set(frame.columns):
        raise DataError(
            f"Readings to compare need the columns timestamp and value; {missing_columns} is missing."
        )
    times = pd.DatetimeIndex(frame["timestamp"])
    if times.tz is not None:
        times = times.tz_convert("UTC").tz_localize(None)
    values = _to_floats(frame["value"])
    valid = np.flatnonzero(np.isfinite(values) & times.notna())
    seconds = times[valid].as_unit("us").asi8 / 1e6
    unique_seconds, first = np.unique(seconds, return_index=True)
    rows = valid[first]
    scores, errors = (
        _to_floats(frame[name])[rows] if name in frame else np.full(len(rows), np.nan)
        for name in ("anomaly_score", "forecast_error")
    )
    return Readings(unique_seconds, values[rows], scores, errors)


def _to_floats(column: pd.Series) -> np.ndarray:
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
