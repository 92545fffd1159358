"""Null distribution of one statistic: how far it moves by itself, learned from the window.

Gaussian process regression over a mixture of covariances, from white noise to slow trends, with and without
a week; formulas and sources are in docs/concepts/drift.md. The series come from `statistics`.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.common.arrays import Floats

# Powers of the time scales of a sum of exponential correlations: -2 is nearly white noise, 0 like 1/f, 2
# like a random walk.
SPECTRAL_POWERS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
DECAY_SCALES = (1.0, 4.0, 16.0)  # cells after which an exponential has fallen to 37 %
TREND_SCALES = (8.0, 32.0, 128.0)  # the same for smooth trends (Matern 3/2)
WEEKLY_VARIANCES = (0.0, 0.25, 1.0)  # variance that repeats each week, relative to the rest
JITTER = 1e-5
# Degrees of freedom of the predictions. A hundred cells suggest a hundred, but spreads change from week to
# week: with the nominal number 4.2 % of undrifted blocks alarmed at 1 % stated, on series that were not used
# to choose it; with 10 it was 1.1 %, at nearly equal power.
TAIL_DEGREES_OF_FREEDOM = 10.0
MIN_RELATIVE_WEIGHT = 1e-3  # covariances with less weight are left out
# Exponent of the likelihood that weighs covariances (tempered likelihood): cells are not normal and weeks
# differ, so they carry less evidence than the model assumes.
LIKELIHOOD_EXPONENT = 0.5
MIN_HISTORY_BLOCKS = 4  # blocks that predict the next one
PRIOR_BLOCKS = 15.0  # weight of the predicted spread, in past blocks
MAX_PAST_SPREADS = 4.0  # past blocks further off are clipped to this


@dataclass(frozen=True)
class StatisticShift:
    """How far a statistic is from its prediction, and how rarely it is that far by itself."""

    size: float  # cells weighted by generalised least squares, as for p
    mean: float  # plain mean of the cells, for people
    p: float
    spreads: Floats = field(repr=False)  # of the prediction, by covariance
    weights: Floats = field(repr=False)

    def bound(self, p: float, floor: float) -> float:
        """The size that has this p."""
        scales = np.hypot(self.spreads, floor)
        low, high = 0.0, float(-special.stdtrit(TAIL_DEGREES_OF_FREEDOM, max(p, 1e-15) / 2) * scales.max())
        for _ in range(40):
            middle = (low + high) / 2
            tail = (
                float(
                    self.weights
                    @ special.stdtr(TAIL_DEGREES_OF_FREEDOM, -middle / np.maximum(scales, 1e-300))
                )
                * 2
            )
            low, high = (middle, high) if tail > p else (low, middle)
        return high


@dataclass(frozen=True)
class CovarianceMixture:
    """The covariances of a grid of cells, `week` of which are a week (0: no week)."""

    cells: int
    week: float

    def at(self, lags: Floats, models: NDArray[np.int64] | slice = slice(None)) -> Floats:
        """Correlation at each distance in cells, one row per covariance; 1 within one cell."""
        distances, where = np.unique(np.abs(lags), return_inverse=True)
        curves, _ = _correlation_curves(distances, self.cells, self.week)
        curves = curves[models]
        curves[:, distances == 0] = 1.0 + JITTER
        return np.asarray(curves[:, where.reshape(lags.shape)])


@dataclass(frozen=True)
class _CovarianceGrid:
    """The covariance matrices of a grid, shared by all sensors with the same grid."""

    matrices: Floats
    roots: Floats  # inverse Cholesky factors
    precisions: Floats
    log_determinants: Floats


@lru_cache(maxsize=4)
def _covariance_grid(cells: int, week: float) -> _CovarianceGrid:
    places = np.arange(cells, dtype=np.float64)
    matrices = CovarianceMixture(cells, week).at(places[:, None] - places)
    roots = _inverse_cholesky(matrices)
    inverse = np.swapaxes(roots, 1, 2) @ roots
    return _CovarianceGrid(matrices, roots, inverse, -2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1))


def _inverse_cholesky(matrices: Floats) -> Floats:
    return np.asarray(np.linalg.inv(np.linalg.cholesky(matrices)), np.float64)


def _correlation_curves(distances: Floats, cells: int, week: float) -> tuple[Floats, Floats]:
    scales = 0.5 * 2.0 ** np.arange(max(int(np.log2(8 * (cells + 1))), 1))
    decays = np.exp(-distances / scales[:, None])
    curves, nuggets = [], []
    for power in SPECTRAL_POWERS:
        shares = scales**power
        curves.append((shares / shares.sum()) @ decays)
        nuggets.append(0.0)
    for scale in DECAY_SCALES:
        for nugget in (0.0, 0.5):
            curves.append((1 - nugget) * np.exp(-distances / scale))
            nuggets.append(nugget)
    for scale in TREND_SCALES:
        for nugget in (0.02, 0.3):
            ratio = np.sqrt(3) * distances / scale
            curves.append((1 - nugget) * (1 + ratio) * np.exp(-ratio))
            nuggets.append(nugget)
    plain, noise = np.array(curves), np.array(nuggets)
    if week <= 0:
        return plain, noise
    off = distances % week
    weekly = np.maximum(1 - np.minimum(off, week - off), 0)
    mixed = [(plain + share * weekly) / (1 + share) for share in WEEKLY_VARIANCES]
    return np.concatenate(mixed), np.concatenate([noise / (1 + share) for share in WEEKLY_VARIANCES])


class NullModel:
    """Predicts later and past blocks of one statistic from its cells in the window; NaN marks an empty cell.

    `floor` is the size of a shift that never matters, in the statistic's own unit. A block has `per_block`
    cells.

    >>> noise = np.random.default_rng(0).normal(size=112)
    >>> null = NullModel(noise, per_block=8, week=0.0, floor=0.0)
    >>> null.measure_shift(np.arange(112, 120), np.full(8, 3.0)).p < 0.001
    True
    """

    def __init__(self, series: Floats, *, per_block: int, week: float, floor: float) -> None:
        self.per_block, self.floor = per_block, floor
        self.covariances = CovarianceMixture(len(series), week)
        self.grid = _covariance_grid(len(series), week)
        self.known = np.isfinite(series)
        self.places = np.flatnonzero(self.known)
        self.blocks = len(series) // per_block
        self.mean = float(series[self.known].mean())
        self.values = series[self.known] - self.mean
        precision, log_determinant = self._known_precisions()
        row = precision.sum(2)
        total = row.sum(1)
        centred = np.where(self.known, series - self.mean, 0.0)
        weighted = precision @ centred
        weighted -= row * ((row @ centred) / total)[:, None]
        energy = np.maximum(weighted @ centred, 1e-12)
        freedom = int(self.known.sum()) - 1
        log_weights = (
            -0.5 * LIKELIHOOD_EXPONENT * (log_determinant + np.log(total) + freedom * np.log(energy))
        )
        weights = np.exp(log_weights - log_weights.max())
        self.selected = np.flatnonzero(weights > MIN_RELATIVE_WEIGHT * weights.sum())
        self.weights = weights[self.selected] / weights[self.selected].sum()
        self.variances = energy[self.selected] / freedom
        self._matrices, self._root = self._selected_matrices()

    def measure_shift(self, places: Floats, values: Floats, *, stretch: float = 1.0) -> StatisticShift:
        """How far the cells at these places are from the prediction of the window.

        Cells are weighted by generalised least squares: of a random walk, the first cells after the window
        count most. `stretch` is a factor on the predicted spreads.
        """
        between = self.covariances.at(places[:, None] - self.places, self.selected)
        among = self.covariances.at(places[:, None] - places, self.selected)
        residuals, shifts, spreads = self._predict_shift(len(self.places), between, among, values - self.mean)
        spreads = spreads * stretch
        mean = float(self.weights @ residuals.mean(1))
        return StatisticShift(
            float(self.weights @ shifts), mean, self._p_value(shifts, spreads), spreads, self.weights
        )

    def past_shifts(self, lag: int) -> Floats:
        """How far each past block was from the prediction made `lag` blocks before it, in predicted spreads.

        The lag is at most half of the blocks that can be predicted; blocks with fewer than half of their
        cells are skipped.
        """
        lag = min(lag, max((self.blocks - MIN_HISTORY_BLOCKS) // 2, 0))
        past_shifts = []
        for number in range(MIN_HISTORY_BLOCKS + lag, self.blocks):
            edges = self.per_block * np.array([number - lag, number, number + 1])
            history_cells, first, last = np.searchsorted(self.places, edges).tolist()
            if last - first < self.per_block / 2 or history_cells < 2 * self.per_block:
                continue
            block = slice(first, last)
            between, among = self._matrices[:, block, :history_cells], self._matrices[:, block, block]
            _, shifts, spreads = self._predict_shift(history_cells, between, among, self.values[block])
            scale = np.sqrt(self.weights @ (spreads**2 + self.floor**2))
            past_shifts.append(float(self.weights @ shifts) / max(float(scale), 1e-300))
        return np.array(past_shifts)

    def _predict_shift(
        self, history_cells: int, between: Floats, among: Floats, values: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Kriging from the first `history_cells` known cells: residual of each cell, shift and spread of the
        block; one row per covariance."""
        root = self._root[:, :history_cells, :history_cells]
        whitened_between = root @ np.swapaxes(between, 1, 2)
        ones, whitened_values = root.sum(2), root @ self.values[:history_cells]
        total = (ones**2).sum(1)
        level = (ones * whitened_values).sum(1) / total
        unknown = 1 - (ones[:, None, :] @ whitened_between)[:, 0]
        predicted = (whitened_values[:, None, :] @ whitened_between)[:, 0] + unknown * level[:, None]
        spread = among - np.swapaxes(whitened_between, 1, 2) @ whitened_between
        spread += unknown[:, :, None] * unknown[:, None, :] / total[:, None, None]
        weighted = np.asarray(np.linalg.solve(spread, np.ones((*predicted.shape, 1)))[:, :, 0], np.float64)
        strength = weighted.sum(1)
        residuals = values - predicted
        shifts = (weighted * residuals).sum(1) / strength
        return residuals, shifts, np.sqrt(self.variances / strength)

    def _known_precisions(self) -> tuple[Floats, Floats]:
        """Precision of the known cells, zero elsewhere, from the whole grid's by a Schur complement."""
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

    def _selected_matrices(self) -> tuple[Floats, Floats]:
        """Matrices and roots of the known cells, for the selected covariances."""
        matrices = self.grid.matrices[self.selected]
        if self.known.all():
            return matrices, self.grid.roots[self.selected]
        matrices = matrices[:, self.places][:, :, self.places]
        return matrices, _inverse_cholesky(matrices)

    def _p_value(self, shifts: Floats, spreads: Floats) -> float:
        scales = np.maximum(np.hypot(spreads, self.floor), 1e-300)
        probability_below = float(self.weights @ special.stdtr(TAIL_DEGREES_OF_FREEDOM, shifts / scales))
        return float(np.clip(2 * min(probability_below, 1 - probability_below), 1e-12, 1.0))


def spread_factor(past: Floats) -> float:
    """The factor on spreads learned from past blocks; 1 if they were as far off as predicted.

    >>> spread_factor(np.ones(10)), round(spread_factor(np.full(10, 2.0)), 2)
    (1.0, 1.48)
    """
    bounded = np.clip(past, -MAX_PAST_SPREADS, MAX_PAST_SPREADS)
    return float(np.sqrt((PRIOR_BLOCKS + (bounded**2).sum()) / (PRIOR_BLOCKS + len(bounded))))
