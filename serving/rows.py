"""What each row of a request means: its sensor, its time in UTC, its value, or why it cannot be answered.

Knows what a row may hold and which rows contradict each other. Knows no model and no database.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.contract import Ask, shown
from training.judging import IngestSettings
from training.sensors import LONGEST_ID, is_sensor_id
from training.timestamps import read_stamps
from training.verdicts import CODE, Reason

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WRITE_IT = "Write it like 2026-01-31T23:00:00Z."
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
    doubtful = np.isnat(read.utc) | (read.utc < np.datetime64(settings.earliest))
    seconds[doubtful] = np.nan
    for row in np.flatnonzero(doubtful).tolist():
        if errors[row] is None:
            errors[row] = _why_no_time(stamps[row], int(read.reasons[row]), settings)
    return seconds


def _why_no_time(given: Any, reason: int, settings: IngestSettings) -> str:
    if given is None:
        return "no timestamp"
    if not isinstance(given, str):
        return f"the timestamp {shown(given)} is no text. {WRITE_IT}"
    early = f"the timestamp {{}} is before {settings.earliest:%Y}, when no reading can be. {WRITE_IT}"
    return STAMP_ERRORS.get(reason, early).format(shown(given))


def _refuse_contradictions(rows: Rows) -> None:
    """Two values for one sensor and time: which is meant is not ours to guess."""
    first: dict[tuple[str, float], int] = {}
    scored = np.flatnonzero(~np.isnan(rows.values))
    for row, second in zip(scored.tolist(), rows.seconds[scored].tolist(), strict=True):
        if rows.errors[row] is not None:
            continue
        before = first.setdefault((rows.sensor_ids[row], second), row)
        if before != row and rows.values[before] != rows.values[row]:
            rows.errors[row] = (
                f"the value {rows.values[row]:g} contradicts row {before}, "
                f"which has {rows.values[before]:g} for the same sensor and time."
            )
