"""Intervals that cover what they say, learned from errors made ahead of time.

Knows errors by step ahead and hour of day. Does not know what made them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.timegrid import Floats

LEVELS = np.concatenate(([0.0005, 0.001, 0.0025], np.linspace(0.005, 0.995, 199), [0.9975, 0.999, 0.9995]))


@dataclass(frozen=True)
class Bands:
    """The errors' size by step ahead, and the quantiles of errors divided by it."""

    sizes: Floats  # one per step ahead
    growth: float  # the power of the step by which sizes grow beyond the last
    limit: float  # the size that no step exceeds
    quantiles: Floats  # at LEVELS, of truth minus forecast, in sizes

    def size(self, steps: Floats) -> Floats:
        """The size of an error so many steps ahead; fractions count, and less than one is one."""
        known = np.arange(1, len(self.sizes) + 1)
        beyond = self.sizes[-1] * (np.maximum(steps, 1) / len(self.sizes)) ** self.growth
        beyond = np.minimum(beyond, max(self.limit, self.sizes[-1]))
        return np.where(steps <= len(self.sizes), np.interp(steps, known, self.sizes), beyond)

    def around(self, forecast: Floats, steps: Floats, width: float) -> tuple[Floats, Floats]:
        """Lower and upper bound of the central interval of this width, in (0, 1)."""
        low, high = np.interp([(1 - width) / 2, (1 + width) / 2], LEVELS, self.quantiles)
        size = self.size(steps)
        return forecast + min(low, 0.0) * size, forecast + max(high, 0.0) * size

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {
            "sizes": self.sizes.tolist(),
            "growth": self.growth,
            "limit": self.limit,
            "quantiles": self.quantiles.tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Bands":
        """What `to_json` gave."""
        return cls(
            np.asarray(content["sizes"], dtype=np.float64),
            float(content["growth"]),
            float(content["limit"]),
            np.asarray(content["quantiles"], dtype=np.float64),
        )


def learn_bands(errors: Floats, *, spread: float) -> Bands:
    """Learn from truth minus forecast: one row an origin, one column a step, NaN where unknown.

    `spread` is the readings' own standard deviation: no error is expected above what knowing nothing gives.
    """
    horizon = errors.shape[1]
    sizes = _smooth_sizes(errors)
    ratios = errors / sizes
    ratios = ratios[~np.isnan(ratios)]
    if not len(ratios):
        ratios = np.array([-1.0, 1.0])
    independent = max(4.0, len(errors) * 4 / horizon)
    quantiles = np.quantile(ratios, LEVELS) * (1 + 1.0 / independent)
    return Bands(sizes, _growth(sizes), float(1.5 * max(spread, sizes.max())), quantiles)


def _smooth_sizes(errors: Floats) -> Floats:
    """Mean absolute error per step, never shrinking by more than noise: smoothed over neighbouring steps."""
    horizon = errors.shape[1]
    counts = (~np.isnan(errors)).sum(axis=0)
    sums = np.nansum(np.abs(errors), axis=0)
    reach = max(1, horizon // 12)
    kernel = np.ones(2 * reach + 1)
    smooth_sums = np.convolve(np.pad(sums, reach), kernel, mode="valid")
    smooth_counts = np.convolve(np.pad(counts, reach), kernel, mode="valid")
    smooth = smooth_sums / np.maximum(smooth_counts, 1)
    # The first steps differ most from their neighbours, and have as many errors as any.
    own = np.divide(sums, counts, out=smooth.copy(), where=counts > 0)
    weight = np.clip((np.arange(horizon)) / (2 * reach), 0, 1)
    sizes = weight * smooth + (1 - weight) * own
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
