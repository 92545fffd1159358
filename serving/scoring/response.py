"""Fill in the answer's columns: the request's values, scores, forecasts and steps ahead, each in its row.

Renders reasons in English, the language of the endpoint. Decides nothing; that is `fleet_scoring`.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from serving.contract import COLUMNS_OUT, PredictionRequest, PredictionResponse
from serving.scoring.forecasts import RequestedForecast
from serving.scoring.limits import LimitJudgement
from serving.scoring.request_rows import RequestRows
from training.anomaly.explanations import severity_of
from training.anomaly.profile_detector import AnomalyScores
from training.common.arrays import Floats, Ints
from training.reasons import Reason, render, render_all


class SensorScores(NamedTuple):
    """One sensor's rows with the scores of its readings; `places` holds the reading of each row."""

    rows: list[int]
    places: Ints
    scores: AnomalyScores
    version: str
    note: Reason | None


def new_response(
    request: PredictionRequest, rows: RequestRows, notes: tuple[Reason, ...]
) -> PredictionResponse:
    """An answer that holds the request's own values and the errors of its rows."""
    columns: dict[str, list[Any]] = {name: [None] * len(request) for name in COLUMNS_OUT}
    columns["sensor_id"] = [value if isinstance(value, str) else None for value in request.sensor_ids]
    columns["timestamp"] = [value if isinstance(value, str) else None for value in request.timestamps]
    columns["value"] = [None if math.isnan(value) else value for value in rows.values.tolist()]
    columns["error"] = list(rows.errors)
    return PredictionResponse(columns, rows.seconds.tolist(), [()] * len(request), {}, notes)


def write_errors(response: PredictionResponse, rows: list[int], error: str) -> None:
    """Write the same error into these rows."""
    for row in rows:
        response.columns["error"][row] = error


def write_scores(response: PredictionResponse, sensors: Sequence[SensorScores]) -> None:
    """Write the scores of all sensors at once."""
    if not sensors:
        return
    batches = [sensor.scores for sensor in sensors]
    lengths, readings = [len(sensor.rows) for sensor in sensors], [len(batch.scores) for batch in batches]
    starts = np.cumsum(readings) - readings
    positions = np.concatenate([sensor.places for sensor in sensors]) + np.repeat(starts, lengths)
    scores = np.concatenate([batch.scores for batch in batches])[positions]
    thresholds = np.repeat([batch.threshold for batch in batches], lengths)
    explanations = list(chain.from_iterable(batch.reasons for batch in batches))
    notes = [sensor.note for sensor in sensors for _ in sensor.rows]
    row_reasons = [
        tuple(reason for reason in (explanations[place], note) if reason)
        for place, note in zip(positions.tolist(), notes, strict=True)
    ]
    filled = {
        "anomaly_score": scores.tolist(),
        "is_anomaly": (scores >= thresholds).tolist(),
        "severity": severity_of(scores).tolist(),
        "threshold": thresholds.tolist(),
        "historical_average": np.concatenate([batch.averages for batch in batches])[positions].tolist(),
        "historical_std": np.concatenate([batch.deviations for batch in batches])[positions].tolist(),
        "reason": [render_all(reasons) for reasons in row_reasons],
        "detector_version": [sensor.version for sensor in sensors for _ in sensor.rows],
    }
    rows = list(chain.from_iterable(sensor.rows for sensor in sensors))
    for name, entries in filled.items():
        column = response.columns[name]
        for row, entry in zip(rows, entries, strict=True):
            column[row] = entry
    for row, entry in zip(rows, row_reasons, strict=True):
        response.reasons[row] = entry


def write_limits(
    response: PredictionResponse,
    rows: list[int],
    places: Ints,
    judgements: Mapping[int, LimitJudgement],
) -> None:
    """Write severity and reason of the readings at a limit; `places` holds the reading of each row."""
    if not judgements:
        return
    for row, place in zip(rows, places.tolist(), strict=True):
        if (judgement := judgements.get(place)) is None:
            continue
        response.limits[row] = judgement.reason
        response.columns["severity"][row] = judgement.severity
        response.columns["reason"][row] = render_all((judgement.reason, *response.reasons[row]))


def write_forecasts(
    response: PredictionResponse, rows: list[int], forecast: RequestedForecast, note: Reason | None
) -> None:
    """Write one sensor's forecasts at the requested times, or why there is none."""
    columns, text = response.columns, render(note) if note else ""
    for row, (expected, lower, upper), error in zip(rows, forecast.at.tolist(), forecast.errors, strict=True):
        if math.isnan(expected):
            columns["error"][row] = render(error)
            continue
        columns["expected"][row], columns["lower"][row], columns["upper"][row] = expected, lower, upper
        columns["forecaster_version"][row] = forecast.version
        columns["reason"][row] = text
        response.reasons[row] = (note,) if note else ()


def append_error(response: PredictionResponse, sensor_id: str, error: str) -> None:
    """Append one row with the reason why a sensor has no steps ahead."""
    _append_rows(response, [math.nan], (), sensor_id=[sensor_id], error=[error])


def append_steps_ahead(
    response: PredictionResponse,
    sensor_id: str,
    forecast: RequestedForecast,
    horizon: int,
    note: Reason | None,
) -> None:
    """Append one row per step ahead of one sensor."""
    seconds = forecast.path.seconds[:horizon]
    expected, lower, upper = forecast.path.steps[:horizon].T.tolist()
    _append_rows(
        response,
        seconds.tolist(),
        (note,) if note else (),
        sensor_id=[sensor_id] * horizon,
        timestamp=format_timestamps(seconds),
        expected=expected,
        lower=lower,
        upper=upper,
        reason=[render(note) if note else ""] * horizon,
        forecaster_version=[forecast.version] * horizon,
    )


def _append_rows(
    response: PredictionResponse, seconds: list[float], reasons: tuple[Reason, ...], **values: list[Any]
) -> None:
    response.seconds.extend(seconds)
    response.reasons.extend([reasons] * len(seconds))
    for name, column in response.columns.items():
        column.extend(values.get(name, [None] * len(seconds)))


def format_timestamps(seconds: Floats) -> list[str]:
    """Seconds since 1970 as ISO 8601 in UTC, without a fraction where there is none.

    >>> format_timestamps(np.array([1_767_225_600.0, 1_767_225_600.5]))
    ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.500000Z']
    """
    times = np.rint(seconds * 1e6).astype(np.int64).astype("datetime64[us]")
    return [f"{text.removesuffix('.000000')}Z" for text in np.datetime_as_string(times).tolist()]
