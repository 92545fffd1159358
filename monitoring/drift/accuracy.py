"""Accuracy of stored forecasts against the readings that followed, and alarms against their budget.

Pure functions of frames; the figures are stored with each drift check.
"""

from typing import Any

import numpy as np
import pandas as pd

from monitoring.drift.statistics import Readings
from training.anomaly.calibration import count_episodes
from training.anomaly.seasonal_profile import DAY
from training.common.arrays import Flags, Floats
from training.common.times import epoch_seconds
from training.forecasting.metrics import naive_scales

# Steps ahead that are reported together.
HORIZON_GROUPS = {"1": (1, 1), "2-6": (2, 6), "7-24": (7, 24), "25+": (25, 10**9)}


def forecast_accuracy(
    forecasts: pd.DataFrame, actual: Readings, window: Readings, *, step: float
) -> dict[str, Any]:
    """MAE, MASE and coverage of stored forecasts, in total and by steps ahead.

    `forecasts` has the columns of `ml_predictions`. A forecast is compared with the nearest reading within
    half a step; MASE is relative to the change over a day (or a step) in the training window.
    """
    if forecasts.empty or not len(actual):
        return {"forecasts": 0}
    at, origin = (epoch_seconds(forecasts[name]) for name in ("timestamp", "origin"))
    actual_values = _nearest_values(at, actual, step / 2)
    matched = np.isfinite(actual_values)
    if not matched.any():
        return {"forecasts": 0}
    expected, lower, upper = (
        forecasts[name].to_numpy(np.float64)[matched]
        for name in ("predicted_value", "lower_bound", "upper_bound")
    )
    actual_values, steps_ahead = actual_values[matched], np.rint((at - origin)[matched] / step)
    scale = _naive_scale(window, step)
    errors = np.abs(actual_values - expected)
    covered = (actual_values >= lower) & (actual_values <= upper)
    summary = _summarize_errors(errors, covered, scale)
    summary["by_horizon"] = {
        name: _summarize_errors(errors[chosen], covered[chosen], scale)
        for name, (first, last) in HORIZON_GROUPS.items()
        if (chosen := (steps_ahead >= first) & (steps_ahead <= last)).any()
    }
    return summary


def alarm_rate(scores: pd.DataFrame, *, budget: float) -> dict[str, Any]:
    """Alarms a day among stored scores, and the alarm budget."""
    if len(scores) < 2:
        return {"scored": len(scores), "alarm_budget_per_day": budget}
    seconds = epoch_seconds(scores["timestamp"])
    days = max(float(seconds[-1] - seconds[0]) / DAY, 1e-9)
    alarms = count_episodes(scores["is_anomaly"].fillna(False).to_numpy(np.bool_))
    return {"scored": len(scores), "alarms_per_day": alarms / days, "alarm_budget_per_day": budget}


def _summarize_errors(errors: Floats, covered: Flags, scale: float) -> dict[str, Any]:
    mae = float(errors.mean())
    mase = {"mase": mae / scale} if scale > 0 else {}
    return {"forecasts": len(errors), "mae": mae, **mase, "coverage": float(covered.mean())}


def _nearest_values(at: Floats, actual: Readings, within: float) -> Floats:
    right = np.clip(np.searchsorted(actual.seconds, at), 1, max(len(actual) - 1, 1))
    pair = np.stack([right - 1, np.minimum(right, len(actual) - 1)])
    distances = np.abs(actual.seconds[pair] - at)
    nearest = pair[distances.argmin(axis=0), np.arange(len(at))]
    return np.where(distances.min(axis=0) <= within, actual.values[nearest], np.nan)


def _naive_scale(window: Readings, step: float) -> float:
    cells = np.rint((window.seconds - window.seconds[0]) / step).astype(np.int64)
    grid = np.full(int(cells[-1]) + 1, np.nan)
    grid[cells] = window.values
    return naive_scales(grid, max(round(DAY / step), 1))[0]
