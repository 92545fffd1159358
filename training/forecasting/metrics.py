"""How good forecasts were: the measures that mean the same on every sensor.

Knows truths and forecasts. Does not know how they came about.
"""

from typing import Any

import numpy as np

from training.common.arrays import Floats

NEAR_ZERO_SHARE = 0.05  # of the mean absolute truth; below, a percentage says nothing


def point_measures(
    truth: Floats, forecast: Floats, *, absolute_scale: float, square_scale: float
) -> dict[str, float]:
    """MAE and RMSE in the readings' unit, MAPE in percent, MASE and RMSSE as shares of the scales given.

    MAPE leaves out truths near zero; `mape_share_used` is the share it rests on. NaN where it cannot be said.
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
    """Coverage (share of truths inside) and the mean Winkler score (width plus the price of misses)."""
    known = ~np.isnan(truth) & ~np.isnan(lower) & ~np.isnan(upper)
    truth, lower, upper = truth[known], lower[known], upper[known]
    if not len(truth):
        return {"coverage": float("nan"), "winkler": float("nan")}
    below, above = np.maximum(lower - truth, 0), np.maximum(truth - upper, 0)
    # Bounds of a constant series are its value give or take rounding.
    slack = 1e-9 * np.maximum(np.abs(truth), np.abs(upper - lower))
    return {
        "coverage": float(((below <= slack) & (above <= slack)).mean()),
        "winkler": float((upper - lower + 2 / (1 - width) * (below + above)).mean()),
    }


def naive_scales(values: Floats, season: int) -> tuple[float, float]:
    """Mean absolute and mean square change over one season, the yardsticks of MASE and RMSSE.

    Where the readings never meet themselves a season ago, over one step.
    """
    for lag in (season, 1):
        changes = values[lag:] - values[:-lag] if lag < len(values) else np.zeros(0)
        changes = changes[~np.isnan(changes)]
        if len(changes):
            return float(np.abs(changes).mean()), float((changes**2).mean())
    return float("nan"), float("nan")


def mape_note(measures: dict[str, Any]) -> str:
    """What was done about truths near zero, in a sentence.

    >>> mape_note({"mape_share_used": 0.75})
    'MAPE rests on 75% of the readings: those below 5% of the mean absolute value are left out.'
    """
    share = measures["mape_share_used"]
    if np.isnan(share) or share == 0:
        return "MAPE cannot be said: no reading is far enough from zero."
    if share == 1:
        return "MAPE rests on all readings."
    return (
        f"MAPE rests on {share:.0%} of the readings: those below 5% of the mean absolute value are left out."
    )


def _share(part: float, whole: float) -> float:
    if whole > 0:
        return part / whole
    return 0.0 if part == 0 else float("nan")
