"""A sensor's usual course over the day and the week.

Knows clock times and medians. A course is kept only where it explains readings it was not learned from;
leaves what deviates from it to `features`.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from training.anomaly.robust_statistics import robust_spread
from training.common.arrays import Floats, Ints

DAY = 86_400.0  # seconds
WEEK = 7 * DAY
FIRST_MONDAY = 4 * DAY  # the epoch was a Thursday; weeks start four days later
MIN_CYCLES = 3  # cycles of history before a course can be told from chance
CYCLES = ((DAY, 24), (WEEK, 168))  # with the most slots a course of each has
MAX_REMAINING_SHARE = (
    0.85  # the spread that remains, on cycles not learned from, as a share of the spread before
)


class SeasonalProfile(BaseModel):
    """The usual value by time of cycle, as deviation from the sensor's centre."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cycle: FiniteFloat = Field(gt=0, description="seconds: a day or a week")
    usual: tuple[FiniteFloat, ...] = Field(min_length=2, max_length=400)

    def at(self, seconds: Floats) -> Floats:
        """The usual value at these times, interpolated between the slots around them."""
        return interpolate_cycles(seconds, self.cycle, len(self.usual), np.asarray(self.usual), 0)


def interpolate_cycles(
    seconds: Floats, cycle: Floats | float, slots: Ints | int, usual: Floats, offset: Ints | int
) -> Floats:
    """Values of cycles at these times; the slots of each time's cycle begin at its `offset` in `usual`."""
    position = _phase(seconds, cycle) * slots - 0.5
    lower_slot = np.floor(position)
    share = position - lower_slot
    lower = lower_slot.astype(np.int64)
    # Comparing takes a tenth of the time of a remainder.
    lower += slots * (lower < 0)
    upper = lower + 1
    upper -= slots * (upper == slots)
    return np.asarray(usual[offset + lower] * (1 - share) + usual[offset + upper] * share)


def fit_seasonal_profile(
    seconds: Floats, values: Floats, *, step: float, cycles: Sequence[tuple[float, int]] = CYCLES
) -> SeasonalProfile | None:
    """The best course the history supports: weekly, daily, or none.

    Judged on cycles left out (odd cycles by even ones and the reverse), because medians of chance always
    explain the readings they were taken from.
    """
    remaining = {}
    for cycle, finest in cycles:
        slots = int(min(finest, cycle // max(step, 1.0)))
        if slots >= 4 and seconds[-1] - seconds[0] >= MIN_CYCLES * cycle:
            remaining[cycle, slots] = _holdout_spread(seconds, values, cycle, slots)
    if not remaining:
        return None
    best = min(remaining, key=lambda key: remaining[key])
    if remaining[best] > MAX_REMAINING_SHARE * robust_spread(values):
        return None
    return _fit_medians(seconds, values, *best)


def _holdout_spread(seconds: Floats, values: Floats, cycle: float, slots: int) -> float:
    odd_cycles = ((seconds - FIRST_MONDAY) // cycle).astype(np.int64) % 2 == 1
    if odd_cycles.all() or not odd_cycles.any():
        return float("inf")
    residuals = np.empty_like(values)
    for fold in (odd_cycles, ~odd_cycles):
        residuals[fold] = values[fold] - _fit_medians(seconds[~fold], values[~fold], cycle, slots).at(
            seconds[fold]
        )
    return robust_spread(residuals)


def _fit_medians(seconds: Floats, values: Floats, cycle: float, slots: int) -> SeasonalProfile:
    slot = np.minimum((_phase(seconds, cycle) * slots).astype(np.int64), slots - 1)
    usual = np.full(slots, float(np.median(values)))
    # All slots' medians by one sort: a call of the library's median for each took half of the learning.
    ordered = values[np.lexsort((values, slot))]
    sizes = np.bincount(slot, minlength=slots)
    begins, filled = np.cumsum(sizes) - sizes, sizes > 0
    lower, upper = ordered[(begins + (sizes - 1) // 2)[filled]], ordered[(begins + sizes // 2)[filled]]
    usual[filled] = (lower + upper) / 2
    return SeasonalProfile(cycle=cycle, usual=tuple(usual.tolist()))


def _phase(seconds: Floats, cycle: Floats | float) -> Floats:
    return ((seconds - FIRST_MONDAY) % cycle) / cycle
