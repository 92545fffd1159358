"""The parts of a forecaster: a Prophet with an autoregression on its residuals, and how to fit it.

`TrainingHistory` keeps the running sums that make fits of many structures to many parts of a history cheap.
The choice among structures is made by `training.tuning.forecaster_search`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from training.common.arrays import Floats, Ints
from training.errors import NotTrainable
from training.forecasting.gram_fit import Columns, DesignSums
from training.forecasting.naive_forecasts import SEASON_SECONDS
from training.forecasting.prophet_model import Curve, Priors, fit_curve
from training.forecasting.residual_autoregression import MAX_ROWS, Autoregression, fit_autoregression
from training.forecasting.seasonality import PERIOD_DAYS, Season, fourier_columns, highest_order, is_supported
from training.forecasting.time_grid import TimeGrid

MIN_HALVED_READINGS = 30  # smallest number of readings that `halvings` leaves

SeasonalityOption = Literal["auto"] | bool


@dataclass(frozen=True)
class Structure:
    """Settings of a Prophet and of the autoregression on its residuals."""

    growth: Literal["flat", "linear"] = "flat"
    changepoint_scale: float = 0.05
    season_scale: float = 1.0
    halvings: int = 0  # fitted to the newest half, quarter, eighth, ... of the readings; 0: to all
    daily: int = 6  # harmonics; fewer where the step, none where the history does not support them
    weekly: int = 6
    yearly: int = 4
    lags: int = 48  # largest order that BIC may choose; 0: no autoregression
    seasonal_lags: bool = True  # also the residuals of yesterday and last week, where BIC prefers it

    def orders(self) -> dict[str, int]:
        """Harmonics by season."""
        return {"daily": self.daily, "weekly": self.weekly, "yearly": self.yearly}


@dataclass(frozen=True)
class Member:
    """One fitted structure."""

    curve: Curve
    autoregression: Autoregression

    @property
    def memory(self) -> int:
        """Slots of readings that a forecast depends on."""
        return self.autoregression.memory

    def forecast(self, grid: TimeGrid, origins: Ints, horizon: int) -> Floats:
        """The next values after each origin slot: one row per origin, one column per step."""
        if not len(origins):
            return np.zeros((0, horizon))
        begin, end = self._first_needed_slot(grid, int(origins.min())), int(origins.max()) + 1
        curve_values = self.curve.at(grid.seconds_at(np.arange(begin, end + horizon)))
        ahead = np.arange(1, horizon + 1)
        residuals = grid.values[begin:end] - curve_values[: end - begin]
        residual_forecasts = self.autoregression.forecast(residuals, origins - begin, horizon)
        paths: Floats = curve_values[(origins - begin)[:, None] + ahead] + residual_forecasts
        return paths

    def _first_needed_slot(self, grid: TimeGrid, origin: int) -> int:
        """The first slot that a forecast from this origin, or a later one, depends on.

        Where its memory starts in a gap, the reading before the gap still counts.
        """
        first = max(0, origin - self.memory + 1)
        known = np.flatnonzero(grid.known[: first + 1])
        return int(known[-1]) if len(known) else first


@dataclass(frozen=True)
class TrainingHistory:
    """One sensor's readings, with the running sums that all fits to them share.

    `seasonality` states per season whether it is always, never or (auto) included where the readings
    support it.
    """

    grid: TimeGrid
    max_orders: Mapping[str, int]  # largest number of harmonics of any fit, by season
    seasonality: Mapping[str, SeasonalityOption] = field(default_factory=dict)
    _support_cache: dict[tuple[str, int, int], bool] = field(default_factory=dict, repr=False)

    @classmethod
    def for_structures(
        cls, grid: TimeGrid, structures: Sequence[Structure], seasonality: Mapping[str, SeasonalityOption]
    ) -> "TrainingHistory":
        """A history with the harmonics that these structures need."""
        max_orders = {name: max((s.orders()[name] for s in structures), default=0) for name in PERIOD_DAYS}
        return cls(grid, max_orders, seasonality)

    @cached_property
    def rows(self) -> Ints:
        """The slots that have a reading."""
        return np.flatnonzero(self.grid.known)

    @cached_property
    def available_seasons(self) -> tuple[Season, ...]:
        """Every season that some part of the history supports, at its highest order."""
        days = self.grid.days[self.rows]
        return tuple(
            Season(name, min(self.max_orders[name], highest_order(name, step=self.grid.step)))
            for name in PERIOD_DAYS
            if self.max_orders.get(name) and self._is_included(name, days)
        )

    @cached_property
    def sums(self) -> DesignSums:
        """Running sums over the readings, oldest first."""
        days = self.grid.days[self.rows]
        return DesignSums(days, fourier_columns(days, self.available_seasons))

    def fit(self, structure: Structure, end: int) -> Member:
        """Fit a structure to the readings before slot `end`."""
        last = int(np.searchsorted(self.rows, end))
        if last < 3:
            raise NotTrainable(f"{last} readings are too few for a fit: a forecaster needs 50")
        first = max(0, last - max(len(self.rows) >> structure.halvings, MIN_HALVED_READINGS))
        seasons, columns = self._seasons(structure, first, last)
        priors = Priors(structure.growth, structure.changepoint_scale, structure.season_scale)
        values = self.grid.values[self.rows]
        curve = fit_curve(self.sums, values, first, last, priors=priors, seasons=seasons, columns=columns)
        begin = max(int(self.rows[first]), end - MAX_ROWS)
        return Member(curve, self._autoregression(structure, curve, begin, end))

    def _autoregression(self, structure: Structure, curve: Curve, begin: int, end: int) -> Autoregression:
        if not structure.lags:
            return Autoregression()
        seasons = SEASON_SECONDS.values() if structure.seasonal_lags else ()
        seasonal = [round(season / self.grid.step) for season in seasons]
        residuals = self.grid.values[begin:end] - curve.at(self.grid.seconds_at(np.arange(begin, end)))
        return fit_autoregression(residuals, max_lags=structure.lags, seasonal=seasonal)

    def _seasons(self, structure: Structure, first: int, last: int) -> tuple[tuple[Season, ...], Columns]:
        orders = structure.orders()
        included, columns, begin = [], [], 0
        for season in self.available_seasons:
            order = min(orders[season.name], season.order)
            if order and self._is_included_between(season.name, first, last):
                included.append(Season(season.name, order))
                columns.append(np.arange(begin, begin + 2 * order))
            begin += 2 * season.order
        return tuple(included), np.concatenate(columns) if columns else np.zeros(0, dtype=np.intp)

    def _is_included_between(self, name: str, first: int, last: int) -> bool:
        key = (name, first, last)
        if key not in self._support_cache:
            self._support_cache[key] = self._is_included(name, self.sums.t[first:last])
        return self._support_cache[key]

    def _is_included(self, name: str, days: Floats) -> bool:
        option = self.seasonality.get(name, "auto")
        return is_supported(name, days, step=self.grid.step) if option == "auto" else option
