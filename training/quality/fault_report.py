"""Instrument faults as data: the kind, the episodes with their times and readings, and a reason for each.

Does not search for faults (`training.quality.fault_checks`) or grade them (`training.quality.grades`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import pandas as pd

from training.common.arrays import Floats, IndexRuns, Ints
from training.common.formatting import format_value
from training.common.sampling import Stamps
from training.reasons import Reason, ReasonCode


class FaultKind(StrEnum):
    """A fault of an instrument, or a property of it worth knowing. The values are part of JSON outputs."""

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
        """Whether no model learns from readings with this fault."""
        return self in EXCLUDED_KINDS

    @property
    def reason(self) -> Reason:
        """The name of the kind, to be rendered."""
        return Reason(ReasonCode[f"KIND_{self.name}"])


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

FaultDescriber = Callable[[int, int], Reason]  # describes the readings from one position to another


@dataclass(frozen=True)
class InstrumentFault:
    """One episode of one fault."""

    kind: FaultKind
    start: datetime
    end: datetime
    count: int  # readings affected; of a gap, those missing
    detail: Reason


@dataclass(frozen=True)
class FaultFinding:
    """All episodes of one kind: counts of all of them, details of the largest."""

    kind: FaultKind
    episodes: int
    readings: int
    faults: tuple[InstrumentFault, ...]  # largest first

    @property
    def worst(self) -> InstrumentFault:
        """The largest episode."""
        return self.faults[0]


def collect_finding(
    kind: FaultKind,
    runs: IndexRuns,
    counts: Ints,
    times: pd.DatetimeIndex,
    describe: FaultDescriber,
    *,
    limit: int,
) -> FaultFinding:
    """The finding for at least one run of readings; `limit` bounds the episodes with details."""
    largest = np.argsort(-counts, kind="stable")[:limit]
    faults = tuple(
        InstrumentFault(
            kind,
            times[runs.firsts[i]].to_pydatetime(),
            times[runs.lasts[i]].to_pydatetime(),
            int(counts[i]),
            describe(int(runs.firsts[i]), int(runs.lasts[i])),
        )
        for i in largest
    )
    return FaultFinding(kind, len(counts), int(counts.sum()), faults)


def describe_standstill(values: Floats, stamps: Stamps, unit: str) -> FaultDescriber:
    """How long a value did not change, and the value."""
    return lambda first, last: Reason(
        ReasonCode.FAULT_STANDSTILL,
        {
            "duration": _seconds(stamps[last] - stamps[first]),
            "value": float(values[first]),
            "unit": unit,
        },
    )


def describe_excursion(values: Floats, unit: str) -> FaultDescriber:
    """The value of a spike or dropout, and the values before and after it."""
    return lambda first, last: Reason(
        ReasonCode.FAULT_EXCURSION,
        {
            "value": float(values[first]),
            "before": float(values[first - 1]),
            "after": float(values[last + 1]),
            "unit": unit,
        },
    )


def describe_gap(stamps: Stamps) -> FaultDescriber:
    """The time without readings."""
    return lambda first, last: Reason(
        ReasonCode.FAULT_DURATION, {"duration": _seconds(stamps[last] - stamps[first])}
    )


def describe_range(values: Floats, unit: str) -> FaultDescriber:
    """The lowest and highest value of a run of readings."""

    def describe(first: int, last: int) -> Reason:
        finite = values[first : last + 1][np.isfinite(values[first : last + 1])]
        if not len(finite):
            return Reason(ReasonCode.FAULT_NO_VALUE)
        low, high = float(finite.min()), float(finite.max())
        if format_value(low) == format_value(high):
            return Reason(ReasonCode.FAULT_VALUE, {"value": low, "unit": unit})
        return Reason(ReasonCode.FAULT_RANGE, {"low": low, "high": high, "unit": unit})

    return describe


def _seconds(microseconds: int) -> float:
    return int(microseconds) / 1e6
