"""Faults told in time: which kind, from when to when, how many readings, in a sentence.

Knows how stretches of readings become words. Finding them is `instrument_faults`', judging them `quality`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from training.common.formatting import amount, lasting
from training.quality.instrument_faults import Stretches
from training.quality.sampling import MICROSECOND, Floats, Stamps


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
        return self in EXCLUDED


EXCLUDED = frozenset(
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

Teller = Callable[[int, int], str]  # a sentence on the readings from one position to another


@dataclass(frozen=True)
class Fault:
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
class Finding:
    """All episodes of one kind: counted without a limit, told up to one."""

    kind: FaultKind
    episodes: int
    readings: int
    faults: tuple[Fault, ...]  # the largest ones, largest first

    @property
    def worst(self) -> Fault:
        """The largest episode."""
        return self.faults[0]


def told(
    kind: FaultKind,
    found: Stretches,
    stamps: Stamps,
    tell: Teller,
    *,
    limit: int,
    counts: Stamps | None = None,
) -> list[Finding]:
    """What was found of one kind, as no or one finding; `tell` puts a stretch into words."""
    if not len(found.firsts):
        return []
    counts = found.counts if counts is None else counts
    largest = np.argsort(-counts, kind="stable")[:limit]
    faults = tuple(
        Fault(
            kind,
            moment(stamps[found.firsts[i]]),
            moment(stamps[found.lasts[i]]),
            int(counts[i]),
            tell(int(found.firsts[i]), int(found.lasts[i])),
        )
        for i in largest
    )
    return [Finding(kind, len(counts), int(counts.sum()), faults)]


def moment(stamp: int) -> datetime:
    """A time stamp in microseconds, as naive UTC."""
    return datetime(1970, 1, 1) + int(stamp) * MICROSECOND  # noqa: DTZ001 -- naive is UTC inside the house


def standing(values: Floats, stamps: Stamps, unit: str | None) -> Teller:
    """Tell how long a value stood still, and where."""

    def tell(first: int, last: int) -> str:
        time = timedelta(microseconds=int(stamps[last] - stamps[first]))
        return f"{lasting(time)} at {amount(values[first], unit)}"

    return tell


def leaving(values: Floats, unit: str | None) -> Teller:
    """Tell a spike or dropout with its shores."""

    def tell(first: int, last: int) -> str:
        shores = amount(values[first - 1], unit), amount(values[last + 1], unit)
        return f"{amount(values[first], unit)} between {shores[0]} and {shores[1]}"

    return tell


def spanning(values: Floats, unit: str | None) -> Teller:
    """Tell the range of the values in a stretch."""

    def tell(first: int, last: int) -> str:
        part = values[first : last + 1]
        part = part[np.isfinite(part)]
        if not len(part):
            return "no value"
        ends = amount(part.min(), unit), amount(part.max(), unit)
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"

    return tell
