"""The report on a load: the outcome and reason of each row, counted, with examples.

Every row ends as exactly one of accepted, already there, corrected or refused. The reasons are found in
`training.ingest.row_validation`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

RowCodes = npt.NDArray[np.int8]  # positions in REASONS, one a row


class RowStatus(StrEnum):
    """The outcome of a row."""

    ACCEPTED = "accepted"  # stored as sent
    ALREADY_THERE = "already_there"  # the same value was stored before
    CORRECTED = "corrected"  # stored with a change, or in place of another value
    REFUSED = "refused"


class RowReason(StrEnum):
    """Why a row was not accepted as it is. The values are shown in reports and files of refused rows."""

    MALFORMED = "wrong number of columns"
    NOT_TEXT = "invalid bytes for this encoding"
    NO_SENSOR = "missing or invalid sensor id"
    UNKNOWN_SENSOR = "unknown sensor"
    UNREADABLE_STAMP = "unreadable timestamp"
    SKIPPED_HOUR = "timestamp in an hour that daylight saving skips"
    REPEATED_HOUR = "timestamp in an hour that daylight saving repeats, not resolved by order"
    FUTURE = "timestamp in the future"
    TOO_OLD = "timestamp before the earliest allowed"
    EMPTY = "no value"
    TEXT_CODE = "text code of a historian"
    NOT_A_NUMBER = "value is not a number"
    AMBIGUOUS_NUMBER = "value has either thousands or decimals"
    NOT_FINITE = "value is not finite"
    TOO_LARGE = "value exceeds the largest allowed"
    SENTINEL = "sentinel number that means no value"
    CONTRADICTED = "contradicts the value stored for this time"
    OUT_OF_RANGE = "outside the physical range, stored as bad quality"
    UNREADABLE_QUALITY = "unreadable data_quality, stored as bad quality"
    DECIMAL_COMMA = "decimal comma read as a point"
    THOUSANDS = "thousands separators removed"
    ORDERED_HOUR = "timestamp in an hour that daylight saving repeats, resolved by order"
    REPLACED = "replaced another value"
    ALREADY_THERE = "already stored"

    @property
    def status(self) -> RowStatus:
        """The outcome of a row with this reason."""
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

# Arrays of rows hold each reason as its position here; 0 is none.
REASONS: tuple[RowReason | None, ...] = (None, *RowReason)
REASON_CODES = {reason: code for code, reason in enumerate(REASONS)}


@dataclass(frozen=True)
class RowExample:
    """One row that was not accepted as it is, as written in the file."""

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
    """Counts of the rows of all files by outcome and reason.

    `rows == accepted + already_there + corrected + refused`; `reasons` counts all but the accepted. A row is
    one reading: in a wide file, a cell. `notes` counts rows with remarks that changed no outcome.
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
        """Plain values for JSON."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "examples": [{**vars(example), "reason": example.reason.value} for example in self.examples],
            "sensors_created": list(self.sensors_created),
            "seconds": round(self.seconds, 3),
        }


@dataclass
class LoadTally:
    """Counts of the rows loaded so far, with the first examples of each reason."""

    max_examples: int
    rows: int = 0
    reasons: Counter[RowReason] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    examples: dict[RowReason, list[RowExample]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    sensors_created: list[str] = field(default_factory=list)

    def remaining_examples(self, reason: RowReason) -> int:
        """How many more examples of this reason the report shows."""
        return self.max_examples - len(self.examples.get(reason, ()))

    def add_examples(self, reason: RowReason, rows: Sequence[RowExample]) -> None:
        """Add these rows to the examples, up to the limit."""
        self.examples.setdefault(reason, []).extend(rows[: self.remaining_examples(reason)])

    def report(self, *, files: int, seconds: float) -> LoadReport:
        """The report on what has been counted so far."""
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
            examples=tuple(example for rows in self.examples.values() for example in rows),
            sensors_created=tuple(self.sensors_created),
            unreadable=dict(self.unreadable),
            seconds=seconds,
        )
