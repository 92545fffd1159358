"""The spread of readings with outliers and ties, by quantiles."""

import numpy as np

from training.common.arrays import Floats

# Quantiles of a normal distribution: (upper - lower) = factor x standard deviation.
RANGES = ((0.25, 0.75, 1.349), (0.05, 0.95, 3.290), (0.005, 0.995, 5.152))


def robust_spread(values: Floats) -> float:
    """The standard deviation estimated from the interquartile range; 0 only where all values are equal.

    Where the quartiles are equal, wider ranges are used.

    >>> robust_spread(np.array([0.0, 0.0, 0.0, 0.0, 1e9])) > 0
    True
    """
    if values.size < 2:
        return 0.0
    levels = [level for low, high, _ in RANGES for level in (low, high)]
    quantiles = np.quantile(values, levels)
    for index, (_, _, factor) in enumerate(RANGES):
        width = float(quantiles[2 * index + 1] - quantiles[2 * index])
        if width > 0:
            return width / factor
    return float(np.mean(np.abs(values - np.median(values))))
