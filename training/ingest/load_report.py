"""What load says of each row, and the report that adds it up.

Knows the reasons and their accounting: every row ends as exactly one of accepted, already there, corrected
or refused. Finding the reasons belongs to `judging`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """Where a row ends."""

    ACCEPTED = "accepted"  # stored as it was sent
    ALREADY_THERE = "already_there"  # this sensor, time and value were stored before
    CORRECTED = "corrected"  # stored, but not as it was sent, or in the place of another value
    REFUSED = "refused"


class Reason(StrEnum):
    """Why a row was not simply accepted."""

    MALFORMED = "wrong number of columns"
    NOT_TEXT = "bytes that are no text in this encoding"
    NO_SENSOR = "no usable sensor id"
    UNKNOWN_SENSOR = "unknown sensor"
    UNREADABLE_STAMP = "unreadable timestamp"
    SKIPPED_HOUR = "a time that daylight saving skips"
    REPEATED_HOUR = "a time that daylight saving repeats, and no order to tell which"
    FUTURE = "timestamp in the future"
    TOO_OLD = "timestamp before any reading can be"
    EMPTY = "no value"
    TEXT_CODE = "text code of a historian"
    NOT_A_NUMBER = "value is not a number"
    AMBIGUOUS_NUMBER = "value could be thousands or a decimal"
    NOT_FINITE = "value is not finite"
    ABSURD = "value is absurdly large"
    SENTINEL = "sentinel number for no value"
    CONTRADICTED = "contradicts the value stored for this time"
    OUT_OF_RANGE = "outside the physical range, kept as bad quality"
    UNREADABLE_QUALITY = "unreadable data_quality, kept as bad quality"
    DECIMAL_COMMA = "decimal comma read as a point"
    THOUSANDS = "thousands separators left out"
    ORDERED_HOUR = "a time that daylight saving repeats, told apart by order"
    REPLACED = "replaced another value"
    ALREADY_THERE = "already stored"

    @property
    def verdict(self) -> Verdict:
        """What a row with this reason ends as."""
        if self is Reason.ALREADY_THERE:
            return Verdict.ALREADY_THERE
        return Verdict.CORRECTED if self in CORRECTIONS else Verdict.REFUSED


CORRECTIONS = frozenset(
    {
        Reason.OUT_OF_RANGE,
        Reason.UNREADABLE_QUALITY,
        Reason.DECIMAL_COMMA,
        Reason.THOUSANDS,
        Reason.ORDERED_HOUR,
        Reason.REPLACED,
    }
)

# Rows carry a reason as a small number: its place here, 0 for none.
REASONS: tuple[Reason | None, ...] = (None, *Reason)
CODE = {reason: code for code, reason in enumerate(REASONS)}


@dataclass(frozen=True)
class Example:
    """One row that was not simply accepted, as it was written."""

    reason: Reason
    file: str
    line: int
    sensor_id: str
    timestamp: str
    value: str
    detail: str = ""

    def __str__(self) -> str:
        told = f"{self.file}:{self.line}: {self.sensor_id},{self.timestamp},{self.value}"
        return f"{told} ({self.detail})" if self.detail else told


@dataclass(frozen=True)
class LoadReport:
    """What became of every row of every file.

    `rows == accepted + already_there + corrected + refused`; `reasons` says why, of all but the accepted. A
    row is one reading: in a wide file, a cell. `notes` are counts of oddities that changed no verdict.
    """

    files: int
    rows: int
    accepted: int
    already_there: int
    corrected: int
    refused: int
    reasons: dict[str, int]
    notes: dict[str, int]
    examples: tuple[Example, ...]
    sensors_created: tuple[str, ...]
    unreadable: dict[str, str]  # files that could not be read to their end, and why
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "examples": [{**vars(example), "reason": example.reason.value} for example in self.examples],
            "sensors_created": list(self.sensors_created),
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Tally:
    """Counts rows while they are loaded, and keeps the first examples of each reason."""

    examples_kept: int
    rows: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    examples: dict[Reason, list[Example]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    sensors_created: list[str] = field(default_factory=list)

    def wants(self, reason: Reason) -> int:
        """How many more examples of a reason are welcome."""
        return self.examples_kept - len(self.examples.get(reason, ()))

    def show(self, reason: Reason, rows: Sequence[Example]) -> None:
        """Let the report show the first of these rows, as far as it wants more."""
        self.examples.setdefault(reason, []).extend(rows[: self.wants(reason)])

    def report(self, *, files: int, seconds: float) -> LoadReport:
        """What has been counted so far."""
        ends: Counter[Verdict] = Counter()
        for reason, count in self.reasons.items():
            ends[reason.verdict] += count
        return LoadReport(
            files=files,
            rows=self.rows,
            accepted=self.rows - ends.total(),
            already_there=ends[Verdict.ALREADY_THERE],
            corrected=ends[Verdict.CORRECTED],
            refused=ends[Verdict.REFUSED],
            reasons={reason.value: count for reason, count in self.reasons.most_common()},
            notes=dict(self.notes),
            examples=tuple(example for kept in self.examples.values() for example in kept),
            sensors_created=tuple(self.sensors_created),
            unreadable=dict(self.unreadable),
            seconds=seconds,
        )
