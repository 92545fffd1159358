"""Readings on a regular grid, which is where forecasts live.

Knows steps, slots and gaps. Knows nothing of models: a gap stays a gap (NaN) until a model says otherwise.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from training.common.arrays import Flags, Floats, Ints
from training.common.sampling import infer_step
from training.common.times import epoch_seconds, to_times
from training.errors import NotTrainable

DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class TimeGrid:
    """One value a slot; `start` is the first slot and `step` the width, both in seconds of the epoch."""

    start: float
    step: float
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def days(self) -> Floats:
        """The time of every slot in days of the epoch, the unit Prophet's seasons are in."""
        return (self.start + self.step * np.arange(len(self))) / DAY

    @property
    def known(self) -> Flags:
        """Which slots hold a reading."""
        return ~np.isnan(self.values)

    @property
    def last(self) -> float:
        """The time of the last slot, in seconds of the epoch."""
        return self.start + self.step * (len(self) - 1)

    def tail(self, slots: int) -> "TimeGrid":
        """The last slots, or all of them."""
        first = max(0, len(self) - slots)
        return TimeGrid(self.start + self.step * first, self.step, self.values[first:])

    def slots_of(self, seconds: Floats) -> Floats:
        """How many steps after `start` each moment lies; fractions are kept."""
        return (seconds - self.start) / self.step

    def extended(self, seconds: Floats, values: Floats, *, slots: int) -> "TimeGrid":
        """This grid continued by newer readings, cut to its last `slots`; a newer reading wins its slot.

        Readings before `start` are left out. With no reading at all the grid stays as it is.
        """
        where = np.rint(self.slots_of(seconds)).astype(np.int64)
        usable = (where >= 0) & np.isfinite(values)
        where, values = where[usable], values[usable]
        if not len(where):
            return self.tail(slots)
        length = max(len(self), int(where.max()) + 1)
        first = max(0, length - slots)
        merged = np.full(length - first, np.nan)
        existing = self.values[first:]
        merged[: len(existing)] = existing
        inside = where >= first
        merged = np.where(
            np.isnan(newer := _mean_per_slot(where[inside] - first, values[inside], len(merged))),
            merged,
            newer,
        )
        return TimeGrid(self.start + self.step * first, self.step, merged)


def build_grid(
    times: pd.DatetimeIndex, values: Floats, *, step: timedelta | None = None, slots: int
) -> TimeGrid:
    """Lay readings on a grid that ends at the newest one; at most the last `slots` of it.

    Several readings in a slot become their mean; readings that are no finite number are left out.

    >>> times = pd.DatetimeIndex(["2026-01-01 00:00", "2026-01-01 01:00", "2026-01-01 03:00"])
    >>> grid_of(times, np.array([1.0, 2.0, 4.0]), step=timedelta(hours=1), slots=100).values
    array([ 1.,  2., nan,  4.])
    """
    finite = np.isfinite(values)
    seconds, values = epoch_seconds(times)[finite], values[finite]
    if len(seconds) < 2:
        raise NotTrainable(
            f"{len(seconds)} finite readings are not enough to tell a step; a forecaster needs 50."
        )
    step = step or infer_step(to_times(seconds))
    if step is None:
        raise NotTrainable("All readings carry the same time; a forecaster needs readings over time.")
    width = step.total_seconds()
    newest = float(seconds.max())
    back = np.rint((newest - seconds) / width).astype(np.int64)
    length = min(slots, int(back.max()) + 1)
    inside = back < length
    filled = _mean_per_slot(length - 1 - back[inside], values[inside], length)
    return TimeGrid(newest - width * (length - 1), width, filled)


def _mean_per_slot(where: Ints, values: Floats, length: int) -> Floats:
    counts = np.bincount(where, minlength=length)
    sums = np.bincount(where, weights=values, minlength=length)
    means: Floats = np.divide(sums, counts, out=np.full(length, np.nan), where=counts > 0)
    return means
