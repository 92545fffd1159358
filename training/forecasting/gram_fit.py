"""Prophet's maximum a posteriori fit, from the Gram matrix of its design (docs/concepts/prophet-gram.md).

With a linear or flat trend and additive seasons, Prophet's objective depends on the readings only through
the products of its columns: time, one, the changepoints' ramps and the Fourier terms. `DesignSums` keeps
running sums of those products, so that any part of the history costs a few look-ups, and any setting of the
priors a few solves of a matrix as wide as the design. Scaling is `training.forecasting.prophet_model`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dposv

from training.common.arrays import Floats

Columns = NDArray[np.intp]  # positions of columns in a design

CHUNK_ROWS = 128  # rows between two stored Gram matrices
MIN_SIGMA = 1e-9  # Prophet's own value for a constant series


@dataclass(frozen=True)
class Solution:
    """Prophet's parameters on its own scale, and the value of its objective (smaller is better)."""

    k: float
    m: float
    delta: Floats
    beta: Floats
    sigma: float
    objective: float


@dataclass(frozen=True)
class Problem:
    """Sufficient statistics of one fit; the columns are k, the ramps of delta, m, the seasons of beta."""

    gram: Floats
    moments: Floats  # products of the columns with y
    power: float  # the sum of y squared
    rows: int
    ramps: int
    linear: bool


class DesignSums:
    """Running sums over the rows of one design; a row is a reading, oldest first.

    `t` are increasing times in any unit, `seasons` the Fourier columns at those times.
    """

    def __init__(self, t: Floats, seasons: Floats) -> None:
        self.t = t
        self.seasons = seasons
        self._sums = _running(seasons)
        self._timed = _running(seasons * t[:, None])
        self._grams = self._running_grams()

    def problem(
        self, y: Floats, first: int, last: int, *, changes: Floats | None, columns: Columns
    ) -> Problem:
        """The statistics of rows `first` to `last` (excluded); y are their values on Prophet's scale.

        `changes` are the changepoints on the time from 0 to 1 between those rows, or None for a flat trend.
        """
        origin = self.t[first]
        span = self.t[last - 1] - origin
        time = (self.t[first:last] - origin) / span
        starts = np.zeros(0) if changes is None else np.concatenate(([0.0], changes))
        first_rows = np.searchsorted(time, starts)
        width = len(starts)
        season = slice(width + 1, None)

        size = width + 1 + len(columns)
        gram = np.zeros((size, size))
        moments = np.zeros(size)
        if width:
            gram[:width, :width], moments[:width] = _ramp_products(time, y, starts, first_rows)
            gram[:width, width] = gram[width, :width] = _ramp_sums(time, starts, first_rows)
            rows = first + first_rows
            sums = (self._sums[last] - self._sums[rows])[:, columns]
            timed = ((self._timed[last] - self._timed[rows])[:, columns] - origin * sums) / span
            gram[:width, season] = timed - starts[:, None] * sums
            gram[season, :width] = gram[:width, season].T
        gram[width, width], moments[width] = len(y), y.sum()
        gram[width, season] = gram[season, width] = self._sums[last, columns] - self._sums[first, columns]
        gram[season, season] = self._gram(first, last, columns)
        moments[season] = self.seasons[first:last, columns].T @ y
        return Problem(gram, moments, float(y @ y), len(y), max(width - 1, 0), linear=width > 0)

    def _running_grams(self) -> Floats:
        width = self.seasons.shape[1]
        chunks = len(self.t) // CHUNK_ROWS
        rows = self.seasons[: chunks * CHUNK_ROWS].reshape(chunks, CHUNK_ROWS, width)
        return _running(np.matmul(rows.transpose(0, 2, 1), rows))

    def _gram(self, first: int, last: int, columns: Columns) -> Floats:
        low, high = -(-first // CHUNK_ROWS), last // CHUNK_ROWS
        if low >= high:
            rows = self.seasons[first:last, columns]
            return rows.T @ rows
        whole = (self._grams[high] - self._grams[low])[np.ix_(columns, columns)]
        head = self.seasons[first : low * CHUNK_ROWS, columns]
        rest = self.seasons[high * CHUNK_ROWS : last, columns]
        total: Floats = whole + head.T @ head + rest.T @ rest
        return total


def solve(problem: Problem, *, changepoint_scale: float, season_scales: Floats) -> Solution:
    """Prophet's optimum under these priors, by iteratively reweighted least squares.

    The Laplace prior on delta is a ridge penalty reweighted by the previous delta; the noise has a closed
    form.
    """
    ramps = problem.ramps
    trend = 2 + ramps if problem.linear else 1
    ridge = np.concatenate((np.full(trend, 1 / 25), season_scales**-2.0))
    bends = slice(1, 1 + ramps)  # k, then delta, then m
    plain = np.ones(len(ridge), dtype=np.bool_)
    plain[bends] = False
    size = np.full(ramps, changepoint_scale)
    sigma2, best = _start_sigma2(problem), np.inf
    for _ in range(60):
        ridge[bends] = 1 / (changepoint_scale * np.maximum(size, 1e-10))
        theta = _ridge_fit(problem, sigma2, ridge)
        residual_power = float(problem.power - 2 * theta @ problem.moments + theta @ problem.gram @ theta)
        sigma2 = _noise(residual_power, problem.rows)
        size = np.abs(theta[bends])
        priors = float(2 * sigma2 + 0.5 * ridge[plain] @ theta[plain] ** 2 + size.sum() / changepoint_scale)
        objective = (
            0.5 * problem.rows * float(np.log(sigma2)) + max(residual_power, 0.0) / (2 * sigma2) + priors
        )
        if best - objective < 1e-7 * max(1.0, abs(objective)):
            break
        best = objective
    return _solution(theta, problem, float(np.sqrt(sigma2)), objective)


def _solution(theta: Floats, problem: Problem, sigma: float, objective: float) -> Solution:
    ramps = problem.ramps
    if not problem.linear:
        return Solution(0.0, float(theta[0]), np.zeros(1), theta[1:], sigma, objective)
    delta = theta[1 : 1 + ramps] if ramps else np.zeros(1)
    return Solution(float(theta[0]), float(theta[1 + ramps]), delta, theta[2 + ramps :], sigma, objective)


def _ridge_fit(problem: Problem, sigma2: float, ridge: Floats) -> Floats:
    system = problem.gram.copy()
    diagonal = system.reshape(-1)[:: len(ridge) + 1]
    diagonal += sigma2 * ridge
    # A slightly larger diagonal keeps equal columns (a daily harmonic among the weekly ones) solvable.
    diagonal *= 1 + 1e-12
    _, solved, failed = dposv(system, problem.moments, overwrite_a=True)
    if failed:
        raise LinAlgError(f"the Gram matrix is not positive definite at column {failed}")
    fitted: Floats = solved
    return fitted


def _start_sigma2(problem: Problem) -> float:
    """A tenth of the variance of y: every start converges, one near the solution sooner."""
    constant = 1 + problem.ramps if problem.linear else 0
    mean = problem.moments[constant] / problem.rows
    return max(0.1 * float(problem.power / problem.rows - mean**2), MIN_SIGMA**2)


def _noise(residual_power: float, rows: int) -> float:
    """The variance s^2 that minimises rows log s + residual_power / (2 s^2) + 2 s^2, the prior on s."""
    residual_power = max(residual_power, 0.0)
    return max(float(2 * residual_power / (rows + np.sqrt(rows**2 + 16 * residual_power))), MIN_SIGMA**2)


def _ramp_products(
    time: Floats, y: Floats, starts: Floats, first_rows: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Products of the ramps (time - start, from `first_rows` on) with each other and with y."""
    ones, times, squares = _suffix(np.ones_like(time)), _suffix(time), _suffix(time**2)
    later = np.maximum.outer(first_rows, first_rows)
    both = starts[:, None] + starts[None, :]
    gram = squares[later] - both * times[later] + np.outer(starts, starts) * ones[later]
    return gram, _suffix(time * y)[first_rows] - starts * _suffix(y)[first_rows]


def _ramp_sums(time: Floats, starts: Floats, first_rows: NDArray[np.intp]) -> Floats:
    return _suffix(time)[first_rows] - starts * (len(time) - first_rows)


def _suffix(values: Floats) -> Floats:
    """Sums from each row to the end, then a zero."""
    return np.concatenate((np.cumsum(values[::-1])[::-1], [0.0]))


def _running(values: Floats) -> Floats:
    """Sums of all rows before each row, then the total."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums
