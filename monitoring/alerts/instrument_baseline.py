"""Normal behaviour of an instrument: its sampling interval, its runs of equal readings, its values at rest,
its spikes.

Learned once a day from a window of readings before that day, so that the result does not depend on how often
the fleet is watched. What deviates from it is judged in `monitoring.watch.instrument_conditions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from training.common.arrays import Flags, Floats, equal_runs
from training.common.sampling import infer_step
from training.common.times import epoch_seconds
from training.quality.fault_checks import NEAR_ZERO_SHARE
from training.quality.spikes import find_spikes

PERCENT_UNITS = {"%", "percent", "pct"}
MAX_RECENT_VALUES = 80  # enough to judge the next reading


@dataclass(frozen=True)
class InstrumentHabit:
    """The normal behaviour of one instrument at the beginning of a day. Field names are stored."""

    day: date
    step: timedelta | None  # None: fewer than two readings
    still: int | None  # the longest normal run of equal readings; None: too few runs
    size: float  # the 99.5 % quantile of the absolute values
    least: float
    most: float
    spikes: int = 0  # in the window; 0 in rows of earlier versions

    def at_rest(self, values: Floats, unit: str) -> Flags:
        """Which values are those of a process at rest: near zero, or at the ends of a percentage."""
        resting = np.abs(values) <= NEAR_ZERO_SHARE * self.size
        if unit in PERCENT_UNITS:
            resting |= (values <= self.least) | (values >= self.most)
        return np.asarray(resting)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        step = None if self.step is None else self.step.total_seconds()
        return asdict(self) | {"day": self.day.isoformat(), "step": step}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "InstrumentHabit":
        """The inverse of `as_dict`."""
        step = None if stored["step"] is None else timedelta(seconds=stored["step"])
        return cls(**{**stored, "day": date.fromisoformat(stored["day"]), "step": step})


@dataclass(frozen=True)
class ConstantRun:
    """A run of equal readings that has not ended."""

    value: float
    since: datetime
    readings: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"value": self.value, "since": self.since.isoformat(), "readings": self.readings}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ConstantRun":
        """The inverse of `as_dict`."""
        return cls(stored["value"], datetime.fromisoformat(stored["since"]), stored["readings"])


@dataclass(frozen=True)
class RecentValues:
    """The newest good readings inside the range; times in seconds since 1970."""

    seconds: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def followed_by(self, seconds: Sequence[float], values: Sequence[float]) -> "RecentValues":
        """With later readings, of which the newest are kept."""
        newest = slice(-MAX_RECENT_VALUES, None)
        return RecentValues((*self.seconds, *seconds)[newest], (*self.values, *values)[newest])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"seconds": list(self.seconds), "values": list(self.values)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "RecentValues":
        """The inverse of `as_dict`."""
        return cls(tuple(stored["seconds"]), tuple(stored["values"]))


@dataclass(frozen=True)
class InstrumentMemory:
    """What is kept of an instrument between two watches: habit, time of the newest reading, current run."""

    habit: InstrumentHabit
    last: datetime
    constant_run: ConstantRun | None
    recent: "RecentValues | None" = None  # None: kept by a version that did not need them

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the time of the newest reading."""
        return {
            "habit": self.habit.as_dict(),
            "standing": None if self.constant_run is None else self.constant_run.as_dict(),
            "recent": None if self.recent is None else self.recent.as_dict(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], last: datetime) -> "InstrumentMemory":
        """The inverse of `as_dict`."""
        constant_run = None if stored["standing"] is None else ConstantRun.from_dict(stored["standing"])
        recent = RecentValues.from_dict(stored["recent"]) if stored.get("recent") else None
        return cls(InstrumentHabit.from_dict(stored["habit"]), last, constant_run, recent)


def fit_habit(
    readings: pd.DataFrame, day: date, *, declared: timedelta | None, often: int
) -> InstrumentHabit:
    """The habit in a window of readings (`timestamp, value`).

    A run length is normal if the window has `often` runs of it or longer. The last run has not ended and is
    not counted.
    """
    values = readings["value"].to_numpy(np.float64)
    step = declared or infer_step(pd.DatetimeIndex(readings["timestamp"]))
    if not len(values):
        return InstrumentHabit(day, step, still=None, size=0.0, least=0.0, most=0.0)
    runs = np.sort(equal_runs(values).counts[:-1])
    longest_normal_run = int(runs[-often]) if len(runs) >= often else None
    size = float(np.quantile(np.abs(values), 0.995))
    seconds = epoch_seconds(readings["timestamp"])
    spikes = int(find_spikes(seconds, values, np.zeros(len(values), np.int64)).sum())
    return InstrumentHabit(
        day, step, longest_normal_run, size, float(values.min()), float(values.max()), spikes
    )
