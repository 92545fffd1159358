"""How far from its training a detector will be used.

Knows the length of its training and how long it is to score. Leaves what is learned for so long to `halves`
and `calibration`. Imports no model, for the gate is asked in the process that only writes.
"""

import numpy as np

# Lifetimes as shares of what was learned from. Over 91 series the share of readings above 0.5 was what
# held-out readings promise, or less, up to a tenth of the training behind it; at a quarter it was 3 to 20
# times as much on those that wander, and hardly more at a half than at twice the training.
NEAR_SHARE, FAR_SHARE = 0.15, 0.5


def extrapolation_reach(lifetime_days: float | None, *, learned_days: float) -> float:
    """How far away readings are to be scored: 0 right behind those learned from, 1 as far as it matters.

    >>> [round(extrapolation_reach(days, learned_days=60), 2) for days in (7, 20, 60, None)]
    [0.0, 0.52, 1.0, 1.0]
    """
    if lifetime_days is None:
        return 1.0
    share = lifetime_days / max(learned_days, 1e-9)
    return float(np.clip((share - NEAR_SHARE) / (FAR_SHARE - NEAR_SHARE), 0.0, 1.0))
