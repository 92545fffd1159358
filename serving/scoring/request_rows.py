"""Parse the rows of a request: sensor, time in UTC and value of each, or its error.

Also finds rows that contradict each other. Uses no model and no database; rows are answered by
`fleet_scoring`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from serving.contract import PredictionRequest, abbreviate
from training.common.arrays import Floats, Ints
from training.data.sensors import MAX_ID_LENGTH, is_sensor_id
from training.ingest.load_report import REASON_CODES, RowReason
from training.ingest.row_validation import IngestSettings
from training.ingest.timestamp_parsing import parse_timestamps

TIMESTAMP_HINT = "Use ISO 8601, for example 2026-01-31T23:00:00Z."
MAX_TIMESTAMP = np.datetime64("2300-01-01")  # forecasts from there on are still dates that clients can parse
TIMESTAMP_ERRORS = {
    REASON_CODES[RowReason.UNREADABLE_STAMP]: f"timestamp {{}} is invalid. {TIMESTAMP_HINT}",
    REASON_CODES[RowReason.SKIPPED_HOUR]: f"timestamp {{}} is in a skipped hour. {TIMESTAMP_HINT}",
    REASON_CODES[RowReason.REPEATED_HOUR]: (
        f"timestamp {{}} is ambiguous: this hour is repeated. {TIMESTAMP_HINT}"
    ),
}


@dataclass(frozen=True)
class RequestRows:
    """One entry per row: times in seconds since 1970, NaN values where a forecast is requested."""

    sensor_ids: Sequence[Any]
    seconds: Floats
    values: Floats
    errors: list[str | None]

    def rows_by_sensor(self) -> dict[str, list[int]]:
        """The valid rows of each sensor, sensors in the order of their first row."""
        by_sensor: dict[str, list[int]] = {}
        for row, (sensor_id, error) in enumerate(zip(self.sensor_ids, self.errors, strict=True)):
            if error is None:
                by_sensor.setdefault(sensor_id, []).append(row)
        return by_sensor


class PostedReadings(NamedTuple):
    """One sensor's posted readings in order of time without duplicates, and each row's position in them."""

    seconds: Floats
    values: Floats
    places: Ints


def group_posted(rows: RequestRows, of_sensors: Sequence[list[int]]) -> list[PostedReadings]:
    """The readings of each sensor, given the numbers of its rows that have a value."""
    if not of_sensors:
        return []
    lengths = [len(rows_of_sensor) for rows_of_sensor in of_sensors]
    flat = np.fromiter(chain.from_iterable(of_sensors), np.int64, sum(lengths))
    sensor = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((rows.seconds[flat], sensor))
    seconds = rows.seconds[flat[order]]
    first = np.ones(len(flat), bool)
    first[1:] = (seconds[1:] != seconds[:-1]) | (sensor[1:] != sensor[:-1])
    counts = np.bincount(sensor[first], minlength=len(lengths))
    ends = np.cumsum(counts)
    places = np.empty(len(flat), np.int64)
    places[order] = np.cumsum(first) - 1
    places -= np.repeat(ends - counts, lengths)
    seconds, values = seconds[first], rows.values[flat[order][first]]
    cuts = zip((ends - counts).tolist(), ends.tolist(), accumulate(lengths), lengths, strict=True)
    return [
        PostedReadings(seconds[start:end], values[start:end], places[last - length : last])
        for start, end, last, length in cuts
    ]


def parse_rows(request: PredictionRequest, settings: IngestSettings) -> RequestRows:
    """Parse every row; an invalid one gets an error and does not affect the others."""
    errors: list[str | None] = [None] * len(request)
    values = np.full(len(request), np.nan)
    sentinels = frozenset(settings.sentinels)
    for row, (sensor_id, value) in enumerate(zip(request.sensor_ids, request.values, strict=True)):
        if type(sensor_id) is not str or not is_sensor_id(sensor_id):
            errors[row] = _sensor_id_error(sensor_id)
        elif value is None:
            continue
        elif type(value) is float and abs(value) <= settings.largest and value not in sentinels:
            values[row] = value
        else:
            number = _to_number(value)
            errors[row] = _value_error(value, number, sentinels, settings.largest)
            values[row] = np.nan if errors[row] else number
    seconds = _parse_seconds(request.timestamps, errors, settings)
    rows = RequestRows(request.sensor_ids, seconds, values, errors)
    _reject_contradictions(rows)
    return rows


def _sensor_id_error(value: Any) -> str:
    if value is None:
        return "sensor_id is missing"
    if not isinstance(value, str):
        return f"sensor_id {abbreviate(value)} is not a string; write it in quotes."
    return (
        f"sensor_id {abbreviate(value)} is invalid: expected 1 to {MAX_ID_LENGTH} printable characters "
        "without leading or trailing spaces."
    )


def _to_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _value_error(value: Any, number: float, sentinels: frozenset[float], largest: float) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"value {abbreviate(value)} is not a number; write null to request a forecast."
    if number in sentinels:
        return f"value {abbreviate(value)} marks a missing value; write null to request a forecast."
    # Written so that NaN is refused too.
    if not abs(number) <= largest:
        return f"value {abbreviate(value)} is out of range: expected at most {largest:g}."
    return None


def _parse_seconds(stamps: Sequence[Any], errors: list[str | None], settings: IngestSettings) -> Floats:
    texts = [stamp if type(stamp) is str else None for stamp in stamps]
    read = parse_timestamps(pa.array(texts, pa.string()), zone=ZoneInfo(settings.zone))
    seconds = read.utc.astype("datetime64[us]").astype(np.int64) / 1e6
    invalid = np.isnat(read.utc) | (read.utc < np.datetime64(settings.earliest)) | (read.utc >= MAX_TIMESTAMP)
    seconds[invalid] = np.nan
    for row in np.flatnonzero(invalid).tolist():
        if errors[row] is None:
            errors[row] = _timestamp_error(stamps[row], int(read.reasons[row]), read.utc[row], settings)
    return seconds


def _timestamp_error(value: Any, reason: int, read: np.datetime64, settings: IngestSettings) -> str:
    if value is None:
        return "timestamp is missing"
    if not isinstance(value, str):
        return f"timestamp {abbreviate(value)} is not a string. {TIMESTAMP_HINT}"
    if reason in TIMESTAMP_ERRORS:
        return TIMESTAMP_ERRORS[reason].format(abbreviate(value))
    bound = "in 2300 or later" if read >= MAX_TIMESTAMP else f"before {settings.earliest:%Y}"
    return f"timestamp {abbreviate(value)} is out of range: {bound}. {TIMESTAMP_HINT}"


def _reject_contradictions(rows: RequestRows) -> None:
    """Give an error to rows with another value than an earlier row of the same sensor and time."""
    scored = [row for row in np.flatnonzero(~np.isnan(rows.values)).tolist() if rows.errors[row] is None]
    seconds = rows.seconds.tolist()
    keys = [(rows.sensor_ids[row], seconds[row]) for row in scored]
    if len(set(keys)) == len(keys):
        return
    first: dict[tuple[str, float], int] = {}
    for row, key in zip(scored, keys, strict=True):
        before = first.setdefault(key, row)
        if rows.values[before] != rows.values[row]:
            rows.errors[row] = (
                f"value {rows.values[row]:g} contradicts row {before}, which has "
                f"{rows.values[before]:g} for the same sensor and time."
            )
