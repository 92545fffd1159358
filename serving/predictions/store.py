"""Store of predictions: scores of readings and forecasts, once per reading and model version.

Contains the SQL on `ml_predictions`; frames are converted to rows by `rows`. A range from `start` to `end`
includes `start` and excludes `end`.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import pandas as pd
from sqlalchemy import (
    CTE,
    ColumnElement,
    Engine,
    ScalarSelect,
    Select,
    and_,
    case,
    delete,
    func,
    select,
    text,
)

from serving.predictions.rows import to_frame, to_rows
from serving.predictions.upsert import upsert
from training.kinds import Kind
from training.storage import bulk_insert
from training.storage.database import distinct_ids, ml_predictions, reading, writing

PREDICTION_COLUMNS = ml_predictions.c
SCORE_COLUMNS = ("timestamp", "value", "anomaly_score", "is_anomaly", "threshold")
ROW_BATCH = 10_000


class PredictionStore:
    """The predictions of all sensors, in the database of their readings.

    Returned frames have the columns of the table, with times in naive UTC.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def save_scores(self, scores: pd.DataFrame, *, made_at: datetime) -> int:
        """Store scored readings: `sensor_id, timestamp` and any other columns of the table.

        Returns the number of new and changed rows: storing the same scores again changes nothing.

        Raises:
            DataError: a row has no sensor or time, or a column is unknown.
            StoreError: the database is unreachable, locked or full; then nothing was stored.
        """
        return self._save(scores, Kind.DETECTOR, made_at)

    def save_forecasts(self, forecasts: pd.DataFrame, *, made_at: datetime) -> int:
        """Store forecasts: `sensor_id, timestamp, origin` (the newest reading used) and any other columns.

        The forecasters' column names `timestamps` and `forecasted_values` are accepted. Otherwise as
        `save_scores`.
        """
        return self._save(forecasts, Kind.FORECASTER, made_at)

    def by_sensor(
        self, sensor_id: str, model_type: str | None = None, limit: int | None = 100
    ) -> pd.DataFrame:
        """One sensor's predictions, newest first."""
        return self._newest(limit, PREDICTION_COLUMNS.sensor_id == sensor_id, *_type_conditions(model_type))

    def between(
        self,
        sensor_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        model_type: str | None = None,
    ) -> pd.DataFrame:
        """One sensor's predictions in a time range, oldest first."""
        query = select(ml_predictions).where(
            PREDICTION_COLUMNS.sensor_id == sensor_id, *_type_conditions(model_type)
        )
        if start is not None:
            query = query.where(PREDICTION_COLUMNS.timestamp >= start)
        if end is not None:
            query = query.where(PREDICTION_COLUMNS.timestamp < end)
        return self._fetch(
            query.order_by(
                PREDICTION_COLUMNS.timestamp, PREDICTION_COLUMNS.origin, PREDICTION_COLUMNS.made_at
            )
        )

    def scores(self, sensor_id: str, start: datetime, end: datetime | None = None) -> pd.DataFrame:
        """One sensor's scored readings in order of time, with the last score of each; fast over years.

        Columns: `timestamp, value, anomaly_score, is_anomaly, threshold`.
        """
        anomaly_flag = case((PREDICTION_COLUMNS.is_anomaly, 1), else_=0).label("is_anomaly")
        columns = [
            anomaly_flag if name == "is_anomaly" else PREDICTION_COLUMNS[name] for name in SCORE_COLUMNS
        ]
        query = select(*columns, PREDICTION_COLUMNS.made_at).where(
            PREDICTION_COLUMNS.sensor_id == sensor_id,
            PREDICTION_COLUMNS.model_type == Kind.DETECTOR.model_type,
            PREDICTION_COLUMNS.timestamp >= start,
            *([] if end is None else [PREDICTION_COLUMNS.timestamp < end]),
        )
        with reading(self.engine) as connection:
            result = bulk_insert.fetch(
                connection, query.order_by(PREDICTION_COLUMNS.timestamp, PREDICTION_COLUMNS.made_at)
            )
        last = result.drop_duplicates("timestamp", keep="last")[list(SCORE_COLUMNS)].reset_index(drop=True)
        return last.astype({"is_anomaly": bool})

    def recent(self, since: datetime, *, limit: int | None = None) -> pd.DataFrame:
        """All sensors' predictions for times from `since` on, newest first."""
        return self._newest(limit, PREDICTION_COLUMNS.timestamp >= since)

    def anomalies(
        self, since: datetime | None = None, sensor_id: str | None = None, *, limit: int | None = None
    ) -> pd.DataFrame:
        """The anomalous readings, newest first."""
        # Exactly the condition of the partial index: SQLite uses the index for no other text.
        conditions: list[ColumnElement[bool]] = [text("is_anomaly")]  # type: ignore[list-item]
        if since is not None:
            conditions.append(PREDICTION_COLUMNS.timestamp >= since)
        if sensor_id is not None:
            conditions.append(PREDICTION_COLUMNS.sensor_id == sensor_id)
        return self._newest(limit, *conditions)

    def statistics(self, sensor_id: str | None = None) -> pd.DataFrame:
        """By sensor and model type: `predictions, anomalies, mean_score, max_score, first, last, made_at`."""
        query = select(
            PREDICTION_COLUMNS.sensor_id,
            PREDICTION_COLUMNS.model_type,
            func.count().label("predictions"),
            func.sum(case((PREDICTION_COLUMNS.is_anomaly, 1), else_=0)).label("anomalies"),
            func.avg(PREDICTION_COLUMNS.anomaly_score).label("mean_score"),
            func.max(PREDICTION_COLUMNS.anomaly_score).label("max_score"),
            func.min(PREDICTION_COLUMNS.timestamp).label("first"),
            func.max(PREDICTION_COLUMNS.timestamp).label("last"),
            func.max(PREDICTION_COLUMNS.made_at).label("made_at"),
        ).group_by(PREDICTION_COLUMNS.sensor_id, PREDICTION_COLUMNS.model_type)
        if sensor_id is not None:
            query = query.where(PREDICTION_COLUMNS.sensor_id == sensor_id)
        with reading(self.engine) as connection:
            rows = connection.execute(
                query.order_by(PREDICTION_COLUMNS.sensor_id, PREDICTION_COLUMNS.model_type)
            ).all()
        frame = pd.DataFrame([tuple(row) for row in rows], columns=list(query.selected_columns.keys()))
        times = dict.fromkeys(("first", "last", "made_at"), "datetime64[us]")
        counts = dict.fromkeys(("predictions", "anomalies"), "int64")
        return frame.astype(times | counts | dict.fromkeys(("mean_score", "max_score"), "float64"))

    def without_score(self, sensor_id: str, times: pd.Series, *, trained_until: datetime) -> pd.Series:
        """The times of one sensor (sorted) that have no score.

        Times before its first score and up to `trained_until` (naive UTC) need none.
        """
        detector = (
            PREDICTION_COLUMNS.sensor_id == sensor_id,
            PREDICTION_COLUMNS.model_type == Kind.DETECTOR.model_type,
        )
        from_here = (*detector, PREDICTION_COLUMNS.timestamp >= times.iloc[0].to_pydatetime())
        with reading(self.engine) as connection:
            first = connection.execute(
                select(func.min(PREDICTION_COLUMNS.timestamp)).where(*detector)
            ).scalar()
            scored = (
                connection.execute(select(PREDICTION_COLUMNS.timestamp).where(*from_here)).scalars().all()
            )
        needed = times > trained_until if first is None else (times > trained_until) | (times >= first)
        return times[needed & ~times.isin(scored)]

    def last_scored(self) -> dict[str, datetime]:
        """The time of each sensor's newest scored reading, by index seeks."""
        ids = distinct_ids(PREDICTION_COLUMNS.sensor_id)
        with reading(self.engine) as connection:
            rows = connection.execute(select(ids.c.sensor_id, _newest_score(ids))).all()
        return {sensor_id: last for sensor_id, last in rows if last is not None}

    def newest_scores(self) -> pd.DataFrame:
        """The last score of each sensor's newest scored reading, by one query; a row per sensor."""
        ids = distinct_ids(PREDICTION_COLUMNS.sensor_id)
        scored = and_(
            PREDICTION_COLUMNS.sensor_id == ids.c.sensor_id,
            PREDICTION_COLUMNS.model_type == Kind.DETECTOR.model_type,
            PREDICTION_COLUMNS.timestamp == _newest_score(ids),
        )
        result = self._fetch(select(ml_predictions).select_from(ids).join(ml_predictions, scored))
        return result.sort_values(["sensor_id", "made_at"]).drop_duplicates("sensor_id", keep="last")

    def delete_before(self, time: datetime) -> int:
        """Delete the predictions for times before a time; returns their number."""
        with writing(self.engine) as connection:
            return connection.execute(
                delete(ml_predictions).where(PREDICTION_COLUMNS.timestamp < time)
            ).rowcount

    def _save(self, frame: pd.DataFrame, kind: Kind, made_at: datetime) -> int:
        if frame.empty:
            return 0
        rows, changed = to_rows(frame, kind, made_at), 0
        with writing(self.engine) as connection:
            while batch := list(islice(rows, ROW_BATCH)):
                changed += upsert(connection, batch)
        return changed

    def _newest(self, limit: int | None, *conditions: ColumnElement[bool]) -> pd.DataFrame:
        order = (
            PREDICTION_COLUMNS.timestamp.desc(),
            PREDICTION_COLUMNS.sensor_id,
            PREDICTION_COLUMNS.model_type,
            PREDICTION_COLUMNS.origin.desc(),
            PREDICTION_COLUMNS.made_at.desc(),
        )
        return self._fetch(select(ml_predictions).where(*conditions).order_by(*order).limit(limit))

    def _fetch(self, query: Select[Any]) -> pd.DataFrame:
        with reading(self.engine) as connection:
            return to_frame(connection.execute(query).all())


def _type_conditions(model_type: str | None) -> Iterator[ColumnElement[bool]]:
    if model_type is not None:
        yield PREDICTION_COLUMNS.model_type == model_type


def _newest_score(ids: CTE) -> ScalarSelect[Any]:
    newest = select(func.max(PREDICTION_COLUMNS.timestamp)).where(
        PREDICTION_COLUMNS.sensor_id == ids.c.sensor_id,
        PREDICTION_COLUMNS.model_type == Kind.DETECTOR.model_type,
    )
    return newest.correlate(ids).scalar_subquery()
