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
from numpy.typing import NDArray

from serving.contract import Ask, shown
from training.data.sensors import LONGEST_ID, is_sensor_id
from training.ingest.load_report import CODE, Reason
from training.ingest.row_validation import IngestSettings
from training.ingest.timestamp_parsing import read_stamps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WRITE_IT = "Write it like 2026-01-31T23:00:00Z."
LATEST = np.datetime64("2300-01-01")  # a forecast from there on is still a date that others can read
STAMP_ERRORS = {
    CODE[Reason.UNREADABLE_STAMP]: f"the timestamp {{}} cannot be read. {WRITE_IT}",
    CODE[Reason.SKIPPED_HOUR]: f"the clocks skip the timestamp {{}}. {WRITE_IT}",
    CODE[Reason.REPEATED_HOUR]: f"the timestamp {{}} comes twice that day. {WRITE_IT}",
}


@dataclass(frozen=True)
class Rows:
    """One entry a row: times in seconds of the epoch, NaN values where a forecast is asked for."""

    sensor_ids: Sequence[Any]
    seconds: Floats
    values: Floats
    errors: list[str | None]

    def of_sensors(self) -> dict[str, list[int]]:
        """The rows of each sensor that can be answered, sensors in the order they are first named."""
        found: dict[str, list[int]] = {}
        for row, (sensor_id, error) in enumerate(zip(self.sensor_ids, self.errors, strict=True)):
            if error is None:
                found.setdefault(sensor_id, []).append(row)
        return found


class Posted(NamedTuple):
    """One sensor's posted readings in order of time, each once, and which of them each of its rows is."""

    seconds: Floats
    values: Floats
    places: Ints


def posted(rows: Rows, of_sensors: Sequence[list[int]]) -> list[Posted]:
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
        Posted(seconds[start:end], values[start:end], places[last - length : last])
        for start, end, last, length in cuts
    ]


def read_rows(ask: Ask, settings: IngestSettings) -> Rows:
    """Read every row; one that cannot be meant gets its error and costs the others nothing."""
    errors: list[str | None] = [None] * len(ask)
    values = np.full(len(ask), np.nan)
    sentinels = frozenset(settings.sentinels)
    for row, (sensor_id, value) in enumerate(zip(ask.sensor_ids, ask.values, strict=True)):
        if type(sensor_id) is not str or not is_sensor_id(sensor_id):
            errors[row] = _why_no_sensor(sensor_id)
        elif value is None:
            continue
        elif type(value) is float and abs(value) <= settings.largest and value not in sentinels:
            values[row] = value
        else:
            number = _number(value)
            errors[row] = _why_no_value(value, number, sentinels, settings.largest)
            values[row] = np.nan if errors[row] else number
    seconds = _seconds(ask.stamps, errors, settings)
    rows = Rows(ask.sensor_ids, seconds, values, errors)
    _refuse_contradictions(rows)
    return rows


def _why_no_sensor(given: Any) -> str:
    if given is None:
        return "no sensor_id"
    if not isinstance(given, str):
        return f"the sensor_id {shown(given)} is no text; write it in quotes."
    return f"the sensor_id {shown(given)} is none: 1 to {LONGEST_ID} printable characters, no blanks around."


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _why_no_value(value: Any, number: float, sentinels: frozenset[float], largest: float) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"the value {shown(value)} is no number; write null to ask for a forecast."
    if number in sentinels:
        return f"the value {shown(value)} stands for no value; write null to ask for a forecast."
    # Written so that NaN is refused too.
    if not abs(number) <= largest:
        return f"the value {shown(value)} is not a number up to {largest:g}."
    return None


def _seconds(stamps: Sequence[Any], errors: list[str | None], settings: IngestSettings) -> Floats:
    texts = [stamp if type(stamp) is str else None for stamp in stamps]
    read = read_stamps(pa.array(texts, pa.string()), zone=ZoneInfo(settings.zone))
    seconds = read.utc.astype("datetime64[us]").astype(np.int64) / 1e6
    doubtful = np.isnat(read.utc) | (read.utc < np.datetime64(settings.earliest)) | (read.utc >= LATEST)
    seconds[doubtful] = np.nan
    for row in np.flatnonzero(doubtful).tolist():
        if errors[row] is None:
            errors[row] = _why_no_time(stamps[row], int(read.reasons[row]), read.utc[row], settings)
    return seconds


def _why_no_time(given: Any, reason: int, read: np.datetime64, settings: IngestSettings) -> str:
    if given is None:
        return "no timestamp"
    if not isinstance(given, str):
        return f"the timestamp {shown(given)} is no text. {WRITE_IT}"
    if reason in STAMP_ERRORS:
        return STAMP_ERRORS[reason].format(shown(given))
    bound = "in 2300 or later" if read >= LATEST else f"before {settings.earliest:%Y}"
    return f"the timestamp {shown(given)} is {bound}, when no reading can be. {WRITE_IT}"


def _refuse_contradictions(rows: Rows) -> None:
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
