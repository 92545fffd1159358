"""A sensor's usual course over the day and the week.

Knows clock times and medians. A course is kept only where it explains readings it was not learned from;
leaves what deviates from it to `features`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from training.anomaly.robust_statistics import robust_spread

Floats = NDArray[np.float64]

DAY = 86_400.0  # seconds
WEEK = 7 * DAY
MONDAY = 4 * DAY  # the epoch was a Thursday; weeks start four days later
SEEN_ENOUGH = 3  # cycles of history before a course can be told from chance
CYCLES = ((DAY, 24), (WEEK, 168))  # with the most slots a course of each has
WORTHWHILE = 0.85  # the spread that remains, on cycles not learned from, as a share of the spread before


class Course(BaseModel):
    """The usual value by time of cycle, as deviation from the sensor's centre."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cycle: FiniteFloat = Field(gt=0, description="seconds: a day or a week")
    usual: tuple[FiniteFloat, ...] = Field(min_length=2, max_length=400)

    def at(self, seconds: Floats) -> Floats:
        """The usual value at these times, interpolated between the slots around them."""
        slots = len(self.usual)
        position = _phase(seconds, self.cycle) * slots - 0.5
        left = np.floor(position)
        share = position - left
        usual = np.asarray(self.usual)
        here = left.astype(np.int64) % slots
        return usual[here] * (1 - share) + usual[(here + 1) % slots] * share


def learn_course(
    seconds: Floats, values: Floats, *, step: float, cycles: Sequence[tuple[float, int]] = CYCLES
) -> Course | None:
    """The best course the history supports: weekly, daily, or none.

    Judged on cycles left out (odd cycles by even ones and the reverse), because medians of chance always
    explain the readings they were taken from.
    """
    remaining = {}
    for cycle, finest in cycles:
        slots = int(min(finest, cycle // max(step, 1.0)))
        if slots >= 4 and seconds[-1] - seconds[0] >= SEEN_ENOUGH * cycle:
            remaining[cycle, slots] = _unexplained(seconds, values, cycle, slots)
    if not remaining:
        return None
    best = min(remaining, key=lambda key: remaining[key])
    if remaining[best] > WORTHWHILE * robust_spread(values):
        return None
    return _medians(seconds, values, *best)


def _unexplained(seconds: Floats, values: Floats, cycle: float, slots: int) -> float:
    odd = ((seconds - MONDAY) // cycle).astype(np.int64) % 2 == 1
    if odd.all() or not odd.any():
        return float("inf")
    left = np.empty_like(values)
    for fold in (odd, ~odd):
        left[fold] = values[fold] - _medians(seconds[~fold], values[~fold], cycle, slots).at(seconds[fold])
    return robust_spread(left)


def _medians(seconds: Floats, values: Floats, cycle: float, slots: int) -> Course:
    slot = np.minimum((_phase(seconds, cycle) * slots).astype(np.int64), slots - 1)
    usual = np.full(slots, float(np.median(values)))
    # All slots' medians by one sort: a call of the library's median for each took half of the learning.
    ordered = values[np.lexsort((values, slot))]
    sizes = np.bincount(slot, minlength=slots)
    begins, filled = np.cumsum(sizes) - sizes, sizes > 0
    lower, upper = ordered[(begins + (sizes - 1) // 2)[filled]], ordered[(begins + sizes // 2)[filled]]
    usual[filled] = (lower + upper) / 2
    return Course(cycle=cycle, usual=tuple(usual.tolist()))


def _phase(seconds: Floats, cycle: float) -> Floats:
    return ((seconds - MONDAY) % cycle) / cycle
