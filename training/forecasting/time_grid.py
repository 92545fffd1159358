"""Readings on a regular grid, one value per step.

A gap stays NaN; filling it is up to the model that forecasts.
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
    """One value per slot; `start` (seconds since 1970) is the time of the first, `step` is in seconds."""

    start: float
    step: float
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def days(self) -> Floats:
        """The time of each slot in days since 1970, the unit of Prophet's seasons."""
        return self.seconds_at(np.arange(len(self))) / DAY

    @property
    def known(self) -> Flags:
        """Which slots have a reading."""
        return ~np.isnan(self.values)

    @property
    def last(self) -> float:
        """The time of the last slot in seconds since 1970."""
        return self.start + self.step * (len(self) - 1)

    def tail(self, slots: int) -> "TimeGrid":
        """The last `slots` slots, or all where there are fewer."""
        first = max(0, len(self) - slots)
        return TimeGrid(self.start + self.step * first, self.step, self.values[first:])

    def seconds_at(self, slots: Ints) -> Floats:
        """The time of slots in seconds since 1970."""
        seconds: Floats = self.start + self.step * slots.astype(np.float64)
        return seconds

    def slots_of(self, seconds: Floats) -> Floats:
        """Steps from `start` to each time, with fractions."""
        return (seconds - self.start) / self.step

    def extended(self, seconds: Floats, values: Floats, *, slots: int) -> "TimeGrid":
        """This grid with newer readings, cut to its last `slots`; they replace the values of their slots.

        Readings before `start` are left out.
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
    """Place readings on a grid that ends at the newest one, with at most `slots` slots.

    Several readings in one slot become their mean; values that are not finite are left out. The step is
    inferred where it is not given.

    Raises:
        NotTrainable: fewer than two readings, or all at one time.

    >>> times = pd.DatetimeIndex(["2026-01-01 00:00", "2026-01-01 01:00", "2026-01-01 03:00"])
    >>> build_grid(times, np.array([1.0, 2.0, 4.0]), step=timedelta(hours=1), slots=100).values
    array([ 1.,  2., nan,  4.])
    """
    finite = np.isfinite(values)
    seconds, values = epoch_seconds(times)[finite], values[finite]
    if len(seconds) < 2:
        raise NotTrainable(f"{len(seconds)} finite readings have no step: a forecaster needs 50 readings")
    step = step or infer_step(to_times(seconds))
    if step is None:
        raise NotTrainable("all readings have the same time: a forecaster needs readings over time")
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
