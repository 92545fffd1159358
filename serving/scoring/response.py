"""An answer's columns, filled in: what was asked, verdicts, forecasts and steps ahead, each in its place.

Knows columns and the order of rows. Decides nothing; that is `scoring`'s.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.contract import COLUMNS_OUT, PredictionRequest, PredictionResponse
from serving.scoring.forecasts import RequestedForecast
from serving.scoring.request_rows import RequestRows
from serving.vectorized.batch_scoring import AnomalyScores
from training.anomaly.explanations import severity_of
from training.common.arrays import Floats

Columns = dict[str, list[Any]]


class SensorScores(NamedTuple):
    """One sensor's rows with the verdicts on its readings; `places` says which of them is each row's."""

    rows: list[int]
    places: NDArray[np.int64]
    verdicts: AnomalyScores
    version: str
    note: str


def new_columns(request: PredictionRequest, rows: RequestRows) -> Columns:
    """An answer that says nothing yet but repeats what was asked."""
    columns: Columns = {name: [None] * len(request) for name in COLUMNS_OUT}
    columns["sensor_id"] = [one if isinstance(one, str) else None for one in request.sensor_ids]
    columns["timestamp"] = [one if isinstance(one, str) else None for one in request.timestamps]
    columns["value"] = [None if math.isnan(value) else value for value in rows.values.tolist()]
    columns["error"] = list(rows.errors)
    return columns


def write_errors(columns: Columns, rows: list[int], reason: str) -> None:
    """Say why these rows have no answer."""
    for row in rows:
        columns["error"][row] = reason


def write_scores(columns: Columns, sensors: Sequence[SensorScores]) -> None:
    """Fill in the verdicts of all sensors at once."""
    if not sensors:
        return
    batches = [one.verdicts for one in sensors]
    lengths, readings = [len(one.rows) for one in sensors], [len(one.scores) for one in batches]
    starts = np.cumsum(readings) - readings
    positions = np.concatenate([one.places for one in sensors]) + np.repeat(starts, lengths)
    scores = np.concatenate([one.scores for one in batches])[positions]
    thresholds = np.repeat([one.threshold for one in batches], lengths)
    reasons = list(chain.from_iterable(one.reasons for one in batches))
    notes = [one.note for one in sensors for _ in one.rows]
    filled = {
        "anomaly_score": scores.tolist(),
        "is_anomaly": (scores >= thresholds).tolist(),
        "severity": severity_of(scores).tolist(),
        "threshold": thresholds.tolist(),
        "historical_average": np.concatenate([one.averages for one in batches])[positions].tolist(),
        "historical_std": np.concatenate([one.deviations for one in batches])[positions].tolist(),
        "reason": [
            "; ".join(filter(None, (reasons[place], note)))
            for place, note in zip(positions.tolist(), notes, strict=True)
        ],
        "detector_version": [one.version for one in sensors for _ in one.rows],
    }
    rows = list(chain.from_iterable(one.rows for one in sensors))
    for name, entries in filled.items():
        column = columns[name]
        for row, entry in zip(rows, entries, strict=True):
            column[row] = entry


def write_forecasts(columns: Columns, rows: list[int], forecast: RequestedForecast, note: str) -> None:
    """Fill in what one sensor's outlook says of the moments asked about."""
    for row, (expected, lower, upper), reason in zip(
        rows, forecast.at.tolist(), forecast.reasons, strict=True
    ):
        if math.isnan(expected):
            columns["error"][row] = reason
            continue
        columns["expected"][row], columns["lower"][row], columns["upper"][row] = expected, lower, upper
        columns["forecaster_version"][row] = forecast.version
        columns["reason"][row] = note


def append_error(response: PredictionResponse, sensor_id: str, reason: str) -> None:
    """One row that says why a sensor has no steps ahead."""
    _append_rows(response, [math.nan], sensor_id=[sensor_id], error=[reason])


def append_steps_ahead(
    response: PredictionResponse, sensor_id: str, forecast: RequestedForecast, horizon: int, note: str
) -> None:
    """One row a step ahead of one sensor, behind the rows asked."""
    seconds = forecast.path.seconds[:horizon].tolist()
    expected, lower, upper = forecast.path.steps[:horizon].T.tolist()
    _append_rows(
        response,
        seconds,
        sensor_id=[sensor_id] * horizon,
        timestamp=format_timestamps(forecast.path.seconds[:horizon]),
        expected=expected,
        lower=lower,
        upper=upper,
        reason=[note] * horizon,
        forecaster_version=[forecast.version] * horizon,
    )


def _append_rows(response: PredictionResponse, seconds: list[float], **values: list[Any]) -> None:
    response.seconds.extend(seconds)
    for name, column in response.columns.items():
        column.extend(values.get(name, [None] * len(seconds)))


def format_timestamps(seconds: Floats) -> list[str]:
    """Moments as text in UTC, without a fraction where there is none.

    >>> stamps_of(np.array([1_767_225_600.0, 1_767_225_600.5]))
    ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.500000Z']
    """
    moments = np.rint(seconds * 1e6).astype(np.int64).astype("datetime64[us]")
    return [f"{text.removesuffix('.000000')}Z" for text in np.datetime_as_string(moments).tolist()]
