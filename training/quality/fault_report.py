"""Faults told in time: which kind, from when to when, how many readings, in a sentence.

Knows how stretches of readings become words. Finding them is `instrument_faults`', judging them `quality`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from training.common.arrays import Floats, IndexRuns
from training.common.formatting import format_duration, format_value
from training.common.sampling import MICROSECOND, Stamps


class FaultKind(StrEnum):
    """What can be wrong with an instrument, or is worth knowing of it."""

    MISSING = "missing value"
    OUT_OF_RANGE = "out of range"
    MARKED_BAD = "marked bad"
    SPIKE = "spike"
    DROPOUT = "dropout"
    FROZEN = "frozen"
    STUCK = "stuck at a limit"
    AT_REST = "at rest"
    GAP = "gap"
    IRREGULAR = "irregular sampling"
    WRONG_STEP = "wrong step"
    TIED = "tied values"
    CONSTANT = "constant"

    @property
    def excluded(self) -> bool:
        """Whether readings of this kind are kept from training."""
        return self in EXCLUDED_KINDS


EXCLUDED_KINDS = frozenset(
    {
        FaultKind.MISSING,
        FaultKind.OUT_OF_RANGE,
        FaultKind.MARKED_BAD,
        FaultKind.SPIKE,
        FaultKind.DROPOUT,
        FaultKind.FROZEN,
        FaultKind.STUCK,
    }
)

FaultDescriber = Callable[[int, int], str]  # a sentence on the readings from one position to another


@dataclass(frozen=True)
class InstrumentFault:
    """One episode of one fault."""

    kind: FaultKind
    start: datetime
    end: datetime
    count: int  # readings concerned; for a gap, those that did not come
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind.value,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "count": self.count,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class FaultFinding:
    """All episodes of one kind: counted without a limit, told up to one."""

    kind: FaultKind
    episodes: int
    readings: int
    faults: tuple[InstrumentFault, ...]  # the largest ones, largest first

    @property
    def worst(self) -> InstrumentFault:
        """The largest episode."""
        return self.faults[0]


def collect_findings(
    kind: FaultKind,
    runs: IndexRuns,
    stamps: Stamps,
    describe: FaultDescriber,
    *,
    limit: int,
    counts: Stamps | None = None,
) -> list[FaultFinding]:
    """What was found of one kind, as no or one finding; `tell` puts a stretch into words."""
    if not len(runs.firsts):
        return []
    counts = runs.counts if counts is None else counts
    largest = np.argsort(-counts, kind="stable")[:limit]
    faults = tuple(
        InstrumentFault(
            kind,
            to_datetime(stamps[runs.firsts[i]]),
            to_datetime(stamps[runs.lasts[i]]),
            int(counts[i]),
            describe(int(runs.firsts[i]), int(runs.lasts[i])),
        )
        for i in largest
    )
    return [FaultFinding(kind, len(counts), int(counts.sum()), faults)]


def to_datetime(stamp: int) -> datetime:
    """A time stamp in microseconds, as naive UTC."""
    return datetime(1970, 1, 1) + int(stamp) * MICROSECOND  # noqa: DTZ001 -- naive is UTC inside the house


def describe_standstill(values: Floats, stamps: Stamps, unit: str | None) -> FaultDescriber:
    """Tell how long a value stood still, and where."""

    def describe(first: int, last: int) -> str:
        time = timedelta(microseconds=int(stamps[last] - stamps[first]))
        return f"{format_duration(time)} at {format_value(values[first], unit)}"

    return describe


def describe_excursion(values: Floats, unit: str | None) -> FaultDescriber:
    """Tell a spike or dropout with its shores."""

    def describe(first: int, last: int) -> str:
        neighbours = format_value(values[first - 1], unit), format_value(values[last + 1], unit)
        return f"{format_value(values[first], unit)} between {neighbours[0]} and {neighbours[1]}"

    return describe


def describe_range(values: Floats, unit: str | None) -> FaultDescriber:
    """Tell the range of the values in a stretch."""

    def describe(first: int, last: int) -> str:
        part = values[first : last + 1]
        part = part[np.isfinite(part)]
        if not len(part):
            return "no value"
        ends = format_value(part.min(), unit), format_value(part.max(), unit)
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"

    return describe
