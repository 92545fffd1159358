"""Summaries of a forecaster: a forecast in figures, its components, its errors on held-out readings.

The forecasts themselves are made by `training.forecasting.fitted_forecaster`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from training.common.arrays import Floats
from training.common.times import to_times
from training.forecasting.fitted_forecaster import FittedForecaster, fit_forecaster, forecast_at
from training.forecasting.metrics import interval_measures, mape_note, naive_scales, point_measures
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.seasonality import PERIOD_DAYS
from training.forecasting.structures import SeasonalityOption
from training.forecasting.time_grid import DAY, TimeGrid

SEASON_POINTS = {"daily": 96, "weekly": 7 * 24, "yearly": 366}  # points in one cycle of a season
FIRST_MONDAY = 4 * DAY  # 1970-01-05


def summarize_forecast(
    forecast: pd.DataFrame, state: TimeGrid, *, method: str, skill: float
) -> dict[str, Any]:
    """Direction, change, volatility and extremes of one forecast.

    The direction is "stable" where the change is at most that of a random walk: the usual change between two
    readings times the square root of the steps.
    """
    values = forecast["forecasted_values"].to_numpy()
    known = state.values[state.known]
    latest = float(known[-1])
    change = float(values[-1] - latest)
    random_walk = (
        float(np.abs(np.diff(known[-500:])).mean()) * np.sqrt(len(values)) if len(known) > 1 else 0.0
    )
    return {
        "periods": len(values),
        "start": forecast["timestamps"].iloc[0],
        "end": forecast["timestamps"].iloc[-1],
        "direction": "stable" if abs(change) <= random_walk else ("rising" if change > 0 else "falling"),
        "current_value": latest,
        "final_value": float(values[-1]),
        "change": change,
        "change_percent": 100 * change / abs(latest) if latest else float("nan"),
        "trend_change": float(forecast["trend"].iloc[-1] - forecast["trend"].iloc[0]),
        "min": float(values.min()),
        "min_at": forecast["timestamps"].iloc[int(values.argmin())],
        "max": float(values.max()),
        "max_at": forecast["timestamps"].iloc[int(values.argmax())],
        "mean": float(values.mean()),
        "volatility": float(values.std()),
        "mean_interval_width": float((forecast["upper_bound"] - forecast["lower_bound"]).mean()),
        "method": method,
        "skill": skill,
    }


def forecast_components(fitted: FittedForecaster) -> dict[str, pd.DataFrame]:
    """The trend over the readings kept, and one cycle of each season: columns `timestamps` and `value`.

    A day starts at midnight UTC, a week on Monday, a year on 1 January.
    """
    state = fitted.state
    seconds = state.seconds_at(np.arange(len(state)))
    parts = {"trend": _frame(seconds, fitted.trend(seconds))}
    season_names = {season.name for member in fitted.members for season in member.curve.seasons}
    for name in ("weekly", "daily", "yearly"):
        if name in season_names:
            cycle = np.arange(SEASON_POINTS[name]) * PERIOD_DAYS[name] * DAY / SEASON_POINTS[name]
            cycle = cycle + FIRST_MONDAY if name == "weekly" else cycle
            parts[name] = _frame(cycle, fitted.season(cycle, name))
    return parts


def held_out_metrics(
    state: TimeGrid,
    parameters: ForecasterParameters,
    seasonality: Mapping[str, SeasonalityOption],
    *,
    interval_width: float,
) -> dict[str, Any]:
    """Errors of one forecast over the last tenth of the readings, fitted without them.

    `mape_note` is a sentence on the readings near zero that MAPE leaves out.
    """
    rows = np.flatnonzero(state.known)
    split_slot = int(rows[-max(1, len(rows) // 10)])
    before = TimeGrid(state.start, state.step, state.values[:split_slot]).tail(len(state))
    fitted = fit_forecaster(before, parameters, seasonality)
    seconds = state.seconds_at(np.arange(split_slot, len(state)))
    truth = state.values[split_slot:]
    forecast = forecast_at(fitted, fitted.state, seconds)
    steps = np.arange(1.0, len(truth) + 1)
    stretch = fitted.stretch(fitted.state)
    lower, upper = fitted.bands.around(forecast, steps, interval_width, stretch=stretch)
    absolute, square = naive_scales(before.values, round(DAY / state.step))
    measured: dict[str, Any] = point_measures(truth, forecast, absolute_scale=absolute, square_scale=square)
    measured |= interval_measures(truth, lower, upper, width=interval_width)
    return measured | {"mape_note": mape_note(measured), "held_out": int((~np.isnan(truth)).sum())}


def _frame(seconds: Floats, values: Floats) -> pd.DataFrame:
    return pd.DataFrame({"timestamps": to_times(seconds), "value": values})
