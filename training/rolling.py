"""Rolling origins: where a history is cut so that a forecaster is judged only on what it had not seen.

Knows cuts, origins and errors. Between two cuts a model stays as it was fitted and only its state is renewed,
as between two retrainings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.naive import Naive
from training.structures import History, Structure
from training.timegrid import Floats, TimeGrid


@dataclass(frozen=True)
class Cut:
    """Fit on the slots before `end`; forecast from each of the origins, all at or after the last of those."""

    end: int
    origins: NDArray[np.int64]


def cut(grid: TimeGrid, *, horizon: int, folds: int = 4, share: float = 0.4, most: int = 160) -> list[Cut]:
    """Cut the last `share` of the readings into folds of equally many, with at most so many origins in all.

    Each origin holds a reading and has at least one known reading within the horizon after it.
    """
    rows = np.flatnonzero(grid.known)
    first = max(int(len(rows) * (1 - share)), min(10, len(rows) - 2))
    borders = np.linspace(first, len(rows) - 1, folds + 1).astype(int)
    cuts = []
    for begin, stop in zip(borders[:-1], borders[1:], strict=True):
        origins = rows[begin - 1 : stop - 1]
        ahead = rows[np.minimum(begin + np.arange(len(origins)), len(rows) - 1)]
        origins = origins[ahead - origins <= horizon]
        stride = max(1, -(-len(origins) * folds // most))
        if len(origins := origins[::stride]):
            cuts.append(Cut(int(rows[begin - 1]) + 1, origins))
    return cuts


def truths(grid: TimeGrid, cuts: Sequence[Cut], horizon: int) -> Floats:
    """What came after each origin: one row an origin, one column a step, NaN where unknown."""
    padded = np.concatenate((grid.values, np.full(horizon, np.nan)))
    return padded[_all_origins(cuts)[:, None] + np.arange(1, horizon + 1)]


def rehearse(history: History, structure: Structure, cuts: Sequence[Cut], horizon: int) -> Floats:
    """What a structure would have forecast from each origin, fitted anew at each cut."""
    paths = [history.fit(structure, c.end).forecast(history.grid, c.origins, horizon) for c in cuts]
    return np.concatenate(paths) if paths else np.zeros((0, horizon))


def rehearse_naive(grid: TimeGrid, naive: Naive, cuts: Sequence[Cut], horizon: int) -> Floats:
    """What a naive would have forecast from each origin."""
    return naive.forecast(grid.values, _all_origins(cuts), horizon)


def mean_absolute(paths: Floats, truth: Floats) -> float:
    """The mean absolute error over all that is known; infinite where nothing is."""
    errors = np.abs(paths - truth)
    known = ~np.isnan(errors)
    return float(errors[known].mean()) if known.any() else float("inf")


def _all_origins(cuts: Sequence[Cut]) -> NDArray[np.int64]:
    return np.concatenate([c.origins for c in cuts]) if cuts else np.zeros(0, dtype=np.int64)
