"""How far a statistic moves by itself: the past of a window, told as prediction.

Knows a statistic as a series over equal cells of time, and predicts what it should be over a later block:
a mixture of covariances, from white noise to slow trends, with and without a week, each weighed by how well
it tells the window itself (Gaussian process regression, its scale and mean integrated out). So
autocorrelation, the week and the distance of the block from the window are in the null. Every past block is
foretold in the same way by what lay before it, and how far those were off is learned from. Leaves making the
series to `drift_statistics`.
"""

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
# Share of the likelihood's exponent that weighs covariances: a hundred cells that are not normal, and no two
# weeks of which are alike, say less than they would.
TRUST = 0.5
FIRST = 4  # blocks of a window that foretell the next; the first that are not foretold themselves
# Past blocks that a spread as foretold counts for, beside those of the window.
EXPECTED = 15.0
FARTHEST = 4.0  # spreads that a past block counts for at most


@dataclass(frozen=True)
class Shift:
    """How far a statistic is from what was predicted, and how rarely it is that far by itself."""

    size: float  # each cell weighed by what is known of it, as p is
    mean: float  # each cell counted alike, as people would say it
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


@dataclass(frozen=True)
class _Grid:
    """The covariances of a whole grid, one row each, for all sensors with such a grid."""

    matrices: Floats
    roots: Floats  # lower triangles that make each white
    precisions: Floats
    log_determinants: Floats


@lru_cache(maxsize=4)
def _grid(cells: int, week: float) -> _Grid:
    places = np.arange(cells, dtype=np.float64)
    matrices = Covariances(cells, week).at(places[:, None] - places)
    roots = _roots(matrices)
    inverse = np.swapaxes(roots, 1, 2) @ roots
    return _Grid(matrices, roots, inverse, -2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1))


def _roots(matrices: Floats) -> Floats:
    return np.asarray(np.linalg.inv(np.linalg.cholesky(matrices)), np.float64)


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
    >>> null.judge(np.arange(112, 120), np.full(8, 3.0)).p < 0.001
    True
    """

    def __init__(self, series: Floats, *, per_block: int, week: float, floor: float) -> None:
        self.per_block, self.floor = per_block, floor
        self.covariances = Covariances(len(series), week)
        self.grid = _grid(len(series), week)
        self.known = np.isfinite(series)
        self.places = np.flatnonzero(self.known)
        self.blocks = len(series) // per_block
        self.mean = float(series[self.known].mean())
        self.values = series[self.known] - self.mean
        precision, log_determinant = self._of_known_cells()
        row = precision.sum(2)
        total = row.sum(1)
        centred = np.where(self.known, series - self.mean, 0.0)
        answer = precision @ centred
        answer -= row * ((row @ centred) / total)[:, None]
        energy = np.maximum(answer @ centred, 1e-12)
        freedom = int(self.known.sum()) - 1
        log_weights = -0.5 * TRUST * (log_determinant + np.log(total) + freedom * np.log(energy))
        weights = np.exp(log_weights - log_weights.max())
        self.kept = np.flatnonzero(weights > FAINT * weights.sum())
        self.weights = weights[self.kept] / weights[self.kept].sum()
        self.variances = energy[self.kept] / freedom
        self._matrices, self._root = self._of_kept()

    def judge(self, places: Floats, values: Floats, *, stretch: float = 1.0) -> Shift:
        """How far the cells at these places are from what the window foretells for them.

        Each cell is weighed by what is known of it (generalised least squares): of a wandering statistic the
        first cells after the window say most. `stretch` is a factor on the spreads foretold.
        """
        between = self.covariances.at(places[:, None] - self.places, self.kept)
        among = self.covariances.at(places[:, None] - places, self.kept)
        missed, moved, spreads = self._moved(len(self.places), between, among, values - self.mean)
        spreads = spreads * stretch
        mean = float(self.weights @ missed.mean(1))
        return Shift(float(self.weights @ moved), mean, self._p(moved, spreads), spreads, self.weights)

    def past(self, lag: int) -> Floats:
        """How far each past block was from what all that lay `lag` blocks before it foretold, in spreads.

        The lag is shortened to half of the blocks that can be foretold; blocks without half of their cells
        are left out.
        """
        lag = min(lag, max((self.blocks - FIRST) // 2, 0))
        found = []
        for number in range(FIRST + lag, self.blocks):
            edges = self.per_block * np.array([number - lag, number, number + 1])
            seen, first, last = np.searchsorted(self.places, edges).tolist()
            if last - first < self.per_block / 2 or seen < 2 * self.per_block:
                continue
            block = slice(first, last)
            between, among = self._matrices[:, block, :seen], self._matrices[:, block, block]
            _, moved, spreads = self._moved(seen, between, among, self.values[block])
            scale = np.sqrt(self.weights @ (spreads**2 + self.floor**2))
            found.append(float(self.weights @ moved) / max(float(scale), 1e-300))
        return np.array(found)

    def _moved(
        self, seen: int, between: Floats, among: Floats, values: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """How far each cell of a block is from what the first known cells foretell, how far the block is, and
        with what spread; by covariance."""
        root = self._root[:, :seen, :seen]
        drawn = root @ np.swapaxes(between, 1, 2)
        ones, told = root.sum(2), root @ self.values[:seen]
        total = (ones**2).sum(1)
        level = (ones * told).sum(1) / total
        unknown = 1 - (ones[:, None, :] @ drawn)[:, 0]
        foretold = (told[:, None, :] @ drawn)[:, 0] + unknown * level[:, None]
        spread = among - np.swapaxes(drawn, 1, 2) @ drawn
        spread += unknown[:, :, None] * unknown[:, None, :] / total[:, None, None]
        weighed = np.asarray(np.linalg.solve(spread, np.ones((*foretold.shape, 1)))[:, :, 0], np.float64)
        strength = weighed.sum(1)
        missed = values - foretold
        moved = (weighed * missed).sum(1) / strength
        return missed, moved, np.sqrt(self.variances / strength)

    def _of_known_cells(self) -> tuple[Floats, Floats]:
        """Precision of the cells that are known, zero elsewhere: empty ones taken out of the whole grid's."""
        whole, log_determinant = self.grid.precisions, self.grid.log_determinants
        empty = np.flatnonzero(~self.known)
        if not len(empty):
            return whole, log_determinant
        out = whole[:, :, empty]
        inner = out[:, empty, :]
        precision = whole - out @ np.linalg.solve(inner, np.swapaxes(out, 1, 2))
        precision[:, empty, :] = 0.0
        precision[:, :, empty] = 0.0
        return precision, log_determinant + np.linalg.slogdet(inner)[1]

    def _of_kept(self) -> tuple[Floats, Floats]:
        """Matrices and roots of the known cells, for the covariances that are kept."""
        matrices = self.grid.matrices[self.kept]
        if self.known.all():
            return matrices, self.grid.roots[self.kept]
        matrices = matrices[:, self.places][:, :, self.places]
        return matrices, _roots(matrices)

    def _p(self, moved: Floats, spreads: Floats) -> float:
        scales = np.maximum(np.hypot(spreads, self.floor), 1e-300)
        below = float(self.weights @ special.stdtr(TAIL, moved / scales))
        return float(np.clip(2 * min(below, 1 - below), 1e-12, 1.0))


def stretch_of(past: Floats) -> float:
    """The factor on spreads that past blocks speak for: one where they were as far off as foretold.

    >>> stretch_of(np.ones(10)), round(stretch_of(np.full(10, 2.0)), 2)
    (1.0, 1.48)
    """
    bounded = np.clip(past, -FARTHEST, FARTHEST)
    return float(np.sqrt((EXPECTED + (bounded**2).sum()) / (EXPECTED + len(bounded))))
