"""An answer's columns, filled in: what was asked, verdicts, forecasts and steps ahead, each in its place.

Knows columns and the order of rows. Decides nothing; that is `scoring`'s.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.contract import COLUMNS_OUT, Answer, Ask
from serving.scoring.forecasts import Outlook
from serving.scoring.request_rows import Rows
from serving.vectorized.batch_scoring import Verdicts
from training.anomaly.explanations import severity_of

Floats = NDArray[np.float64]
Columns = dict[str, list[Any]]


class Judged(NamedTuple):
    """One sensor's rows with the verdicts on its readings; `places` says which of them is each row's."""

    rows: list[int]
    places: NDArray[np.int64]
    verdicts: Verdicts
    version: str
    note: str


def blank(ask: Ask, rows: Rows) -> Columns:
    """An answer that says nothing yet but repeats what was asked."""
    columns: Columns = {name: [None] * len(ask) for name in COLUMNS_OUT}
    columns["sensor_id"] = [one if isinstance(one, str) else None for one in ask.sensor_ids]
    columns["timestamp"] = [one if isinstance(one, str) else None for one in ask.stamps]
    columns["value"] = [None if math.isnan(value) else value for value in rows.values.tolist()]
    columns["error"] = list(rows.errors)
    return columns


def write_errors(columns: Columns, rows: list[int], why: str) -> None:
    """Say why these rows have no answer."""
    for row in rows:
        columns["error"][row] = why


def write_verdicts(columns: Columns, judged: Sequence[Judged]) -> None:
    """Fill in the verdicts of all sensors at once."""
    if not judged:
        return
    found = [one.verdicts for one in judged]
    lengths, readings = [len(one.rows) for one in judged], [len(one.scores) for one in found]
    starts = np.cumsum(readings) - readings
    places = np.concatenate([one.places for one in judged]) + np.repeat(starts, lengths)
    scores = np.concatenate([one.scores for one in found])[places]
    thresholds = np.repeat([one.threshold for one in found], lengths)
    words = list(chain.from_iterable(one.reasons for one in found))
    notes = [one.note for one in judged for _ in one.rows]
    told = {
        "anomaly_score": scores.tolist(),
        "is_anomaly": (scores >= thresholds).tolist(),
        "severity": severity_of(scores).tolist(),
        "threshold": thresholds.tolist(),
        "historical_average": np.concatenate([one.averages for one in found])[places].tolist(),
        "historical_std": np.concatenate([one.deviations for one in found])[places].tolist(),
        "reason": [
            "; ".join(filter(None, (words[place], note)))
            for place, note in zip(places.tolist(), notes, strict=True)
        ],
        "detector_version": [one.version for one in judged for _ in one.rows],
    }
    rows = list(chain.from_iterable(one.rows for one in judged))
    for name, entries in told.items():
        column = columns[name]
        for row, entry in zip(rows, entries, strict=True):
            column[row] = entry


def write_outlook(columns: Columns, rows: list[int], outlook: Outlook, note: str) -> None:
    """Fill in what one sensor's outlook says of the moments asked about."""
    for row, (expected, lower, upper), why in zip(rows, outlook.at.tolist(), outlook.why, strict=True):
        if math.isnan(expected):
            columns["error"][row] = why
            continue
        columns["expected"][row], columns["lower"][row], columns["upper"][row] = expected, lower, upper
        columns["forecaster_version"][row] = outlook.version
        columns["reason"][row] = note


def append_error(answer: Answer, sensor_id: str, why: str) -> None:
    """One row that says why a sensor has no steps ahead."""
    _append(answer, [math.nan], sensor_id=[sensor_id], error=[why])


def append_ahead(answer: Answer, sensor_id: str, outlook: Outlook, horizon: int, note: str) -> None:
    """One row a step ahead of one sensor, behind the rows asked."""
    seconds = outlook.ahead.seconds[:horizon].tolist()
    expected, lower, upper = outlook.ahead.steps[:horizon].T.tolist()
    _append(
        answer,
        seconds,
        sensor_id=[sensor_id] * horizon,
        timestamp=stamps_of(outlook.ahead.seconds[:horizon]),
        expected=expected,
        lower=lower,
        upper=upper,
        reason=[note] * horizon,
        forecaster_version=[outlook.version] * horizon,
    )


def _append(answer: Answer, seconds: list[float], **said: list[Any]) -> None:
    answer.seconds.extend(seconds)
    for name, column in answer.columns.items():
        column.extend(said.get(name, [None] * len(seconds)))


def stamps_of(seconds: Floats) -> list[str]:
    """Moments as text in UTC, without a fraction where there is none.

    >>> stamps_of(np.array([1_767_225_600.0, 1_767_225_600.5]))
    ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.500000Z']
    """
    moments = np.rint(seconds * 1e6).astype(np.int64).astype("datetime64[us]")
    return [f"{text.removesuffix('.000000')}Z" for text in np.datetime_as_string(moments).tolist()]
