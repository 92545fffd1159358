"""The forecast of a sensor that no forecaster serves: the best naive one, with intervals it has earned.

Knows how to choose among the naive forecasts by what they would have missed, in milliseconds and without a
model. Leaves their arithmetic to `training.forecasting.naive_forecasts`.
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from training.common.times import to_times
from training.forecasting.intervals import fit_bands
from training.forecasting.rolling_origin import RollingBacktest
from training.forecasting.structures import TrainingHistory
from training.forecasting.time_grid import build_grid

MAX_SLOTS_PER_READING = 4  # of a gappy history, at most so many slots of the grid for each reading


def naive_forecast(
    recent: pd.Series, steps: int, *, step: timedelta | None = None, width: float = 0.95
) -> pd.DataFrame:
    """The next `steps` after the newest reading, in the columns of a forecaster, and `method`, its name.

    Raises:
        NotTrainable: fewer than two readings, whose step cannot be known.
    """
    grid = build_grid(
        pd.DatetimeIndex(recent.index),
        recent.to_numpy(np.float64),
        step=step,
        slots=len(recent) * MAX_SLOTS_PER_READING,
    )
    rehearsal = RollingBacktest(TrainingHistory(grid, {}, {}), max(1, min(steps, len(recent) // 4)))
    name, _ = rehearsal.best_naive()
    best = rehearsal.naives[name]
    bands = fit_bands(
        rehearsal.truth - rehearsal.forecast_naive(name),
        age=rehearsal.age,
        independent=rehearsal.independent,
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
