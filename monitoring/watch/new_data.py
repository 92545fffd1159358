"""Load the new data of each sensor: readings, scores, forecasts and drift checks since the last watch.

Holds the SQL, for many sensors per query. Returns nothing later than `now`, so that past data can be watched
as if it were live. The data is evaluated in the `*_conditions` modules.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select

from monitoring.alerts.kinds import AlertType
from monitoring.drift.store import DriftCheck, DriftCheckStore
from monitoring.watch.anomaly_conditions import ScoredReading
from monitoring.watch.forecast_conditions import StoredForecast
from monitoring.watch.measurements import Reading
from training.data.readings import GOOD_QUALITY
from training.kinds import Kind
from training.reasons import load_reasons
from training.storage.database import ml_predictions, reading, sensor_readings
from training.workspace import Workspace

MAX_BATCH_SPAN = timedelta(days=1)  # start times in one query differ by at most this
QUERY_BATCH = 2_000
PREDICTION_COLUMNS, READING_COLUMNS = ml_predictions.c, sensor_readings.c

StartTimes = Mapping[str, datetime]  # by sensor: data after this time is new


@dataclass
class NewData:
    """The new data of one sensor, in order of time."""

    readings: list[Reading] = field(default_factory=list)
    scored: list[ScoredReading] = field(default_factory=list)
    forecasts: list[StoredForecast] = field(default_factory=list)
    checks: list[DriftCheck] = field(default_factory=list)


def load_new_data(
    workspace: Workspace, start_times: Mapping[AlertType, StartTimes], *, now: datetime
) -> dict[str, NewData]:
    """The new data of each sensor; start times by the type of alert the data may lead to."""
    new_data: dict[str, NewData] = defaultdict(NewData)
    with reading(workspace.engine) as connection:
        for sensor_id, new_reading in _load_readings(connection, start_times[AlertType.INSTRUMENT], now):
            new_data[sensor_id].readings.append(new_reading)
        for sensor_id, scored in _load_scores(connection, start_times[AlertType.ANOMALY], now):
            new_data[sensor_id].scored.append(scored)
        for sensor_id, new_forecast in _load_forecasts(
            connection, start_times[AlertType.FORECAST_WARNING], now
        ):
            new_data[sensor_id].forecasts.append(new_forecast)
    since = start_times[AlertType.DRIFT]
    if since:
        for check in reversed(DriftCheckStore(workspace.engine).history(since=min(since.values()))):
            if check.sensor_id in since and since[check.sensor_id] < check.checked_at <= now:
                new_data[check.sensor_id].checks.append(check)
    return new_data


def _load_readings(
    connection: Connection, start_times: StartTimes, now: datetime
) -> Iterator[tuple[str, Reading]]:
    for sensor_ids, earliest in _batches(start_times):
        query = select(
            READING_COLUMNS.sensor_id,
            READING_COLUMNS.timestamp,
            READING_COLUMNS.value,
            READING_COLUMNS.data_quality,
        ).where(
            READING_COLUMNS.sensor_id.in_(sensor_ids),
            READING_COLUMNS.timestamp > earliest,
            READING_COLUMNS.timestamp <= now,
        )
        for sensor_id, at, value, quality in connection.execute(
            query.order_by(READING_COLUMNS.sensor_id, READING_COLUMNS.timestamp)
        ):
            if at > start_times[sensor_id]:
                yield sensor_id, Reading(at, value, quality == GOOD_QUALITY)


def _load_scores(
    connection: Connection, start_times: StartTimes, now: datetime
) -> Iterator[tuple[str, ScoredReading]]:
    for sensor_ids, earliest in _batches(start_times):
        query = select(ml_predictions).where(
            *_model_filter(Kind.DETECTOR, sensor_ids), PREDICTION_COLUMNS.timestamp > earliest
        )
        query = query.where(
            PREDICTION_COLUMNS.timestamp <= now, PREDICTION_COLUMNS.anomaly_score.is_not(None)
        )
        rows = connection.execute(
            query.order_by(
                PREDICTION_COLUMNS.sensor_id, PREDICTION_COLUMNS.timestamp, PREDICTION_COLUMNS.made_at
            )
        )
        for (sensor_id, at), versions in groupby(rows, key=lambda row: (row.sensor_id, row.timestamp)):
            if at > start_times[sensor_id]:
                yield sensor_id, _to_scored_reading(list(versions)[-1])


def _load_forecasts(
    connection: Connection, start_times: StartTimes, now: datetime
) -> Iterator[tuple[str, StoredForecast]]:
    for sensor_ids, earliest in _batches(start_times):
        seen = and_(
            READING_COLUMNS.sensor_id == PREDICTION_COLUMNS.sensor_id,
            READING_COLUMNS.timestamp == PREDICTION_COLUMNS.origin,
        )
        query = (
            select(ml_predictions, READING_COLUMNS.value.label("newest"))
            .outerjoin(sensor_readings, seen)
            .where(
                *_model_filter(Kind.FORECASTER, sensor_ids),
                PREDICTION_COLUMNS.timestamp > earliest,
                PREDICTION_COLUMNS.origin > earliest,
            )
            .where(PREDICTION_COLUMNS.origin <= now)
        )
        rows = connection.execute(
            query.order_by(
                PREDICTION_COLUMNS.sensor_id,
                PREDICTION_COLUMNS.origin,
                PREDICTION_COLUMNS.model_version,
                PREDICTION_COLUMNS.timestamp,
            )
        )
        for (sensor_id, origin), steps in groupby(rows, key=lambda row: (row.sensor_id, row.origin)):
            if origin > start_times[sensor_id]:
                yield sensor_id, _to_forecast(list(steps))


def _model_filter(kind: Kind, sensor_ids: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    return PREDICTION_COLUMNS.sensor_id.in_(sensor_ids), PREDICTION_COLUMNS.model_type == kind.model_type


def _to_scored_reading(row: Row[Any]) -> ScoredReading:
    return ScoredReading(
        at=row.timestamp,
        value=row.value,
        score=row.anomaly_score,
        threshold=row.threshold or 0.0,
        normal=row.historical_average,
        deviation=row.historical_std,
        reason=row.reason or "",
        model_version=row.model_version,
        reasons=load_reasons(row.reason_data),
    )


def _to_forecast(rows: Sequence[Row[Any]]) -> StoredForecast:
    """Of several versions that forecast from one origin, the one that did so last."""
    last = max(rows, key=lambda row: (row.made_at, row.model_version)).model_version
    steps = [row for row in rows if row.model_version == last]
    return StoredForecast(
        origin=steps[0].origin,
        value=steps[0].newest,
        times=[row.timestamp for row in steps],
        expected=[row.predicted_value for row in steps],
        lower=[row.lower_bound for row in steps],
        upper=[row.upper_bound for row in steps],
        model_version=last,
    )


def _batches(start_times: StartTimes) -> Iterator[tuple[list[str], datetime]]:
    """Sensors with similar start times, and the earliest of these times."""
    ordered = sorted(start_times, key=lambda sensor_id: (start_times[sensor_id], sensor_id))
    batch: list[str] = []
    for sensor_id in ordered:
        if batch and (
            start_times[sensor_id] - start_times[batch[0]] > MAX_BATCH_SPAN or len(batch) >= QUERY_BATCH
        ):
            yield batch, start_times[batch[0]]
            batch = []
        batch.append(sensor_id)
    if batch:
        yield batch, start_times[batch[0]]
