"""A fitted Prophet in plain numbers, and the genuine Prophet object it stands for.

Knows how Prophet scales time and values and where it puts its changepoints. Prediction is a few products of
arrays, without Prophet's import (2 s) or its data frames (40 ms a call); `genuine` gives the library's own
object, which predicts the same. What is written to files is `prophet_json`'s.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from training.common.arrays import Floats
from training.common.times import to_times
from training.forecasting.gram_fit import Columns, DesignSums, Solution, solve
from training.forecasting.seasonality import Season, fourier_columns
from training.forecasting.time_grid import DAY

if TYPE_CHECKING:
    from prophet import Prophet

Growth = Literal["flat", "linear"]

CHANGEPOINT_COUNT = 25  # Prophet's default, spread over the first four fifths of the history
CHANGEPOINT_RANGE = 0.8
HISTORY_ROWS = 50  # of the history; plain Prophet predicts without it, but looks that there is one


@dataclass(frozen=True)
class Priors:
    """What Prophet is told before it sees a reading."""

    growth: Growth = "flat"
    changepoint_scale: float = 0.05
    season_scale: float = 10.0


@dataclass(frozen=True)
class Curve:
    """Trend and seasons of one fitted Prophet; scaling is "minmax", so neither unit nor offset matters."""

    priors: Priors
    seasons: tuple[Season, ...]
    start: float  # seconds of the epoch
    span: float  # seconds from the first to the last reading
    floor: float  # the smallest reading
    scale: float  # from the smallest to the largest
    changes: Floats  # changepoints on the time from 0 to 1
    fitted: Solution

    def trend(self, seconds: Floats) -> Floats:
        """The trend in the readings' unit."""
        if self.priors.growth == "flat":
            return np.full(len(seconds), self.fitted.m * self.scale + self.floor)
        time = (seconds - self.start) / self.span
        bends = np.maximum(time[:, None] - self.changes, 0.0) @ self.fitted.delta
        return (self.fitted.k * time + self.fitted.m + bends) * self.scale + self.floor

    def season(self, seconds: Floats, name: str | None = None) -> Floats:
        """One season by its name, or all together, in the readings' unit."""
        total = np.zeros(len(seconds))
        first = 0
        for season in self.seasons:
            weights = self.fitted.beta[first : first + 2 * season.order]
            first += 2 * season.order
            if name in (None, season.name):
                total += fourier_columns(seconds / DAY, [season]) @ weights
        return total * self.scale

    def at(self, seconds: Floats) -> Floats:
        """Prophet's yhat."""
        return self.trend(seconds) + self.season(seconds)


def fit_curve(
    sums: DesignSums,
    values: Floats,
    first: int,
    last: int,
    *,
    priors: Priors,
    seasons: tuple[Season, ...],
    columns: Columns,
) -> Curve:
    """Fit Prophet to rows `first` to `last` (excluded); `sums.t` is in days of the epoch.

    `columns` are those of the seasons among the sums' columns.
    """
    rows = values[first:last]
    floor = float(rows.min())
    scale = float(rows.max() - floor)
    start, end = sums.t[first] * DAY, sums.t[last - 1] * DAY
    placed = place_changepoints(sums.t[first:last]) if priors.growth == "linear" else np.zeros(0)
    scales = np.full(sum(2 * season.order for season in seasons), priors.season_scale)
    if scale == 0.0:
        constant = Solution(0.0, 0.0, np.zeros(max(1, len(placed))), np.zeros(len(scales)), 1e-9, 0.0)
        return Curve(
            priors, seasons, start, end - start, floor, 1.0, _with_dummy_changepoint(placed), constant
        )
    problem = sums.problem(
        (rows - floor) / scale,
        first,
        last,
        changes=placed if priors.growth == "linear" else None,
        columns=columns,
    )
    solution = solve(problem, changepoint_scale=priors.changepoint_scale, season_scales=scales)
    return Curve(priors, seasons, start, end - start, floor, scale, _with_dummy_changepoint(placed), solution)


def place_changepoints(times: Floats) -> Floats:
    """Prophet's changepoints on the time from 0 to 1: evenly over the first four fifths of the readings."""
    early = int(np.floor(len(times) * CHANGEPOINT_RANGE))
    count = min(CHANGEPOINT_COUNT, early - 1)
    rows = np.linspace(0, early - 1, count + 1).round().astype(int)[1:]
    placed: Floats = (times[rows] - times[0]) / (times[-1] - times[0])
    return placed


def to_prophet(curve: Curve, seconds: Floats, values: Floats) -> "Prophet":
    """The library's own object with our optimum in it; it keeps the last rows of the history only."""
    Prophet = import_prophet()  # noqa: N806
    model = Prophet(
        growth=curve.priors.growth,
        changepoints=[],  # set below: preparing from the last rows, Prophet would refuse earlier ones
        changepoint_prior_scale=curve.priors.changepoint_scale,
        seasonality_prior_scale=curve.priors.season_scale,
        yearly_seasonality=False,
        weekly_seasonality=False,
        daily_seasonality=False,
        uncertainty_samples=0,
        scaling="minmax",
    )
    for season in curve.seasons:
        model.add_seasonality(season.name, season.period, season.order)
    _set_history(model, curve, seconds, values)
    model.params = {
        "k": np.array([[curve.fitted.k]]),
        "m": np.array([[curve.fitted.m]]),
        "delta": curve.fitted.delta[None, :],
        "beta": curve.fitted.beta[None, :] if len(curve.fitted.beta) else np.zeros((1, 1)),
        "sigma_obs": np.array([[curve.fitted.sigma]]),
    }
    return model


def import_prophet() -> type["Prophet"]:
    """The library's class, imported late and without its chatter about plotly and backends."""
    for name in ("prophet", "cmdstanpy"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from prophet import Prophet  # noqa: PLC0415 - 2 s of import that prediction does not need

    logging.getLogger("prophet").setLevel(logging.ERROR)
    return Prophet


def _set_history(model: "Prophet", curve: Curve, seconds: Floats, values: Floats) -> None:
    """Let Prophet prepare itself from the last rows, then put right what it scaled by these rows alone."""
    recent = pd.DataFrame({"ds": to_times(seconds[-HISTORY_ROWS:]), "y": values[-HISTORY_ROWS:]})
    model.preprocess(recent)
    model.changepoints = pd.Series(changepoint_times(curve), name="ds")
    model.changepoints_t = curve.changes.astype(np.float64)
    model.start = pd.Timestamp(curve.start, unit="s")
    model.t_scale = pd.Timedelta(seconds=curve.span)
    model.y_min, model.y_scale = curve.floor, curve.scale
    model.history = model.setup_dataframe(recent)


def changepoint_times(curve: Curve) -> pd.DatetimeIndex:
    """Where the trend may bend; nowhere where it is flat."""
    linear = curve.priors.growth == "linear"
    return to_times(curve.start + curve.changes * curve.span if linear else np.zeros(0))


def _with_dummy_changepoint(changes: Floats) -> Floats:
    """Prophet writes one changepoint at the start, without effect, where it has none."""
    return changes if len(changes) else np.zeros(1)
