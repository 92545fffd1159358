"""What load says of each row, and the report that adds it up.

Knows the reasons and their accounting: every row ends as exactly one of accepted, already there, corrected
or refused. Finding the reasons belongs to `judging`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RowStatus(StrEnum):
    """Where a row ends."""

    ACCEPTED = "accepted"  # stored as it was sent
    ALREADY_THERE = "already_there"  # this sensor, time and value were stored before
    CORRECTED = "corrected"  # stored, but not as it was sent, or in the place of another value
    REFUSED = "refused"


class RowReason(StrEnum):
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
    def status(self) -> RowStatus:
        """What a row with this reason ends as."""
        if self is RowReason.ALREADY_THERE:
            return RowStatus.ALREADY_THERE
        return RowStatus.CORRECTED if self in CORRECTIONS else RowStatus.REFUSED


CORRECTIONS = frozenset(
    {
        RowReason.OUT_OF_RANGE,
        RowReason.UNREADABLE_QUALITY,
        RowReason.DECIMAL_COMMA,
        RowReason.THOUSANDS,
        RowReason.ORDERED_HOUR,
        RowReason.REPLACED,
    }
)

# Rows carry a reason as a small number: its place here, 0 for none.
REASONS: tuple[RowReason | None, ...] = (None, *RowReason)
REASON_CODES = {reason: code for code, reason in enumerate(REASONS)}


@dataclass(frozen=True)
class RowExample:
    """One row that was not simply accepted, as it was written."""

    reason: RowReason
    file: str
    line: int
    sensor_id: str
    timestamp: str
    value: str
    detail: str = ""

    def __str__(self) -> str:
        row_text = f"{self.file}:{self.line}: {self.sensor_id},{self.timestamp},{self.value}"
        return f"{row_text} ({self.detail})" if self.detail else row_text


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
    examples: tuple[RowExample, ...]
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
class LoadTally:
    """Counts rows while they are loaded, and keeps the first examples of each reason."""

    max_examples: int
    rows: int = 0
    reasons: Counter[RowReason] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    examples: dict[RowReason, list[RowExample]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    sensors_created: list[str] = field(default_factory=list)

    def remaining_examples(self, reason: RowReason) -> int:
        """How many more examples of a reason are welcome."""
        return self.max_examples - len(self.examples.get(reason, ()))

    def add_examples(self, reason: RowReason, rows: Sequence[RowExample]) -> None:
        """Let the report show the first of these rows, as far as it wants more."""
        self.examples.setdefault(reason, []).extend(rows[: self.remaining_examples(reason)])

    def report(self, *, files: int, seconds: float) -> LoadReport:
        """What has been counted so far."""
        statuses: Counter[RowStatus] = Counter()
        for reason, count in self.reasons.items():
            statuses[reason.status] += count
        return LoadReport(
            files=files,
            rows=self.rows,
            accepted=self.rows - statuses.total(),
            already_there=statuses[RowStatus.ALREADY_THERE],
            corrected=statuses[RowStatus.CORRECTED],
            refused=statuses[RowStatus.REFUSED],
            reasons={reason.value: count for reason, count in self.reasons.most_common()},
            notes=dict(self.notes),
            examples=tuple(example for kept in self.examples.values() for example in kept),
            sensors_created=tuple(self.sensors_created),
            unreadable=dict(self.unreadable),
            seconds=seconds,
        )
