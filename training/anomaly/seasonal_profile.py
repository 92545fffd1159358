"""Fit a sensor's normal level over the day or the week, where it has one.

A profile is kept only if it explains cycles it was not fitted to. Distances from it are computed in
`features`.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from training.anomaly.robust_statistics import robust_spread
from training.common.arrays import Floats, Ints

DAY = 86_400.0  # seconds
WEEK = 7 * DAY
FIRST_MONDAY = 4 * DAY  # 1970 began on a Thursday; weeks start on Monday
MIN_CYCLES = 3  # with fewer, a profile cannot be distinguished from chance
CYCLES = ((DAY, 24), (WEEK, 168))  # each with the largest number of slots
MAX_REMAINING_SHARE = 0.85  # of the spread, on held-out cycles, that a profile may leave unexplained


class SeasonalProfile(BaseModel):
    """The normal value by time of the cycle, as deviation from the sensor's centre."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cycle: FiniteFloat = Field(gt=0, description="seconds: a day or a week")
    usual: tuple[FiniteFloat, ...] = Field(min_length=2, max_length=400)

    def at(self, seconds: Floats) -> Floats:
        """The normal value at these times, interpolated between the nearest slots."""
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
    """The weekly or daily profile that explains held-out cycles best, or None.

    Every second cycle is predicted from the others and the reverse, because medians always explain the
    readings they were computed from.
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
    in_fold = ((seconds - FIRST_MONDAY) // cycle).astype(np.int64) % 2 == 1
    if in_fold.all() or not in_fold.any():
        return float("inf")
    residuals = np.empty_like(values)
    for fold in (in_fold, ~in_fold):
        residuals[fold] = values[fold] - _fit_medians(seconds[~fold], values[~fold], cycle, slots).at(
            seconds[fold]
        )
    return robust_spread(residuals)


def _fit_medians(seconds: Floats, values: Floats, cycle: float, slots: int) -> SeasonalProfile:
    slot = np.minimum((_phase(seconds, cycle) * slots).astype(np.int64), slots - 1)
    usual = np.full(slots, float(np.median(values)))
    # All medians by one sort: one call of np.median per slot took half of the fit.
    ordered = values[np.lexsort((values, slot))]
    sizes = np.bincount(slot, minlength=slots)
    begins, filled = np.cumsum(sizes) - sizes, sizes > 0
    lower, upper = ordered[(begins + (sizes - 1) // 2)[filled]], ordered[(begins + sizes // 2)[filled]]
    usual[filled] = (lower + upper) / 2
    return SeasonalProfile(cycle=cycle, usual=tuple(usual.tolist()))


def _phase(seconds: Floats, cycle: Floats | float) -> Floats:
    return ((seconds - FIRST_MONDAY) % cycle) / cycle
