"""Backtest over rolling origins: each forecast is made from readings before its origin only.

Cuts a history into folds. Within a fold a model stays as it was fitted and only its state is updated, as
between two trainings. The accuracy of a finished forecaster is measured by `training.evaluation.backtest`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from training.common.arrays import Floats, Ints
from training.forecasting.naive_forecasts import LAST_VALUE, SEASONAL_NAIVE_DAILY, Naive, supported_naives
from training.forecasting.structures import Member, Structure, TrainingHistory
from training.forecasting.time_grid import TimeGrid

FOLD_COUNT = 4
FORECAST_SHARE = 0.4  # share of the readings, the newest, that is forecast
MAX_ORIGINS = 160
ERROR_HALF_LIFE = (
    0.6  # share of the forecast span after which an error counts half: newer behaviour lasts longer
)


@dataclass(frozen=True)
class Fold:
    """Fit to the slots before `end`, then forecast from each origin; all are at or after the last slot."""

    end: int
    origins: Ints


@dataclass(frozen=True)
class RollingBacktest:
    """The folds of one history, the readings after each origin, and forecasts for them."""

    history: TrainingHistory
    horizon: int

    @cached_property
    def folds(self) -> list[Fold]:
        """The newest readings in folds of equal size."""
        return make_folds(self.history.grid, horizon=self.horizon)

    @cached_property
    def origins(self) -> Ints:
        """The slots of all origins."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *[fold.origins for fold in self.folds]])

    @cached_property
    def truth(self) -> Floats:
        """The readings after each origin: one row per origin, one column per step, NaN where unknown."""
        padded = np.concatenate((self.history.grid.values, np.full(self.horizon, np.nan)))
        values_after: Floats = padded[self.origins[:, None] + np.arange(1, self.horizon + 1)]
        return values_after

    def recent_truth(self, *, back: int) -> Floats:
        """The readings of the last `back` slots up to each origin; NaN where unknown."""
        padded = np.concatenate((np.full(back, np.nan), self.history.grid.values))
        recent: Floats = padded[self.origins[:, None] + np.arange(1, back + 1)]
        return recent

    @cached_property
    def weights(self) -> Floats:
        """The weight of each origin, 1 for the newest."""
        if not len(self.origins):
            return np.zeros(0)
        age = self.origins[-1] - self.origins
        weights: Floats = 0.5 ** (age / max(1, age[0]) / ERROR_HALF_LIFE)
        return weights

    @property
    def independent(self) -> float:
        """Number of horizons that share no reading."""
        begin = self.origins[0] if len(self.origins) else 0
        return float(self.history.grid.known[begin:].sum() / self.horizon)

    @cached_property
    def naives(self) -> Mapping[str, Naive]:
        """The naive forecasts that the history supports."""
        return supported_naives(self.history.grid)

    @property
    def reference_naive(self) -> str:
        """The usual reference: the value of yesterday, or the last value where there is none."""
        return SEASONAL_NAIVE_DAILY if SEASONAL_NAIVE_DAILY in self.naives else LAST_VALUE

    def fit_folds(self, structure: Structure) -> list[Member]:
        """A structure fitted at the start of each fold."""
        return [self.history.fit(structure, fold.end) for fold in self.folds]

    def forecast_structure(self, structure: Structure) -> Floats:
        """Forecasts of a structure from each origin, fitted again for each fold."""
        return np.concatenate([np.zeros((0, self.horizon)), *self.iter_fold_forecasts(structure)])

    def iter_fold_forecasts(self, structure: Structure) -> Iterator[Floats]:
        """The same fold by fold, for a search that may stop after the first."""
        for fold in self.folds:
            member = self.history.fit(structure, fold.end)
            yield member.forecast(self.history.grid, fold.origins, self.horizon)

    def forecast_naive(self, name: str) -> Floats:
        """Forecasts of a naive from each origin."""
        return self.forecast_parts([self.naives[name]] * len(self.folds))

    def forecast_parts(self, parts: Sequence[Member | Naive]) -> Floats:
        """Forecasts of these parts, one per fold, from each origin."""
        return self._forecast(parts, back=0, steps=self.horizon)

    def forecast_recent(self, parts: Sequence[Member | Naive], *, back: int) -> Floats:
        """Forecasts of these parts made `back` slots before each origin, up to the origin."""
        return self._forecast(parts, back=back, steps=back)

    def _forecast(self, parts: Sequence[Member | Naive], *, back: int, steps: int) -> Floats:
        grid = self.history.grid
        paths = [
            part.forecast(grid, np.maximum(fold.origins - back, 0), steps)
            for part, fold in zip(parts, self.folds, strict=True)
        ]
        return np.concatenate([np.zeros((0, steps)), *paths])

    def error(self, paths: Floats) -> float:
        """The weighted mean absolute error over the known readings; infinite where there are none.

        `paths` may cover only the first origins.
        """
        errors = np.abs(paths - self.truth[: len(paths)])
        known = ~np.isnan(errors)
        weights = known * self.weights[: len(paths), None]
        total = weights.sum()
        return float((np.where(known, errors, 0.0) * weights).sum() / total) if total > 0 else float("inf")

    def best_naive(self) -> tuple[str, float]:
        """The naive forecast with the smallest error, and that error."""
        errors = {name: self.error(self.forecast_naive(name)) for name in self.naives}
        best = min(errors, key=lambda name: errors[name])
        return best, errors[best]


def make_folds(grid: TimeGrid, *, horizon: int) -> list[Fold]:
    """Cut the newest readings into folds, with at most MAX_ORIGINS origins in all.

    Each origin has a reading, and the next reading is within the horizon.
    """
    rows = np.flatnonzero(grid.known)
    first = max(int(len(rows) * (1 - FORECAST_SHARE)), min(10, len(rows) - 2))
    borders = np.linspace(first, len(rows) - 1, FOLD_COUNT + 1).astype(int)
    folds = []
    for begin, stop in pairwise(borders):
        origins, following = rows[begin - 1 : stop - 1], rows[begin:stop]
        origins = origins[following - origins <= horizon]
        stride = max(1, -(-len(origins) * FOLD_COUNT // MAX_ORIGINS))
        if len(origins := origins[::stride]):
            folds.append(Fold(int(rows[begin - 1]) + 1, origins))
    return folds


def blend(shares: Sequence[float], parts: Sequence[Floats]) -> Floats:
    """The average of the parts, weighted by their shares."""
    total = np.zeros_like(parts[0])
    for share, part in zip(shares, parts, strict=True):
        total += share * part
    return total
