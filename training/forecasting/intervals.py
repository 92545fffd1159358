"""Intervals that cover what they say, learned from errors made ahead of time.

Knows errors by step ahead, their age, and how large errors were of late: a sensor that has just been hard to
forecast will be hard for a while, so its intervals stretch, and shrink again when it calms down. Does not
know what made the errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.common.arrays import Floats

WIDTHS = np.concatenate((np.linspace(0.02, 0.98, 49), [0.985, 0.99, 0.995, 0.9975, 0.999]))
ERROR_HALF_LIFE = (
    0.6  # of the rehearsed span, after which an error counts half: a sensor's noise changes with time
)
SMALL_SAMPLE_ERRORS = 2.0  # how much wider few errors make the outer intervals: so many errors too few
RECENT_WEIGHT = 1.5  # what the errors of late weigh beside the usual size, which weighs 1
STRETCH_POWER = 0.7  # the power of their size by which intervals stretch
MIN_RELATIVE_SIZE = 1e-6  # of the readings' standard deviation: no step's errors are taken to be smaller
STRETCH_RANGE = (0.5, 2.5)  # the least and the greatest size of late that is believed


@dataclass(frozen=True)
class Bands:
    """The errors' size by step ahead, and how many sizes an interval of each width reaches down and up."""

    sizes: Floats  # one per step ahead
    growth: float  # the power of the step by which sizes grow beyond the last
    limit: float  # the size that no step exceeds
    below: Floats  # one per WIDTHS
    above: Floats

    def size(self, steps: Floats) -> Floats:
        """The size of an error so many steps ahead; fractions count, and less than one is one."""
        known = np.arange(1, len(self.sizes) + 1)
        beyond = self.sizes[-1] * (np.maximum(steps, 1) / len(self.sizes)) ** self.growth
        beyond = np.minimum(beyond, max(self.limit, self.sizes[-1]))
        return np.where(steps <= len(self.sizes), np.interp(steps, known, self.sizes), beyond)

    def around(
        self, forecast: Floats, steps: Floats, width: float, *, stretch: Floats | float = 1.0
    ) -> tuple[Floats, Floats]:
        """Lower and upper bound of the interval of this width, in (0, 1)."""
        size = self.size(steps) * stretch
        below, above = (np.interp(width, WIDTHS, reach) for reach in (self.below, self.above))
        return forecast - below * size, forecast + above * size

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {
            "sizes": self.sizes.tolist(),
            "growth": self.growth,
            "limit": self.limit,
            "below": self.below.tolist(),
            "above": self.above.tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Bands":
        """What `to_json` gave."""
        sizes, below, above = (np.asarray(content[n], dtype=np.float64) for n in ("sizes", "below", "above"))
        if len(below) != len(WIDTHS) or len(above) != len(WIDTHS):
            raise ValueError(f"{len(below)} and {len(above)} widths, expected {len(WIDTHS)}")
        return cls(sizes, float(content["growth"]), float(content["limit"]), below, above)


def interval_stretch(recent_errors: Floats, sizes: Floats) -> Floats:
    """How much wider than usual intervals are to be, from the errors of the latest steps: one row a moment.

    A column is a step ahead of where that forecast was made; NaN where unknown.

    >>> stretch_of(np.array([[2.0, -2.0], [np.nan, np.nan]]), np.ones(2)).round(2).tolist()
    [1.39, 1.0]
    """
    ratios = np.abs(recent_errors) / sizes[: recent_errors.shape[1]]
    known = ~np.isnan(ratios)
    weight = RECENT_WEIGHT * known.mean(axis=1)
    mean = np.where(known, ratios, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    stretch: Floats = np.clip((weight * mean + 1) / (weight + 1), *STRETCH_RANGE) ** STRETCH_POWER
    return stretch


def fit_bands(
    errors: Floats, *, age: Floats, independent: float, spread: float, recent_errors: Floats | None = None
) -> Bands:
    """Learn from truth minus forecast: one row an origin, one column a step, NaN where unknown.

    `age` is each origin's, from 0 for the latest to 1 for the first; `independent` how many horizons were
    rehearsed that share no reading; `spread` the readings' own standard deviation; `lately` such errors of
    the steps up to each origin, where intervals will be stretched.
    """
    # What is forecast without an error must not be missed for its rounding.
    sizes = np.maximum(_smooth_sizes(errors), MIN_RELATIVE_SIZE * spread)
    known = ~np.isnan(errors)
    stretches = np.ones(len(errors)) if recent_errors is None else interval_stretch(recent_errors, sizes)
    ratios = (errors / sizes / stretches[:, None])[known]
    weights = np.broadcast_to(0.5 ** (age / ERROR_HALF_LIFE)[:, None], errors.shape)[known]
    if not len(ratios):
        ratios, weights = np.array([-1.0, 1.0]), np.ones(2)
    # Few independent errors hold too few of the rare ones, which the outer intervals are made of.
    lack = min(0.8, SMALL_SAMPLE_ERRORS / max(independent, 1.0))
    levels = WIDTHS + (1 - WIDTHS) * lack * WIDTHS**4
    evenly = _quantiles(np.abs(ratios), weights, levels)
    low, high = _quantiles(ratios, weights, (1 - levels) / 2), _quantiles(ratios, weights, (1 + levels) / 2)
    # Skew is believed half: its tails rest on half as many errors.
    below = np.maximum.accumulate((np.maximum(-low, 0) + evenly) / 2)
    above = np.maximum.accumulate((np.maximum(high, 0) + evenly) / 2)
    return Bands(sizes, _growth(sizes), float(1.5 * max(spread, sizes.max())), below, above)


def _quantiles(values: Floats, weights: Floats, levels: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weights[order])
    return np.interp(levels, (passed - 0.5 * weights[order]) / passed[-1], values[order])


def _smooth_sizes(errors: Floats) -> Floats:
    """Mean absolute error per step, smoothed over neighbouring steps but for the first few."""
    horizon = errors.shape[1]
    counts = (~np.isnan(errors)).sum(axis=0)
    sums = np.nansum(np.abs(errors), axis=0)
    reach = max(1, horizon // 12)
    kernel = np.ones(2 * reach + 1)
    smooth_counts = np.convolve(np.pad(counts, reach), kernel, mode="valid")
    smooth = np.convolve(np.pad(sums, reach), kernel, mode="valid") / np.maximum(smooth_counts, 1)
    # The first steps differ most from their neighbours, and have as many errors as any.
    unsmoothed = np.divide(sums, counts, out=smooth.copy(), where=counts > 0)
    weight = np.clip(np.arange(horizon) / (2 * reach), 0, 1)
    sizes = weight * smooth + (1 - weight) * unsmoothed
    positive = sizes[sizes > 0]
    floored: Floats = np.maximum(sizes, positive.min() if len(positive) else 1e-12)
    return floored


def _growth(sizes: Floats) -> float:
    """The power of the step by which sizes grow over the second half, from none to a random walk's."""
    horizon = len(sizes)
    if horizon < 4:
        return 0.5
    half = sizes[horizon // 2 - 1]
    return float(np.clip(np.log(sizes[-1] / half) / np.log(2), 0.0, 0.5))
