"""What came in since each sensor was last looked at: readings, scores, forecasts and drift checks.

Knows SQL and how to ask for many sensors at once. Nothing later than `now` is seen, so that the past can be
told as if it were live. What it means is told in the `signs_of_*` modules.
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
from monitoring.watch.anomaly_conditions import Scored
from monitoring.watch.forecast_conditions import Foreseen
from monitoring.watch.instrument_conditions import Reading
from training.data.readings import GOOD_QUALITY
from training.kinds import Kind
from training.storage.database import ml_predictions, reading, sensor_readings
from training.workspace import Workspace

TOGETHER = timedelta(days=1)  # sensors that are that near each other are asked for by one query
AT_ONCE = 2_000
SAID, READ = ml_predictions.c, sensor_readings.c

Begins = Mapping[str, datetime]  # by sensor: what is later is new


@dataclass
class News:
    """What is new of one sensor, in order of time."""

    readings: list[Reading] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    forecasts: list[Foreseen] = field(default_factory=list)
    checks: list[DriftCheck] = field(default_factory=list)


def look(workspace: Workspace, begins: Mapping[AlertType, Begins], *, now: datetime) -> dict[str, News]:
    """What is new of each sensor, by the type of alert that it may lead to."""
    news: dict[str, News] = defaultdict(News)
    with reading(workspace.engine) as connection:
        for sensor_id, found in _readings(connection, begins[AlertType.INSTRUMENT], now):
            news[sensor_id].readings.append(found)
        for sensor_id, scored in _scores(connection, begins[AlertType.ANOMALY], now):
            news[sensor_id].scored.append(scored)
        for sensor_id, foreseen in _forecasts(connection, begins[AlertType.FORECAST_WARNING], now):
            news[sensor_id].forecasts.append(foreseen)
    since = begins[AlertType.DRIFT]
    if since:
        for check in reversed(DriftCheckStore(workspace.engine).history(since=min(since.values()))):
            if check.sensor_id in since and since[check.sensor_id] < check.checked_at <= now:
                news[check.sensor_id].checks.append(check)
    return news


def _readings(connection: Connection, begins: Begins, now: datetime) -> Iterator[tuple[str, Reading]]:
    for some, begin in _together(begins):
        query = select(READ.sensor_id, READ.timestamp, READ.value, READ.data_quality).where(
            READ.sensor_id.in_(some), READ.timestamp > begin, READ.timestamp <= now
        )
        for sensor_id, at, value, quality in connection.execute(
            query.order_by(READ.sensor_id, READ.timestamp)
        ):
            if at > begins[sensor_id]:
                yield sensor_id, Reading(at, value, quality == GOOD_QUALITY)


def _scores(connection: Connection, begins: Begins, now: datetime) -> Iterator[tuple[str, Scored]]:
    for some, begin in _together(begins):
        query = select(ml_predictions).where(*_of(Kind.DETECTOR, some), SAID.timestamp > begin)
        query = query.where(SAID.timestamp <= now, SAID.anomaly_score.is_not(None))
        rows = connection.execute(query.order_by(SAID.sensor_id, SAID.timestamp, SAID.made_at))
        for (sensor_id, at), versions in groupby(rows, key=lambda row: (row.sensor_id, row.timestamp)):
            if at > begins[sensor_id]:
                yield sensor_id, _scored(list(versions)[-1])


def _forecasts(connection: Connection, begins: Begins, now: datetime) -> Iterator[tuple[str, Foreseen]]:
    for some, begin in _together(begins):
        seen = and_(READ.sensor_id == SAID.sensor_id, READ.timestamp == SAID.origin)
        query = (
            select(ml_predictions, READ.value.label("newest"))
            .outerjoin(sensor_readings, seen)
            .where(*_of(Kind.FORECASTER, some), SAID.timestamp > begin, SAID.origin > begin)
            .where(SAID.origin <= now)
        )
        rows = connection.execute(
            query.order_by(SAID.sensor_id, SAID.origin, SAID.model_version, SAID.timestamp)
        )
        for (sensor_id, origin), steps in groupby(rows, key=lambda row: (row.sensor_id, row.origin)):
            if origin > begins[sensor_id]:
                yield sensor_id, _foreseen(list(steps))


def _of(kind: Kind, sensor_ids: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    return SAID.sensor_id.in_(sensor_ids), SAID.model_type == kind.model_type


def _scored(row: Row[Any]) -> Scored:
    return Scored(
        at=row.timestamp,
        value=row.value,
        score=row.anomaly_score,
        threshold=row.threshold or 0.0,
        usual=row.historical_average,
        reason=row.reason or "",
        model_version=row.model_version,
    )


def _foreseen(rows: Sequence[Row[Any]]) -> Foreseen:
    """Of several versions that forecast from one origin, the one that spoke last."""
    last = max(rows, key=lambda row: (row.made_at, row.model_version)).model_version
    steps = [row for row in rows if row.model_version == last]
    return Foreseen(
        origin=steps[0].origin,
        value=steps[0].newest,
        times=[row.timestamp for row in steps],
        expected=[row.predicted_value for row in steps],
        lower=[row.lower_bound for row in steps],
        upper=[row.upper_bound for row in steps],
        model_version=last,
    )


def _together(begins: Begins) -> Iterator[tuple[list[str], datetime]]:
    """Sensors that were last looked at about the same time, and the earliest of those times."""
    ordered = sorted(begins, key=lambda sensor_id: (begins[sensor_id], sensor_id))
    some: list[str] = []
    for sensor_id in ordered:
        if some and (begins[sensor_id] - begins[some[0]] > TOGETHER or len(some) >= AT_ONCE):
            yield some, begins[some[0]]
            some = []
        some.append(sensor_id)
    if some:
        yield some, begins[some[0]]
