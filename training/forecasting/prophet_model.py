"""A fitted Prophet model as plain numbers: trend, changepoints and seasons.

Scales times and values and places changepoints as Prophet does. A prediction is a few products of arrays,
without Prophet's import (2 s) and its data frames (40 ms a call). The library's own object is made by
`training.forecasting.prophet_adapter`, its file by `training.forecasting.prophet_json`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from training.common.arrays import Floats
from training.common.times import to_times
from training.forecasting.gram_fit import Columns, DesignSums, Solution, solve
from training.forecasting.seasonality import Season, fourier_columns
from training.forecasting.time_grid import DAY

Growth = Literal["flat", "linear"]

CHANGEPOINT_COUNT = 25  # Prophet's default, spread over the first four fifths of the history
CHANGEPOINT_RANGE = 0.8
HISTORY_ROWS = 50  # newest rows in a file; Prophet predicts without them but refuses a model that has none


@dataclass(frozen=True)
class Priors:
    """Prophet's settings: the growth of the trend and the scales of its priors."""

    growth: Growth = "flat"
    changepoint_scale: float = 0.05
    season_scale: float = 10.0


@dataclass(frozen=True)
class Curve:
    """Trend and seasons of one fitted Prophet with "minmax" scaling: unit and offset do not matter."""

    priors: Priors
    seasons: tuple[Season, ...]
    start: float  # seconds since 1970
    span: float  # seconds from the first to the last reading
    floor: float  # the smallest reading
    scale: float  # difference between the largest and the smallest
    changes: Floats  # changepoints, on the time from 0 to 1
    fitted: Solution

    def trend(self, seconds: Floats) -> Floats:
        """The trend in the readings' unit."""
        if self.priors.growth == "flat":
            return np.full(len(seconds), self.fitted.m * self.scale + self.floor)
        time = (seconds - self.start) / self.span
        bends = np.maximum(time[:, None] - self.changes, 0.0) @ self.fitted.delta
        return (self.fitted.k * time + self.fitted.m + bends) * self.scale + self.floor

    def season(self, seconds: Floats, name: str | None = None) -> Floats:
        """One season by name, or the sum of all, in the readings' unit."""
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
    """Fit Prophet to rows `first` to `last` (excluded); `sums.t` is in days since 1970.

    `columns` are the positions of the seasons' columns in `sums`.
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
    """Prophet's changepoints, on the time from 0 to 1: evenly over the first four fifths of the readings."""
    early = int(np.floor(len(times) * CHANGEPOINT_RANGE))
    count = min(CHANGEPOINT_COUNT, early - 1)
    rows = np.linspace(0, early - 1, count + 1).round().astype(int)[1:]
    placed: Floats = (times[rows] - times[0]) / (times[-1] - times[0])
    return placed


def changepoint_times(curve: Curve) -> pd.DatetimeIndex:
    """Times at which the trend may change; none where it is flat."""
    linear = curve.priors.growth == "linear"
    return to_times(curve.start + curve.changes * curve.span if linear else np.zeros(0))


def _with_dummy_changepoint(changes: Floats) -> Floats:
    """Where Prophet has no changepoint, it writes one at the start, without effect."""
    return changes if len(changes) else np.zeros(1)
