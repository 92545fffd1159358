"""Measure a forecaster's accuracy over rolling origins, with figures that can be compared between sensors.

Forecasts are made by `training.forecasting.forecaster`, the formulas are in `training.forecasting.metrics`.
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from training.common.arrays import Floats, Ints
from training.common.times import to_times
from training.errors import NotTrainable
from training.forecasting.forecaster import Forecaster
from training.forecasting.metrics import interval_measures, naive_scales, point_measures
from training.forecasting.naive_forecasts import supported_naives
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.time_grid import DAY, TimeGrid, build_grid

MAX_SLOTS = 100_000
MIN_ORIGIN_READINGS = 10  # readings before an origin


def grade_forecaster(
    forecaster_or_parameters: Forecaster | ForecasterParameters,
    values: pd.Series,
    *,
    step: timedelta | None = None,
    horizon: int,
    origins: int = 10,
    since: pd.Timestamp | None = None,
    interval_width: float = 0.95,
) -> dict[str, float]:
    """Forecast from `origins` times spread over the readings after `since` (default: the last fifth).

    A fitted forecaster is not fitted again; it gets the readings before each origin as history, so `since`
    should be the end of its training. Parameters are fitted before each origin. Returns mae, rmse, mape,
    mape_share_used, mase, rmsse, coverage, winkler, naive_mae, naive_mase, skill and origins. The naive
    forecast is the best one over the same origins: skill is 1 - mae / naive_mae.

    Raises:
        NotTrainable: no origin has ten readings before it and a reading within the horizon after it.
    """
    grid = build_grid(
        pd.DatetimeIndex(values.index), values.to_numpy(dtype=np.float64), step=step, slots=MAX_SLOTS
    )
    begin = None if since is None else grid.slots_of(np.array([since.timestamp()]))[0]
    origin_slots = choose_origins(grid, horizon=horizon, origins=origins, begin=begin)
    truth = np.stack([_truth_after(grid, origin, horizon) for origin in origin_slots])
    forecasts = [
        _forecast(forecaster_or_parameters, grid, origin, horizon, interval_width) for origin in origin_slots
    ]
    forecast, lower, upper = (
        np.stack([frame[column].to_numpy() for frame in forecasts])
        for column in ("forecasted_values", "lower_bound", "upper_bound")
    )
    absolute, square = naive_scales(grid.values[: origin_slots[0] + 1], round(DAY / grid.step))
    measured = point_measures(truth, forecast, absolute_scale=absolute, square_scale=square)
    measured |= interval_measures(truth, lower, upper, width=interval_width)
    return measured | _naive_measures(grid, origin_slots, truth, measured["mae"], absolute)


def choose_origins(grid: TimeGrid, *, horizon: int, origins: int, begin: float | None = None) -> Ints:
    """Evenly spaced slots from `begin` on that have a reading and another within the horizon."""
    rows = np.flatnonzero(grid.known)
    first = rows[int(0.8 * len(rows))] if begin is None else begin
    candidates, following = rows[MIN_ORIGIN_READINGS - 1 : -1], rows[MIN_ORIGIN_READINGS:]
    usable = candidates[(candidates >= first - 1) & (following - candidates <= horizon)]
    # Most of the horizon of the last origins lies after the last reading.
    whole = usable[usable + horizon < len(grid)]
    usable = whole if len(whole) else usable
    if not len(usable):
        raise NotTrainable(
            f"none of {len(rows)} readings is an origin to forecast {horizon} steps from: it needs "
            f"{MIN_ORIGIN_READINGS} readings before it and one within the horizon after it. "
            "Use more readings or a shorter horizon."
        )
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, origins).astype(int))]
    placed: Ints = chosen.astype(np.int64)
    return placed


def _forecast(
    forecaster_or_parameters: Forecaster | ForecasterParameters,
    grid: TimeGrid,
    origin: int,
    horizon: int,
    width: float,
) -> pd.DataFrame:
    slots = np.flatnonzero(grid.known[: origin + 1])
    known = pd.Series(grid.values[slots], index=to_times(grid.seconds_at(slots)))
    if isinstance(forecaster_or_parameters, Forecaster):
        steps = grid.seconds_at(origin + np.arange(1, horizon + 1))
        return forecaster_or_parameters.predict(to_times(steps), history=known)
    forecaster = Forecaster(forecaster_or_parameters, interval_width=width, step=timedelta(seconds=grid.step))
    return forecaster.fit(known.index, known.to_numpy()).forecast(horizon)


def _naive_measures(
    grid: TimeGrid, origins: Ints, truth: Floats, mae: float, scale: float
) -> dict[str, float]:
    horizon = truth.shape[1]
    errors = [
        float(np.nanmean(np.abs(naive.forecast(grid, origins, horizon) - truth)))
        for naive in supported_naives(grid).values()
    ]
    best = min(errors)
    return {
        "naive_mae": best,
        "naive_mase": best / scale if scale > 0 else float("nan"),
        "skill": 1 - mae / best if best > 0 else 0.0,
        "origins": float(len(origins)),
    }


def _truth_after(grid: TimeGrid, origin: int, horizon: int) -> Floats:
    padded = np.full(horizon, np.nan)
    known_part = grid.values[origin + 1 : origin + 1 + horizon]
    padded[: len(known_part)] = known_part
    return padded
