"""Forecast accuracy: errors, scaled errors and interval scores that can be compared between sensors.

Functions of readings and forecasts. Forecasts to measure are made by `training.evaluation.backtest`.
"""

from typing import Any

import numpy as np

from training.common.arrays import Floats

NEAR_ZERO_SHARE = 0.05  # of the mean absolute reading; below it a percentage error has no meaning


def point_measures(
    truth: Floats, forecast: Floats, *, absolute_scale: float, square_scale: float
) -> dict[str, float]:
    """MAE and RMSE in the readings' unit, MAPE in percent, MASE and RMSSE relative to the given scales.

    MAPE leaves out readings near zero; `mape_share_used` is the share that it uses. NaN where undefined.
    """
    known = ~np.isnan(truth) & ~np.isnan(forecast)
    truth, errors = truth[known], (forecast - truth)[known]
    if not len(truth):
        return dict.fromkeys(("mae", "rmse", "mape", "mape_share_used", "mase", "rmsse"), float("nan"))
    mae, rmse = float(np.abs(errors).mean()), float(np.sqrt((errors**2).mean()))
    size = np.abs(truth)
    usable = (size > 0) & (size >= NEAR_ZERO_SHARE * size.mean())
    return {
        "mae": mae,
        "rmse": rmse,
        "mape": float(100 * (np.abs(errors[usable]) / size[usable]).mean()) if usable.any() else float("nan"),
        "mape_share_used": float(usable.mean()),
        "mase": _share(mae, absolute_scale),
        "rmsse": _share(rmse, float(np.sqrt(square_scale))),
    }


def interval_measures(truth: Floats, lower: Floats, upper: Floats, *, width: float) -> dict[str, float]:
    """Coverage (share of readings inside) and mean Winkler score (width plus a penalty for those outside)."""
    known = ~np.isnan(truth) & ~np.isnan(lower) & ~np.isnan(upper)
    truth, lower, upper = truth[known], lower[known], upper[known]
    if not len(truth):
        return {"coverage": float("nan"), "winkler": float("nan")}
    below, above = np.maximum(lower - truth, 0), np.maximum(truth - upper, 0)
    # The bounds of a constant series are its value, except for rounding.
    slack = 1e-9 * np.maximum(np.abs(truth), np.abs(upper - lower))
    return {
        "coverage": float(((below <= slack) & (above <= slack)).mean()),
        "winkler": float((upper - lower + 2 / (1 - width) * (below + above)).mean()),
    }


def naive_scales(values: Floats, season: int) -> tuple[float, float]:
    """Mean absolute and mean square change over one season: the scales of MASE and RMSSE.

    Over one step where no two readings lie one season apart.
    """
    for lag in (season, 1):
        changes = values[lag:] - values[:-lag] if lag < len(values) else np.zeros(0)
        changes = changes[~np.isnan(changes)]
        if len(changes):
            return float(np.abs(changes).mean()), float((changes**2).mean())
    return float("nan"), float("nan")


def mape_note(measures: dict[str, Any]) -> str:
    """A sentence on the readings near zero that MAPE leaves out.

    >>> mape_note({"mape_share_used": 0.75})
    'MAPE uses 75% of the readings; those below 5% of the mean absolute value are left out.'
    """
    share = measures["mape_share_used"]
    if np.isnan(share) or share == 0:
        return "MAPE is undefined: all readings are too close to zero."
    if share == 1:
        return "MAPE uses all readings."
    return f"MAPE uses {share:.0%} of the readings; those below 5% of the mean absolute value are left out."


def _share(part: float, whole: float) -> float:
    if whole > 0:
        return part / whole
    return 0.0 if part == 0 else float("nan")
