"""Forecast a sensor that has no forecaster champion by the best naive forecast.

Chooses among the naive forecasts by the errors they would have made, and derives the intervals from these, in
milliseconds. The naive forecasts are in `training.forecasting.naive_forecasts`.
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from training.common.times import to_times
from training.forecasting.intervals import fit_bands
from training.forecasting.rolling_origin import RollingBacktest
from training.forecasting.structures import TrainingHistory
from training.forecasting.time_grid import build_grid

MAX_SLOTS_PER_READING = 4  # limits the grid of a history with long gaps


def naive_forecast(
    recent: pd.Series, steps: int, *, step: timedelta | None = None, width: float = 0.95
) -> pd.DataFrame:
    """The next `steps` after the newest reading: a forecaster's columns, and `method`, the forecast's name.

    Raises:
        NotTrainable: there are fewer than two readings and no `step`.
    """
    grid = build_grid(
        pd.DatetimeIndex(recent.index),
        recent.to_numpy(np.float64),
        step=step,
        slots=len(recent) * MAX_SLOTS_PER_READING,
    )
    backtest = RollingBacktest(TrainingHistory(grid, {}, {}), max(1, min(steps, len(recent) // 4)))
    name, _ = backtest.best_naive()
    best = backtest.naives[name]
    bands = fit_bands(
        backtest.truth - backtest.forecast_naive(name),
        weights=backtest.weights,
        independent=backtest.independent,
        spread=float(np.nanstd(grid.values)),
    )
    ahead = np.arange(1, steps + 1)
    values = best.forecast(grid, np.array([len(grid) - 1]), steps)[0]
    lower, upper = bands.around(values, ahead.astype(np.float64), width)
    return pd.DataFrame(
        {
            "timestamps": to_times(grid.last + grid.step * ahead),
            "forecasted_values": values,
            "lower_bound": lower,
            "upper_bound": upper,
            "method": best.name,
        }
    )
