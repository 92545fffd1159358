"""Forecast intervals with the stated coverage, from errors of the rolling origins.

Learns the size of the errors per step ahead and their quantiles. Intervals widen after large errors and
shrink again, because a sensor that was hard to forecast stays so for a while. Errors come from
`training.forecasting.rolling_origin`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.common.arrays import Floats

WIDTHS = np.concatenate((np.linspace(0.02, 0.98, 49), [0.985, 0.99, 0.995, 0.9975, 0.999]))
SMALL_SAMPLE_ERRORS = 2.0  # missing errors that the outer intervals allow for
RECENT_WEIGHT = 1.5  # weight of the recent errors; the usual size has weight 1
STRETCH_POWER = 0.7  # power of the relative size by which intervals stretch
MIN_RELATIVE_SIZE = 1e-6  # smallest error size, as a share of the readings' standard deviation
STRETCH_RANGE = (0.5, 2.5)  # bounds of the relative size of recent errors


@dataclass(frozen=True)
class Bands:
    """Size of the errors per step ahead, and how many sizes an interval of each width extends down and up."""

    sizes: Floats  # per step ahead
    growth: float  # power of the step by which sizes grow after the last step
    limit: float  # largest size of any step
    below: Floats  # per width in WIDTHS
    above: Floats

    def size(self, steps: Floats) -> Floats:
        """Size of an error this many steps ahead, interpolated between steps; at least one step."""
        known = np.arange(1, len(self.sizes) + 1)
        beyond = self.sizes[-1] * (np.maximum(steps, 1) / len(self.sizes)) ** self.growth
        beyond = np.minimum(beyond, max(self.limit, self.sizes[-1]))
        return np.where(steps <= len(self.sizes), np.interp(steps, known, self.sizes), beyond)

    def around(
        self, forecast: Floats, steps: Floats, width: float, *, stretch: Floats | float = 1.0
    ) -> tuple[Floats, Floats]:
        """Lower and upper bound of the interval with this coverage in (0, 1)."""
        size = self.size(steps) * stretch
        below, above = (np.interp(width, WIDTHS, reach) for reach in (self.below, self.above))
        return forecast - below * size, forecast + above * size

    def to_json(self) -> dict[str, Any]:
        """Lists and numbers for JSON."""
        return {
            "sizes": self.sizes.tolist(),
            "growth": self.growth,
            "limit": self.limit,
            "below": self.below.tolist(),
            "above": self.above.tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Bands":
        """The inverse of `to_json`."""
        sizes, below, above = (np.asarray(content[n], dtype=np.float64) for n in ("sizes", "below", "above"))
        if len(below) != len(WIDTHS) or len(above) != len(WIDTHS):
            raise ValueError(f"{len(below)} and {len(above)} interval widths, expected {len(WIDTHS)}")
        return cls(sizes, float(content["growth"]), float(content["limit"]), below, above)


def interval_stretch(recent_errors: Floats, sizes: Floats) -> Floats:
    """Factor by which intervals are widened, from recent errors: one row per time, one column per step.

    Unknown errors are NaN; without any the factor is 1.

    >>> interval_stretch(np.array([[2.0, -2.0], [np.nan, np.nan]]), np.ones(2)).round(2).tolist()
    [1.39, 1.0]
    """
    ratios = np.abs(recent_errors) / sizes[: recent_errors.shape[1]]
    known = ~np.isnan(ratios)
    weight = RECENT_WEIGHT * known.mean(axis=1)
    mean = np.where(known, ratios, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    stretch: Floats = np.clip((weight * mean + 1) / (weight + 1), *STRETCH_RANGE) ** STRETCH_POWER
    return stretch


def fit_bands(
    errors: Floats, *, weights: Floats, independent: float, spread: float, recent_errors: Floats | None = None
) -> Bands:
    """Fit to errors (reading minus forecast): one row per origin, one column per step, NaN where unknown.

    `weights` are those of the origins, `independent` is the number of horizons that share no reading,
    `spread` the standard deviation of the readings, `recent_errors` the errors of the steps up to each
    origin, by which the intervals will be stretched.
    """
    # A reading that was forecast without an error must not be outside the interval because of rounding.
    sizes = np.maximum(_smooth_sizes(errors), MIN_RELATIVE_SIZE * spread)
    known = ~np.isnan(errors)
    stretches = np.ones(len(errors)) if recent_errors is None else interval_stretch(recent_errors, sizes)
    ratios = (errors / sizes / stretches[:, None])[known]
    ratio_weights = np.broadcast_to(weights[:, None], errors.shape)[known]
    if not len(ratios):
        ratios, ratio_weights = np.array([-1.0, 1.0]), np.ones(2)
    # Few independent errors contain too few of the rare ones that the outer intervals rest on.
    lack = min(0.8, SMALL_SAMPLE_ERRORS / max(independent, 1.0))
    levels = WIDTHS + (1 - WIDTHS) * lack * WIDTHS**4
    symmetric = _quantiles(np.abs(ratios), ratio_weights, levels)
    low, high = (_quantiles(ratios, ratio_weights, (1 + side * levels) / 2) for side in (-1, 1))
    # Half of the skew counts, because each tail rests on half as many errors.
    below = np.maximum.accumulate((np.maximum(-low, 0) + symmetric) / 2)
    above = np.maximum.accumulate((np.maximum(high, 0) + symmetric) / 2)
    return Bands(sizes, _growth(sizes), float(1.5 * max(spread, sizes.max())), below, above)


def _quantiles(values: Floats, weights: Floats, levels: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return np.interp(levels, (cumulative - 0.5 * weights[order]) / cumulative[-1], values[order])


def _smooth_sizes(errors: Floats) -> Floats:
    """Mean absolute error per step, smoothed over neighbouring steps except for the first few."""
    horizon = errors.shape[1]
    counts = (~np.isnan(errors)).sum(axis=0)
    sums = np.nansum(np.abs(errors), axis=0)
    reach = max(1, horizon // 12)
    kernel = np.ones(2 * reach + 1)
    smooth_counts = np.convolve(np.pad(counts, reach), kernel, mode="valid")
    smooth = np.convolve(np.pad(sums, reach), kernel, mode="valid") / np.maximum(smooth_counts, 1)
    # The first steps differ most from their neighbours.
    unsmoothed = np.divide(sums, counts, out=smooth.copy(), where=counts > 0)
    weight = np.clip(np.arange(horizon) / (2 * reach), 0, 1)
    sizes = weight * smooth + (1 - weight) * unsmoothed
    positive = sizes[sizes > 0]
    floored: Floats = np.maximum(sizes, positive.min() if len(positive) else 1e-12)
    return floored


def _growth(sizes: Floats) -> float:
    """Power of the step by which sizes grow over the second half: 0 to 0.5, that of a random walk."""
    horizon = len(sizes)
    if horizon < 4:
        return 0.5
    half = sizes[horizon // 2 - 1]
    return float(np.clip(np.log(sizes[-1] / half) / np.log(2), 0.0, 0.5))
