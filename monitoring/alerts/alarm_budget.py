"""The alarm budget, shared out: from which score on each sensor may call, so that all together stay inside.

Knows shares, as pure functions of what each sensor would have called. Where that is known from, and where the
thresholds are kept, is told in `thresholds`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.storage.alert_verdicts import VerdictCounts

Floats = NDArray[np.float64]

ITS_OWN = 0.0  # the threshold that leaves the detector's as it is
STEP = 0.01


@dataclass(frozen=True)
class Claim:
    """What one sensor asks of the budget: its calls a day where scores count from a level on."""

    sensor_id: str
    judged: VerdictCounts
    rate: Callable[[float], float]
    lowest: float = 0.3  # no score below it is an alert anyway

    def level_within(self, share: float, highest: float) -> float:
        """The lowest level from which on it calls no more than its share; the highest, where none is."""
        if self.rate(ITS_OWN) <= share:
            return ITS_OWN
        found = highest
        # From above: a higher level may split one long alert into two calls.
        for level in np.arange(round(highest / STEP) - 1, round(self.lowest / STEP), -1) * STEP:
            if self.rate(float(level)) > share:
                break
            found = float(round(level, 2))
        return found


@dataclass(frozen=True)
class Share:
    """One sensor's part of the budget."""

    sensor_id: str
    threshold: float  # ITS_OWN, or the score from which on it counts
    per_day: float  # the calls a day it may make
    calls: float  # those it makes from that threshold on, by the past
    reason: str


def share_out(
    claims: Sequence[Claim], per_day: float, *, highest: float, certain: bool = True
) -> list[Share]:
    """Each sensor's part of so many calls a day: what it asks for where that is little, its fair part else.

    A fair part grows with the sensor's past precision. `certain`: what scores `highest` is told whatever the
    budget says, and is taken off it first; only then can all together ask for more than there is.
    """
    asked = np.array([claim.rate(ITS_OWN) for claim in claims])
    least = np.array([claim.rate(highest) if certain else 0.0 for claim in claims])
    least = np.minimum(least, asked)
    weights = np.array([claim.judged.smoothed_precision for claim in claims])
    granted = fair_parts(asked, least, weights, per_day)
    shares = []
    for claim, wanted, part in zip(claims, asked.tolist(), granted.tolist(), strict=True):
        level = claim.level_within(part, highest)
        calls = claim.rate(level)
        reason = _reason(claim, wanted, part, level, calls)
        shares.append(Share(claim.sensor_id, level, part, calls, reason))
    return shares


def fair_parts(asked: Floats, least: Floats, weights: Floats, total: float) -> Floats:
    """Parts between `least` and `asked` that add up to the total at most, in proportion to weights.

    >>> fair_parts(np.array([1.0, 8.0, 8.0]), np.zeros(3), np.array([1.0, 1.0, 3.0]), 9.0)
    array([1., 2., 6.])
    """
    if asked.sum() <= total:
        return asked
    # The level of water in vessels as wide as their weights; 60 halvings are exact to the last bit.
    low, high = 0.0, float((asked / weights).max())
    for _ in range(60):
        middle = (low + high) / 2
        if np.clip(middle * weights, least, asked).sum() > total:
            high = middle
        else:
            low = middle
    return np.asarray(np.round(np.clip(low * weights, least, asked), 9))


def _reason(claim: Claim, asked: float, part: float, level: float, calls: float) -> str:
    if level == ITS_OWN:
        return f"asks for {asked:.2g} a day, which the budget has ({claim.judged})"
    told = f"asks for {asked:.2g} a day and gets {part:.2g} ({claim.judged}); from {level:.2f} on it calls "
    return f"{told}{calls:.2g} a day"
