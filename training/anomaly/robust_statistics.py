"""Centre and spread of readings that hold outliers, ties and numbers of any size.

Knows order statistics; leaves what they are used for to its callers.
"""

import numpy as np

from training.common.arrays import Floats

# Two-sided normal quantiles: (upper - lower) quantile = factor x standard deviation.
RANGES = ((0.25, 0.75, 1.349), (0.05, 0.95, 3.290), (0.005, 0.995, 5.152))


def robust_spread(values: Floats) -> float:
    """The standard deviation that the bulk of the values suggests; 0 only where all are equal.

    Where more than half of the values are equal, the quartiles see nothing and wider ranges speak.

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
