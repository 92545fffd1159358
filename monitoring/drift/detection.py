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

from monitoring.drift.comparison import Check, Comparison, DriftSettings
from monitoring.drift.statistics import Readings
from training.errors import DataError

__all__ = ["Check", "Comparison", "DriftSettings", "compare", "readings_of"]


def compare(
    reference: pd.DataFrame | pd.Series,
    current: pd.DataFrame | pd.Series,
    *,
    settings: DriftSettings | None = None,
    unit: str = "",
    step: timedelta | None = None,
) -> Comparison:
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
    'level moved by +2 bar (2.0 sd)'
    """
    settings = settings or DriftSettings()
    return Check(settings, unit, step).of(readings_of(reference), readings_of(current))


def readings_of(frame: pd.DataFrame | pd.Series) -> Readings:
    """Readings of a frame or a Series in order of time, each time once, without those that are not finite.

    Raises:
        DataError: a column is missing.
    """
    if isinstance(frame, pd.Series):
        frame = pd.DataFrame({"timestamp": frame.index, "value": frame.to_numpy()})
    if lacking := {"timestamp", "value"} - set(frame.columns):
        raise DataError(f"Readings to compare need the columns timestamp and value; {lacking} is missing.")
    times = pd.DatetimeIndex(frame["timestamp"])
    if times.tz is not None:
        times = times.tz_convert("UTC").tz_localize(None)
    values = _numbers(frame["value"])
    kept = np.flatnonzero(np.isfinite(values) & times.notna())
    seconds = times[kept].as_unit("us").asi8 / 1e6
    once, first = np.unique(seconds, return_index=True)
    rows = kept[first]
    scores, errors = (
        _numbers(frame[name])[rows] if name in frame else np.full(len(rows), np.nan)
        for name in ("anomaly_score", "forecast_error")
    )
    return Readings(once, values[rows], scores, errors)


def _numbers(column: pd.Series) -> np.ndarray:
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
