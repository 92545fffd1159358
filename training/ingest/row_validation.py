"""Validate the rows of a file, each by itself: sensor, timestamp, value and quality.

Checks ranges, sentinels and plausible times. Texts are parsed in `training.ingest.number_parsing` and
`training.ingest.timestamp_parsing`; whether a reading is already stored is decided by
`training.data.readings`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from training.common.arrays import Flags, Floats
from training.common.times import to_naive_utc
from training.data.physical_range import PhysicalRange, outside_ranges
from training.data.sensors import Sensor, is_sensor_id
from training.ingest.layouts import RawRows
from training.ingest.load_report import CORRECTIONS, REASON_CODES, RowCodes, RowReason
from training.ingest.number_parsing import parse_numbers, parse_quality
from training.ingest.timestamp_parsing import Times, parse_timestamps, resolve_repeated_hours
from training.settings import Settings

BAD_QUALITY = 1  # data_quality of a reading that is stored, but not used for training and scores
REFUSAL_CODES = np.array(
    [code for reason, code in REASON_CODES.items() if reason and reason not in CORRECTIONS], np.int8
)


class IngestSettings(Settings, file="training", section="ingest"):
    """What a load assumes where a file does not state it, and which values it accepts."""

    zone: str = Field("UTC", description="time zone of timestamps without one")
    sentinels: tuple[float, ...] = Field((-9999.0, -999.25), description="numbers that mean no value")
    text_codes: tuple[str, ...] = Field(
        (
            *("Bad", "Bad Input", "Bad Quality", "Bad Data", "Inp OutRange", "Over Range", "Under Range"),
            *("Scan Timeout", "Scan Off", "I/O Timeout", "Comm Fail", "Not Connect", "No Data", "No Sample"),
            *("Pt Created", "Calc Failed", "Configure", "Shutdown", "Intf Shut", "Out of Serv", "Equip Fail"),
            *("Arc Off-line", "Questionable", "Error"),
        ),
        description="texts that historians write instead of a value",
    )
    quality_codes: dict[str, int] = Field(
        {"good": 0, "bad": BAD_QUALITY, "uncertain": BAD_QUALITY},
        description="data_quality of each text in that column",
    )
    future_tolerance: timedelta = Field(
        timedelta(minutes=5),
        description="how far a timestamp may lie in the future, for clocks that are ahead",
    )
    earliest: datetime = Field(datetime(1971, 1, 1), description="earliest timestamp allowed, UTC")  # noqa: DTZ001 (UTC)
    largest: float = Field(1e30, gt=0, description="largest absolute value allowed")
    examples: int = Field(3, ge=0, description="example rows in the report for each reason")

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                "unknown time zone: expected UTC, or a name such as America/Sao_Paulo"
            ) from error


@dataclass(frozen=True)
class ValidatedRows:
    """Rows with their parsed `sensor_id, timestamp, value, data_quality`, and each row's reason code.

    Refused rows have whatever could be parsed. The `timestamp` of ambiguous rows is the time as written.
    """

    rows: RawRows
    readings: pd.DataFrame
    reasons: RowCodes
    without_zone: int = 0

    @property
    def ambiguous(self) -> Flags:
        """Which valid rows lie in a repeated hour, to be resolved by their order."""
        return np.equal(self.reasons, REASON_CODES[RowReason.REPEATED_HOUR])

    def filter(self, mask: Flags) -> "ValidatedRows":
        """The selected rows."""
        return ValidatedRows(self.rows.filter(mask), self.readings[mask], self.reasons[mask])

    @staticmethod
    def concat(parts: "Sequence[ValidatedRows]") -> "ValidatedRows":
        """The rows of all parts, one part after the other."""
        return ValidatedRows(
            RawRows.concat([part.rows for part in parts]),
            pd.concat([part.readings for part in parts], ignore_index=True),
            np.concatenate([part.reasons for part in parts]),
        )


@dataclass(frozen=True)
class RowValidator:
    """The rules of one load."""

    settings: IngestSettings
    sensors: Mapping[str, Sensor]
    now: datetime
    zone: ZoneInfo
    decimal: str = "."
    pattern: str | None = None  # a strptime format of the timestamps
    strict: bool = False  # refuse unknown sensors

    def validate(self, rows: RawRows) -> ValidatedRows:
        """Parse each row and give the reason for which it is refused or corrected, if any."""
        sensor = _RowSensors.of(rows.sensor, self.sensors)
        stamps = parse_timestamps(rows.stamp, zone=self.zone, pattern=self.pattern)
        values, number_reasons = parse_numbers(
            rows.value, decimal=self.decimal, text_codes=self.settings.text_codes
        )
        quality, quality_reasons = parse_quality(
            rows.quality, len(values), codes=self.settings.quality_codes, unreadable=BAD_QUALITY
        )
        outside = sensor.outside(values) & (quality == 0)
        quality[outside] = BAD_QUALITY
        ambiguous = stamps.reasons == REASON_CODES[RowReason.REPEATED_HOUR]
        reasons = _first_reason(
            len(values),
            (RowReason.NO_SENSOR, ~sensor.usable),
            (RowReason.UNKNOWN_SENSOR, ~sensor.known & self.strict),
            *(
                (reason, stamps.reasons == REASON_CODES[reason])
                for reason in (RowReason.UNREADABLE_STAMP, RowReason.SKIPPED_HOUR)
            ),
            *self._implausible(stamps.utc),
            *(
                (reason, number_reasons == code)
                for reason, code in REASON_CODES.items()
                if code in REFUSAL_CODES
            ),
            (RowReason.TOO_LARGE, np.abs(values) > self.settings.largest),
            (RowReason.SENTINEL, np.isin(values, self.settings.sentinels) | sensor.sentinel(values)),
            (RowReason.REPEATED_HOUR, ambiguous),
            (RowReason.OUT_OF_RANGE, outside),
            (RowReason.UNREADABLE_QUALITY, quality_reasons != 0),
            *(
                (reason, number_reasons == REASON_CODES[reason])
                for reason in (RowReason.DECIMAL_COMMA, RowReason.THOUSANDS)
            ),
        )
        readings = pd.DataFrame(
            {
                "sensor_id": sensor.ids,
                "timestamp": np.where(ambiguous, stamps.written, stamps.utc),
                "value": values,
                "data_quality": quality.astype(np.int64),
            }
        )
        return ValidatedRows(rows, readings, reasons, stamps.without_zone)

    def resolve_repeated_hours(self, rows: ValidatedRows) -> ValidatedRows:
        """Resolve the rows of a file that lie in a repeated hour by their order."""
        readings = rows.readings
        utc = resolve_repeated_hours(
            readings["sensor_id"].to_numpy(object), readings["timestamp"].to_numpy(), self.zone
        )
        reasons = _first_reason(
            len(utc),
            (RowReason.REPEATED_HOUR, np.isnat(utc)),
            *self._implausible(utc),
            (RowReason.ORDERED_HOUR, ~np.isnat(utc)),
        )
        return replace(rows, readings=readings.assign(timestamp=utc), reasons=reasons)

    def _implausible(self, utc: Times) -> list[tuple[RowReason, Flags]]:
        limit = to_naive_utc(self.now) + self.settings.future_tolerance
        return [
            (RowReason.FUTURE, utc > np.datetime64(limit)),
            (RowReason.TOO_OLD, utc < np.datetime64(to_naive_utc(self.settings.earliest))),
        ]


@dataclass(frozen=True)
class _RowSensors:
    """The sensor of each row, looked up once an id."""

    ids: Any
    sensor_index: npt.NDArray[np.intp]
    names: Sequence[str]
    sensors: Sequence[Sensor | None]

    @classmethod
    def of(cls, column: pa.Array, known: Mapping[str, Sensor]) -> "_RowSensors":
        coded = pc.dictionary_encode(pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null(""))
        names = coded.dictionary.to_pylist()
        at = coded.indices.to_numpy(zero_copy_only=False)
        ids = pd.array(names, dtype="str").take(at)
        return cls(ids, at, names, [known.get(name) for name in names])

    @property
    def usable(self) -> Flags:
        return np.array([is_sensor_id(name) for name in self.names], bool)[self.sensor_index]

    @property
    def known(self) -> Flags:
        return np.array([sensor is not None for sensor in self.sensors], bool)[self.sensor_index]

    def outside(self, values: Floats) -> Flags:
        """Which values lie outside the physical range of their sensor."""
        ranges = [PhysicalRange() if sensor is None else sensor.physical_range for sensor in self.sensors]
        return outside_ranges(values, ranges, self.sensor_index)

    def sentinel(self, values: Floats) -> Flags:
        """Which values are a sentinel of their sensor: a number that means no value."""
        mask = np.zeros(len(values), bool)
        for position, sensor in enumerate(self.sensors):
            if sensor is not None and sensor.sentinels:
                mask |= (self.sensor_index == position) & np.isin(values, sensor.sentinels)
        return mask


def _first_reason(rows: int, *conditions: tuple[RowReason | None, Flags]) -> RowCodes:
    """Each row's reason: the first condition that holds, 0 where none does."""
    reasons = np.zeros(rows, np.int8)
    for reason, where in conditions:
        reasons[where & (reasons == 0)] = REASON_CODES[reason]
    return reasons
