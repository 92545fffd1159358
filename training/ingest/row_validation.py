"""Which rows of a file are readings: each is judged by itself, before the store is asked.

Knows sensors' ranges, sentinels, and what times can be. What a text means as a number or a time belongs to
`numbers` and `timestamps`; whether a reading is there already, to `readings`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from training.data.sensors import Sensor, is_sensor_id
from training.ingest.layouts import RawRows
from training.ingest.load_report import CORRECTIONS, REASON_CODES, RowReason
from training.ingest.number_parsing import parse_numbers, parse_quality
from training.ingest.timestamp_parsing import Times, parse_timestamps, resolve_repeated_hours
from training.settings import Settings

BAD_QUALITY = 1  # the data_quality of a reading that is kept, but trains and scores nothing
REFUSAL_CODES = np.array(
    [code for reason, code in REASON_CODES.items() if reason and reason not in CORRECTIONS], np.int8
)


class IngestSettings(Settings, file="training", section="ingest"):
    """What load takes for granted where a file says nothing."""

    zone: str = Field("UTC", description="zone of timestamps that name none")
    sentinels: tuple[float, ...] = Field((-9999.0, -999.25), description="numbers that mean: no value")
    text_codes: tuple[str, ...] = Field(
        (
            *("Bad", "Bad Input", "Bad Quality", "Bad Data", "Inp OutRange", "Over Range", "Under Range"),
            *("Scan Timeout", "Scan Off", "I/O Timeout", "Comm Fail", "Not Connect", "No Data", "No Sample"),
            *("Pt Created", "Calc Failed", "Configure", "Shutdown", "Intf Shut", "Out of Serv", "Equip Fail"),
            *("Arc Off-line", "Questionable", "Error"),
        ),
        description="what historians write in the place of a value",
    )
    quality_codes: dict[str, int] = Field(
        {"good": 0, "bad": BAD_QUALITY, "uncertain": BAD_QUALITY},
        description="words and codes of data_quality",
    )
    future_tolerance: timedelta = Field(
        timedelta(minutes=5), description="how far clocks may be ahead of ours"
    )
    earliest: datetime = Field(datetime(1971, 1, 1), description="no reading is older")  # noqa: DTZ001 (UTC)
    largest: float = Field(1e30, gt=0, description="no value is further from zero")
    examples: int = Field(3, ge=0, description="rows shown for each reason")

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("no such zone; write UTC, or a name such as America/Sao_Paulo") from error


@dataclass(frozen=True)
class ValidatedRows:
    """Rows with what they mean: `sensor_id, timestamp, value, data_quality`, and each row's reason code.

    Rows whose reason refuses them hold whatever could be read. `undecided` are those in a repeated hour, good
    otherwise: their `timestamp` is the time as written.
    """

    rows: RawRows
    readings: pd.DataFrame
    reasons: npt.NDArray[np.int8]
    without_zone: int = 0

    @property
    def ambiguous(self) -> npt.NDArray[np.bool_]:
        """Which rows wait for their order to tell which hour is meant."""
        return np.equal(self.reasons, REASON_CODES[RowReason.REPEATED_HOUR])

    def filter(self, mask: npt.NDArray[np.bool_]) -> "ValidatedRows":
        """Some of the rows."""
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
    """The rules one load goes by."""

    settings: IngestSettings
    sensors: Mapping[str, Sensor]
    now: datetime
    zone: ZoneInfo
    decimal: str = "."
    pattern: str | None = None  # strptime's, for times written in another way
    strict: bool = False  # refuse sensors that are not known

    def validate(self, rows: RawRows) -> ValidatedRows:
        """What each row means, and why it cannot be, or is not quite, what it says."""
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
            (RowReason.ABSURD, np.abs(values) > self.settings.largest),
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
        """Which of the two hours is meant, by the order of all rows of a file that fall into such an hour."""
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

    def _implausible(self, utc: Times) -> list[tuple[RowReason, npt.NDArray[np.bool_]]]:
        limit = _naive(self.now) + self.settings.future_tolerance
        return [
            (RowReason.FUTURE, utc > np.datetime64(limit)),
            (RowReason.TOO_OLD, utc < np.datetime64(_naive(self.settings.earliest))),
        ]


@dataclass(frozen=True)
class _RowSensors:
    """What is known of the sensor of each row; worked out once an id."""

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
    def usable(self) -> npt.NDArray[np.bool_]:
        return np.array([is_sensor_id(name) for name in self.names], bool)[self.sensor_index]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        return np.array([sensor is not None for sensor in self.sensors], bool)[self.sensor_index]

    def outside(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which values the instrument cannot read."""
        low = [-np.inf if sensor is None or sensor.low is None else sensor.low for sensor in self.sensors]
        high = [np.inf if sensor is None or sensor.high is None else sensor.high for sensor in self.sensors]
        return (values < np.array(low)[self.sensor_index]) | (values > np.array(high)[self.sensor_index])

    def sentinel(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which values are their own sensor's way to say that there is none."""
        mask = np.zeros(len(values), bool)
        for place, sensor in enumerate(self.sensors):
            if sensor is not None and sensor.sentinels:
                mask |= (self.sensor_index == place) & np.isin(values, sensor.sentinels)
        return mask


def _first_reason(
    rows: int, *conditions: tuple[RowReason | None, npt.NDArray[np.bool_]]
) -> npt.NDArray[np.int8]:
    """Each row's reason: the first finding that is true of it, 0 where none is."""
    reasons = np.zeros(rows, np.int8)
    for reason, where in conditions:
        reasons[where & (reasons == 0)] = REASON_CODES[reason]
    return reasons


def _naive(time: datetime) -> datetime:
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
