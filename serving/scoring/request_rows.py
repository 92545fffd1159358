"""What each row of a request means: its sensor, its time in UTC, its value, or why it cannot be answered.

Knows what a row may hold and which rows contradict each other. Knows no model and no database.
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

TIMESTAMP_HINT = "Write it like 2026-01-31T23:00:00Z."
MAX_TIMESTAMP = np.datetime64("2300-01-01")  # a forecast from there on is still a date that others can read
TIMESTAMP_ERRORS = {
    REASON_CODES[RowReason.UNREADABLE_STAMP]: f"the timestamp {{}} cannot be read. {TIMESTAMP_HINT}",
    REASON_CODES[RowReason.SKIPPED_HOUR]: f"the clocks skip the timestamp {{}}. {TIMESTAMP_HINT}",
    REASON_CODES[RowReason.REPEATED_HOUR]: f"the timestamp {{}} comes twice that day. {TIMESTAMP_HINT}",
}


@dataclass(frozen=True)
class RequestRows:
    """One entry a row: times in seconds of the epoch, NaN values where a forecast is asked for."""

    sensor_ids: Sequence[Any]
    seconds: Floats
    values: Floats
    errors: list[str | None]

    def rows_by_sensor(self) -> dict[str, list[int]]:
        """The rows of each sensor that can be answered, sensors in the order they are first named."""
        by_sensor: dict[str, list[int]] = {}
        for row, (sensor_id, error) in enumerate(zip(self.sensor_ids, self.errors, strict=True)):
            if error is None:
                by_sensor.setdefault(sensor_id, []).append(row)
        return by_sensor


class PostedReadings(NamedTuple):
    """One sensor's posted readings in order of time, each once, and which of them each of its rows is."""

    seconds: Floats
    values: Floats
    places: Ints


def group_posted(rows: RequestRows, of_sensors: Sequence[list[int]]) -> list[PostedReadings]:
    """The readings of each sensor, from the numbers of its rows that have a value; all sensors at once."""
    if not of_sensors:
        return []
    lengths = [len(some) for some in of_sensors]
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
    """Read every row; one that cannot be meant gets its error and costs the others nothing."""
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
        return "no sensor_id"
    if not isinstance(value, str):
        return f"the sensor_id {abbreviate(value)} is no text; write it in quotes."
    return f"the sensor_id {abbreviate(value)} is none: 1 to {MAX_ID_LENGTH} printable characters, no blanks around."


def _to_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _value_error(value: Any, number: float, sentinels: frozenset[float], largest: float) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"the value {abbreviate(value)} is no number; write null to ask for a forecast."
    if number in sentinels:
        return f"the value {abbreviate(value)} stands for no value; write null to ask for a forecast."
    # Written so that NaN is refused too.
    if not abs(number) <= largest:
        return f"the value {abbreviate(value)} is not a number up to {largest:g}."
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
        return "no timestamp"
    if not isinstance(value, str):
        return f"the timestamp {abbreviate(value)} is no text. {TIMESTAMP_HINT}"
    if reason in TIMESTAMP_ERRORS:
        return TIMESTAMP_ERRORS[reason].format(abbreviate(value))
    bound = "in 2300 or later" if read >= MAX_TIMESTAMP else f"before {settings.earliest:%Y}"
    return f"the timestamp {abbreviate(value)} is {bound}, when no reading can be. {TIMESTAMP_HINT}"


def _reject_contradictions(rows: RequestRows) -> None:
    """Two values for one sensor and time: which is meant is not ours to guess."""
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
                f"the value {rows.values[row]:g} contradicts row {before}, "
                f"which has {rows.values[before]:g} for the same sensor and time."
            )
