"""Rolling origins: where a history is cut so that a forecaster is judged only on what it had not seen.

Knows cuts, origins and errors. Between two cuts a model stays as it was fitted and only its state is renewed,
as between two retrainings.
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
FORECAST_SHARE = 0.4  # of the readings, the latest, is forecast
MAX_ORIGINS = 160  # origins
ERROR_HALF_LIFE = (
    0.6  # of the rehearsed span, after which an error counts half: what came last is likeliest to last
)


@dataclass(frozen=True)
class Fold:
    """Fit on the slots before `end`; forecast from each of the origins, all at or after the last of those."""

    end: int
    origins: Ints


@dataclass(frozen=True)
class RollingBacktest:
    """One history's cuts, what came after each origin, and what each way to forecast would have said."""

    history: TrainingHistory
    horizon: int

    @cached_property
    def folds(self) -> list[Fold]:
        """The latest share of the readings in folds of equally many."""
        return make_folds(self.history.grid, horizon=self.horizon)

    @cached_property
    def origins(self) -> Ints:
        """The slots that are forecast from."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *[c.origins for c in self.folds]])

    @cached_property
    def truth(self) -> Floats:
        """What came after each origin: one row an origin, one column a step, NaN where unknown."""
        padded = np.concatenate((self.history.grid.values, np.full(self.horizon, np.nan)))
        values_after: Floats = padded[self.origins[:, None] + np.arange(1, self.horizon + 1)]
        return values_after

    def recent_truth(self, *, back: int) -> Floats:
        """The readings of the `back` slots up to each origin; NaN where unknown."""
        padded = np.concatenate((np.full(back, np.nan), self.history.grid.values))
        recent: Floats = padded[self.origins[:, None] + np.arange(1, back + 1)]
        return recent

    @cached_property
    def age(self) -> Floats:
        """Each origin's age, from 1 for the first to 0 for the latest."""
        if not len(self.origins):
            return np.zeros(0)
        slots: Floats = (self.origins[-1] - self.origins).astype(np.float64)
        return slots / max(1.0, float(slots[0]))

    @cached_property
    def weights(self) -> Floats:
        """How much each origin counts; the latest 1."""
        fading: Floats = 0.5 ** (self.age / ERROR_HALF_LIFE)
        return fading

    @property
    def independent(self) -> float:
        """How many horizons fit into the rehearsed readings without sharing one."""
        begin = self.origins[0] if len(self.origins) else 0
        return float(self.history.grid.known[begin:].sum() / self.horizon)

    @cached_property
    def naives(self) -> Mapping[str, Naive]:
        """The naive forecasts that this history supports."""
        return supported_naives(self.history.grid)

    @property
    def reference_naive(self) -> str:
        """The naive that everyone compares with: yesterday again; the last value where that is unknown."""
        return SEASONAL_NAIVE_DAILY if SEASONAL_NAIVE_DAILY in self.naives else LAST_VALUE

    def fit_folds(self, structure: Structure) -> list[Member]:
        """A structure as it would have been fitted at each cut."""
        return [self.history.fit(structure, c.end) for c in self.folds]

    def forecast_structure(self, structure: Structure) -> Floats:
        """What a structure would have forecast from each origin, fitted anew at each cut."""
        return np.concatenate([np.zeros((0, self.horizon)), *self.iter_fold_forecasts(structure)])

    def iter_fold_forecasts(self, structure: Structure) -> Iterator[Floats]:
        """The same, a cut after the other, for who may have seen enough after the first."""
        for fold in self.folds:
            member = self.history.fit(structure, fold.end)
            yield member.forecast(self.history.grid, fold.origins, self.horizon)

    def forecast_naive(self, name: str) -> Floats:
        """What a naive would have forecast from each origin."""
        return self.forecast_parts([self.naives[name]] * len(self.folds))

    def forecast_parts(self, parts: Sequence[Member | Naive]) -> Floats:
        """What these parts, one a cut, would have forecast from each origin."""
        return self._forecast(parts, back=0, steps=self.horizon)

    def forecast_recent(self, parts: Sequence[Member | Naive], *, back: int) -> Floats:
        """What these parts would have forecast `back` slots before each origin, up to the origin."""
        return self._forecast(parts, back=back, steps=back)

    def _forecast(self, parts: Sequence[Member | Naive], *, back: int, steps: int) -> Floats:
        grid = self.history.grid
        paths = [
            part.forecast(grid, np.maximum(c.origins - back, 0), steps)
            for part, c in zip(parts, self.folds, strict=True)
        ]
        return np.concatenate([np.zeros((0, steps)), *paths])

    def error(self, paths: Floats) -> float:
        """The weighted mean absolute error over all that is known; infinite where nothing is.

        `paths` may end early: of the first origins only.
        """
        errors = np.abs(paths - self.truth[: len(paths)])
        known = ~np.isnan(errors)
        weights = known * self.weights[: len(paths), None]
        total = weights.sum()
        return float((np.where(known, errors, 0.0) * weights).sum() / total) if total > 0 else float("inf")

    def best_naive(self) -> tuple[str, float]:
        """The naive that would have erred least, and its error."""
        errors = {name: self.error(self.forecast_naive(name)) for name in self.naives}
        best = min(errors, key=lambda name: errors[name])
        return best, errors[best]


def make_folds(grid: TimeGrid, *, horizon: int) -> list[Fold]:
    """Cut the latest readings into folds, with at most so many origins in all.

    Each origin holds a reading and the reading after it is within the horizon.
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
    """The parts' average, weighted by their shares."""
    total = np.zeros_like(parts[0])
    for share, part in zip(shares, parts, strict=True):
        total += share * part
    return total
