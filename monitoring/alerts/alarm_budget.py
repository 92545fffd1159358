"""The alarm budget, shared out: from which score on each sensor may call, so that all together stay inside.

Knows shares, as pure functions of what each sensor would have called. Where that is known from, and where the
thresholds are kept, is told in `thresholds`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.common.arrays import Floats
from training.storage.alert_verdicts import VerdictCounts

DETECTOR_THRESHOLD = 0.0  # the threshold that leaves the detector's as it is
THRESHOLD_STEP = 0.01


@dataclass(frozen=True)
class BudgetClaim:
    """What one sensor asks of the budget: its calls a day where scores count from a level on."""

    sensor_id: str
    judged: VerdictCounts
    rate: Callable[[float], float]
    lowest: float = 0.3  # no score below it is an alert anyway

    def level_within(self, share: float, highest: float) -> float:
        """The lowest level from which on it calls no more than its share; the highest, where none is."""
        if self.rate(DETECTOR_THRESHOLD) <= share:
            return DETECTOR_THRESHOLD
        lowest_level = highest
        # From above: a higher level may split one long alert into two calls.
        for level in (
            np.arange(round(highest / THRESHOLD_STEP) - 1, round(self.lowest / THRESHOLD_STEP), -1)
            * THRESHOLD_STEP
        ):
            if self.rate(float(level)) > share:
                break
            lowest_level = float(round(level, 2))
        return lowest_level


@dataclass(frozen=True)
class BudgetShare:
    """One sensor's part of the budget."""

    sensor_id: str
    threshold: float  # ITS_OWN, or the score from which on it counts
    per_day: float  # the calls a day it may make
    alerts_per_day: float  # those it makes from that threshold on, by the past
    reason: str


def allocate_shares(
    claims: Sequence[BudgetClaim], per_day: float, *, highest: float, certain: bool = True
) -> list[BudgetShare]:
    """Each sensor's part of so many calls a day: what it asks for where that is little, its fair part else.

    A fair part grows with the sensor's past precision. `certain`: what scores `highest` is told whatever the
    budget says, and is taken off it first; only then can all together ask for more than there is.
    """
    requested = np.array([claim.rate(DETECTOR_THRESHOLD) for claim in claims])
    minimum = np.array([claim.rate(highest) if certain else 0.0 for claim in claims])
    minimum = np.minimum(minimum, requested)
    weights = np.array([claim.judged.smoothed_precision for claim in claims])
    granted = fair_shares(requested, minimum, weights, per_day)
    shares = []
    for claim, requested_rate, share in zip(claims, requested.tolist(), granted.tolist(), strict=True):
        level = claim.level_within(share, highest)
        expected_rate = claim.rate(level)
        reason = _share_reason(claim, requested_rate, share, level, expected_rate)
        shares.append(BudgetShare(claim.sensor_id, level, share, expected_rate, reason))
    return shares


def fair_shares(requested: Floats, minimum: Floats, weights: Floats, total: float) -> Floats:
    """Parts between `least` and `asked` that add up to the total at most, in proportion to weights.

    >>> fair_parts(np.array([1.0, 8.0, 8.0]), np.zeros(3), np.array([1.0, 1.0, 3.0]), 9.0)
    array([1., 2., 6.])
    """
    if requested.sum() <= total:
        return requested
    # The level of water in vessels as wide as their weights; 60 halvings are exact to the last bit.
    low, high = 0.0, float((requested / weights).max())
    for _ in range(60):
        middle = (low + high) / 2
        if np.clip(middle * weights, minimum, requested).sum() > total:
            high = middle
        else:
            low = middle
    return np.asarray(np.round(np.clip(low * weights, minimum, requested), 9))


def _share_reason(
    claim: BudgetClaim, requested: float, share: float, level: float, expected_rate: float
) -> str:
    if level == DETECTOR_THRESHOLD:
        return f"asks for {requested:.2g} a day, which the budget has ({claim.judged})"
    text = (
        f"asks for {requested:.2g} a day and gets {share:.2g} ({claim.judged}); from {level:.2f} on it calls "
    )
    return f"{text}{expected_rate:.2g} a day"
