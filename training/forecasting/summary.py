"""What a forecaster tells people: a forecast in words, its parts, its errors on held-out readings.

Knows frames and sentences. Leaves the numbers in them to `fitted_forecaster` and `measures`.
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

SEASON_POINTS = {"daily": 96, "weekly": 7 * 24, "yearly": 366}  # of a season's one turn
FIRST_MONDAY = 4 * DAY  # 1970-01-05


def summarize_forecast(
    forecast: pd.DataFrame, state: TimeGrid, *, method: str, skill: float
) -> dict[str, Any]:
    """One forecast's direction, change, volatility and extremes.

    The direction is "stable" where the change is smaller than the usual change from reading to reading times
    the square root of the steps: nothing that wandering alone would not do.
    """
    values = forecast["forecasted_values"].to_numpy()
    known = state.values[state.known]
    latest = float(known[-1])
    change = float(values[-1] - latest)
    wander = float(np.abs(np.diff(known[-500:])).mean()) * np.sqrt(len(values)) if len(known) > 1 else 0.0
    return {
        "periods": len(values),
        "start": forecast["timestamps"].iloc[0],
        "end": forecast["timestamps"].iloc[-1],
        "direction": "stable" if abs(change) <= wander else ("rising" if change > 0 else "falling"),
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
    """The trend over the readings kept, and one turn of each season found: columns `timestamps` and `value`.

    A day begins at midnight, a week on Monday, a year on 1 January, all of UTC.
    """
    state = fitted.state
    seconds = state.start + state.step * np.arange(len(state))
    parts = {"trend": _frame(seconds, fitted.trend(seconds))}
    season_names = {season.name for member in fitted.members for season in member.curve.seasons}
    for name in ("weekly", "daily", "yearly"):
        if name in season_names:
            turn = np.arange(SEASON_POINTS[name]) * PERIOD_DAYS[name] * DAY / SEASON_POINTS[name]
            turn = turn + FIRST_MONDAY if name == "weekly" else turn
            parts[name] = _frame(turn, fitted.season(turn, name))
    return parts


def held_out_metrics(
    state: TimeGrid,
    parameters: ForecasterParameters,
    seasonality: Mapping[str, SeasonalityOption],
    *,
    interval_width: float,
) -> dict[str, Any]:
    """Errors on the last tenth of the readings, one forecast over all of it, fitted without it.

    A sentence beside MAPE (`mape_note`) says what was done about truths near zero.
    """
    rows = np.flatnonzero(state.known)
    split_slot = int(rows[-max(1, len(rows) // 10)])
    before = TimeGrid(state.start, state.step, state.values[:split_slot]).tail(len(state))
    fitted = fit_forecaster(before, parameters, seasonality)
    seconds = state.start + state.step * np.arange(split_slot, len(state))
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
