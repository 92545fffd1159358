"""How far a statistic moves by itself: the past of a window, told as prediction.

Knows a statistic as a series over equal cells of time, and predicts what it should be over a later block:
a mixture of covariances, from white noise to slow trends, with and without a week, each weighed by how well
it tells the window itself (Gaussian process regression, its scale and mean integrated out). So
autocorrelation, the week and the distance of the block from the window are in the null, and every past block
can be judged by the rest of the window in the same way. Leaves making the series to `drift_statistics`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Powers of the time scales of a sum of exponential correlations: -2 is nearly white, 0 like 1/f, 2 wanders.
POWERS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
DECAYS = (1.0, 4.0, 16.0)  # cells after which a plain exponential has fallen to 37 %
TRENDS = (8.0, 32.0, 128.0)  # the same for smooth courses (Matern 3/2)
WEEKS = (0.0, 0.25, 1.0)  # variance that repeats each week, beside the rest
JITTER = 1e-5
# Degrees of freedom of what is predicted. A hundred cells promise a hundred, but spreads change from week
# to week: with their own number, 4.2 % of undrifted blocks alarmed at 1 % stated on series that no choice was
# made by, with 10, 1.1 %, at nearly equal power.
TAIL = 10.0
FAINT = 1e-3  # covariances with less weight are left out


@dataclass(frozen=True)
class Shift:
    """How far a statistic is from what was predicted, and how rarely it is that far by itself."""

    size: float
    p: float
    spreads: Floats = field(repr=False)  # of the prediction, by covariance
    weights: Floats = field(repr=False)

    def bound(self, p: float, floor: float) -> float:
        """The size that this p belongs to."""
        scales = np.hypot(self.spreads, floor)
        low, high = 0.0, float(-special.stdtrit(TAIL, max(p, 1e-15) / 2) * scales.max())
        for _ in range(40):
            middle = (low + high) / 2
            tail = float(self.weights @ special.stdtr(TAIL, -middle / np.maximum(scales, 1e-300))) * 2
            low, high = (middle, high) if tail > p else (low, middle)
        return high


@dataclass(frozen=True)
class Covariances:
    """The mixture for so many cells, `week` of them a week (0: no week), with its precisions."""

    cells: int
    week: float

    def at(self, lags: Floats, models: NDArray[np.int64] | slice = slice(None)) -> Floats:
        """Correlation at each distance in cells, one row a covariance; 1 within one cell."""
        distances, where = np.unique(np.abs(lags), return_inverse=True)
        curves, _ = _curves(distances, self.cells, self.week)
        curves = curves[models]
        curves[:, distances == 0] = 1.0 + JITTER
        return np.asarray(curves[:, where.reshape(lags.shape)])

    @property
    def models(self) -> int:
        """How many covariances there are."""
        return len(_curves(np.zeros(1), self.cells, self.week)[1])


@lru_cache(maxsize=6)
def _precisions(cells: int, week: float) -> tuple[Floats, Floats]:
    """Inverse and log determinant of each covariance over a whole grid, for all sensors with such a grid."""
    places = np.arange(cells, dtype=np.float64)
    matrices = Covariances(cells, week).at(places[:, None] - places)
    inverse = np.asarray(np.linalg.inv(matrices), np.float64)
    return inverse, np.asarray(np.linalg.slogdet(matrices)[1], np.float64)


def _curves(distances: Floats, cells: int, week: float) -> tuple[Floats, Floats]:
    scales = 0.5 * 2.0 ** np.arange(max(int(np.log2(8 * (cells + 1))), 1))
    decays = np.exp(-distances / scales[:, None])
    curves, nuggets = [], []
    for power in POWERS:
        shares = scales**power
        curves.append((shares / shares.sum()) @ decays)
        nuggets.append(0.0)
    for scale in DECAYS:
        for nugget in (0.0, 0.5):
            curves.append((1 - nugget) * np.exp(-distances / scale))
            nuggets.append(nugget)
    for scale in TRENDS:
        for nugget in (0.02, 0.3):
            ratio = np.sqrt(3) * distances / scale
            curves.append((1 - nugget) * (1 + ratio) * np.exp(-ratio))
            nuggets.append(nugget)
    plain, noise = np.array(curves), np.array(nuggets)
    if week <= 0:
        return plain, noise
    off = distances % week
    weekly = np.maximum(1 - np.minimum(off, week - off), 0)
    mixed = [(plain + share * weekly) / (1 + share) for share in WEEKS]
    return np.concatenate(mixed), np.concatenate([noise / (1 + share) for share in WEEKS])


class Null:
    """One statistic over the cells of a window, NaN where a cell is empty; judges later and past blocks.

    `floor` is the size of a shift that is never worth a word, in the statistic's own unit. `per_block` cells
    make a block.

    >>> noise = np.random.default_rng(0).normal(size=112)
    >>> null = Null(noise, per_block=8, week=0.0, floor=0.0)
    >>> null.judge(np.arange(112, 120), np.full(8, 3.0), np.ones(8)).p < 0.001
    True
    """

    def __init__(self, series: Floats, *, per_block: int, week: float, floor: float) -> None:
        self.per_block, self.floor = per_block, floor
        self.covariances = Covariances(len(series), week)
        self.known = np.isfinite(series)
        self.mean = float(series[self.known].mean())
        precision, log_determinant = self._of_known_cells()
        row = precision.sum(2)
        total = row.sum(1)
        centred = np.where(self.known, series - self.mean, 0.0)
        answer = precision @ centred
        drift = (row @ centred) / total
        answer -= row * drift[:, None]
        energy = np.maximum(answer @ centred, 1e-12)
        freedom = int(self.known.sum()) - 1
        log_weights = -0.5 * (log_determinant + np.log(total) + freedom * np.log(energy))
        weights = np.exp(log_weights - log_weights.max())
        self.kept = np.flatnonzero(weights > FAINT * weights.sum())
        self.weights = weights[self.kept] / weights[self.kept].sum()
        self.variances = energy[self.kept] / freedom
        self._precision, self._row, self._total = precision[self.kept], row[self.kept], total[self.kept]
        self._answer, self._drift, self._centred = answer[self.kept], drift[self.kept], centred

    def judge(self, places: Floats, values: Floats, shape: Floats) -> Shift:
        """How far the cells at these places are, along a shape, from what the window foretells for them.

        The shape is weighed by what is known of each cell (generalised least squares): of a wandering
        statistic the first cells after the window say most.
        """
        own = np.arange(len(self._centred), dtype=np.float64)
        between = self.covariances.at(places[:, None] - own, self.kept)
        solved = between @ self._precision
        unknown = 1 - solved.sum(2)
        foretold = solved @ self._centred + unknown * self._drift[:, None] + self.mean
        spread = self.covariances.at(places[:, None] - places, self.kept)
        spread -= solved @ np.swapaxes(between, 1, 2)
        spread += unknown[:, :, None] * unknown[:, None, :] / self._total[:, None, None]
        shapes = np.broadcast_to(shape, foretold.shape)[:, :, None]
        weighed = np.asarray(np.linalg.solve(spread, shapes)[:, :, 0], np.float64)
        return self._shift(weighed, values - foretold, weighed @ shape)

    def past(self, shape: Floats) -> Floats:
        """The p of every past block by the rest of the window, half a block apart; NaN where one is empty."""
        found = []
        for first in self._past_blocks():
            block = slice(first, first + self.per_block)
            here = np.where(self.known[block], shape, 0.0)
            if np.count_nonzero(here) < self.per_block / 2:
                found.append(np.nan)
                continue
            own = self._precision[:, block, block]
            pull = self._row[:, block] @ here
            within = np.einsum("kij,i,j->k", own, here, here) - pull**2 / self._total
            moved = (self._answer[:, block] @ here) / within
            found.append(self._p(moved, np.sqrt(self.variances / within)))
        return np.array(found)

    def _past_blocks(self) -> Iterator[int]:
        last = len(self._centred) - self.per_block
        return iter(range(0, last + 1, max(self.per_block // 2, 1)))

    def _of_known_cells(self) -> tuple[Floats, Floats]:
        """Precision of the cells that are known, zero elsewhere: empty ones taken out of the whole grid's."""
        whole, log_determinant = _precisions(self.covariances.cells, self.covariances.week)
        empty = np.flatnonzero(~self.known)
        if not len(empty):
            return whole, log_determinant
        out = whole[:, :, empty]
        inner = out[:, empty, :]
        precision = whole - out @ np.linalg.solve(inner, np.swapaxes(out, 1, 2))
        precision[:, empty, :] = 0.0
        precision[:, :, empty] = 0.0
        return precision, log_determinant + np.linalg.slogdet(inner)[1]

    def _shift(self, weighed: Floats, missed: Floats, strength: Floats) -> Shift:
        moved = (weighed * missed).sum(1) / strength
        spreads = np.sqrt(self.variances / strength)
        return Shift(float(self.weights @ moved), self._p(moved, spreads), spreads, self.weights)

    def _p(self, moved: Floats, spreads: Floats) -> float:
        scales = np.maximum(np.hypot(spreads, self.floor), 1e-300)
        below = float(self.weights @ special.stdtr(TAIL, moved / scales))
        return float(np.clip(2 * min(below, 1 - below), 1e-12, 1.0))
