"""What is usual for an instrument: how often it speaks, how long it stands still, where it is at rest.

Knows a window of one sensor's past readings. A habit is learned once a day, from the readings before that
day, so that what is called frozen at noon does not depend on how often somebody looked.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from training.common.arrays import Flags, Floats
from training.common.sampling import infer_step
from training.quality.fault_checks import NEAR_ZERO_SHARE

PERCENT_UNITS = {"%", "percent", "pct"}


@dataclass(frozen=True)
class InstrumentHabit:
    """One sensor's habits, as of the beginning of a day."""

    day: date
    step: timedelta | None  # None: it has not spoken twice
    still: int | None  # equal readings in a row that are nothing new; None: too little is known
    size: float  # of its values, but for the largest
    least: float
    most: float

    def at_rest(self, values: Floats, unit: str) -> Flags:
        """Which values a process stands at by itself: near zero, at the ends of a percentage."""
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
    """The run of equal readings that goes on."""

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
class InstrumentMemory:
    """What is kept of a sensor between two looks: its habits, its newest reading, and how long it stands."""

    habit: InstrumentHabit
    last: datetime
    constant_run: ConstantRun | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the time of the newest reading."""
        return {
            "habit": self.habit.as_dict(),
            "standing": None if self.constant_run is None else self.constant_run.as_dict(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], last: datetime) -> "InstrumentMemory":
        """The inverse of `as_dict`."""
        constant_run = None if stored["standing"] is None else ConstantRun.from_dict(stored["standing"])
        return cls(InstrumentHabit.from_dict(stored["habit"]), last, constant_run)


def fit_habit(
    readings: pd.DataFrame, day: date, *, declared: timedelta | None, often: int
) -> InstrumentHabit:
    """The habits that a window of readings (`timestamp, value`) shows.

    What it did `often` times is a habit. The run of equal readings that the window ends in is still going on
    and counts for nothing.
    """
    values = readings["value"].to_numpy(np.float64)
    step = declared or infer_step(pd.DatetimeIndex(readings["timestamp"]))
    if not len(values):
        return InstrumentHabit(day, step, still=None, size=0.0, least=0.0, most=0.0)
    runs = np.sort(run_lengths(values)[:-1])
    longest_usual_run = int(runs[-often]) if len(runs) >= often else None
    size = float(np.quantile(np.abs(values), 0.995))
    return InstrumentHabit(day, step, longest_usual_run, size, float(values.min()), float(values.max()))


def run_lengths(values: Floats) -> np.ndarray:
    """How many readings each run of equal ones has.

    >>> run_lengths(np.array([1.0, 1.0, 2.0, 1.0])).tolist()
    [2, 1, 1]
    """
    moves = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.diff(np.concatenate(([0], moves, [len(values)])))
