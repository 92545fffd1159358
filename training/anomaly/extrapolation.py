"""How far beyond its training window a detector will score, from its lifetime.

What that means for the calibration is in `split_half` and `calibration`. Imports no model, because the gate
runs in a process that loads none.
"""

import numpy as np

# Lifetimes as shares of the training window. On 91 series, up to a tenth of the window after the training, no
# more readings scored above 0.5 than held-out readings predict; at a quarter, 3 to 20 times as many on series
# that wander; at half a window hardly fewer than at two windows.
NEAR_SHARE, FAR_SHARE = 0.15, 0.5


def extrapolation_reach(lifetime_days: float | None, *, learned_days: float) -> float:
    """How far beyond the training readings are scored: 0 right after it, 1 half a training window or more.

    >>> [round(extrapolation_reach(days, learned_days=60), 2) for days in (7, 20, 60, None)]
    [0.0, 0.52, 1.0, 1.0]
    """
    if lifetime_days is None:
        return 1.0
    share = lifetime_days / max(learned_days, 1e-9)
    return float(np.clip((share - NEAR_SHARE) / (FAR_SHARE - NEAR_SHARE), 0.0, 1.0))
