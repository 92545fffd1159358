"""Store of sensor readings: insert once per sensor and time, query by time range.

A time range includes its start and excludes its end; None is open. How a batch meets the stored readings is
decided in `training.data.merging`; models get their readings from `training.quality.windows`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Engine, Select, and_, case, func, literal, select

from training.data.merging import MergeResult, merge
from training.storage import bulk_insert
from training.storage.database import distinct_ids, reading, sensor_readings, writing

GOOD_QUALITY = 0  # the data_quality of a reading that may train and score
READING_COLUMNS = ("timestamp", "value", "data_quality")


@dataclass(frozen=True)
class ReadingStatistics:
    """Statistics of one sensor's readings; from `mean` on, of the good ones, NaN where there are none."""

    count: int
    good: int
    mean: float
    std: float
    low: float
    high: float


class ReadingStore:
    """The readings of all sensors in a database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def ingest(self, batch: pd.DataFrame, *, replace: bool = False) -> MergeResult:
        """Store a batch of readings: `sensor_id, timestamp, value` and optionally `data_quality`.

        In one transaction, each sensor and time once: of two values the first stays, or with `replace` the
        last. Rows are in the order in which they were sent.

        Raises:
            StoreError: the database is unreachable, locked or full; nothing of the batch is stored.
        """
        with writing(self.engine) as connection:
            return merge(connection, batch, replace=replace)

    def between(
        self,
        sensor_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        quality: int | None = None,
    ) -> pd.DataFrame:
        """One sensor's readings of a time range, oldest first: `timestamp, value, data_quality`."""
        query = _select(READING_COLUMNS).where(
            sensor_readings.c.sensor_id == sensor_id, *_time_conditions(start, end, quality)
        )
        return self._fetch(query.order_by(sensor_readings.c.timestamp))

    def latest(
        self,
        sensor_id: str,
        n: int = 1,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        quality: int | None = None,
    ) -> pd.DataFrame:
        """The newest `n` readings of one sensor in a time range, oldest first."""
        query = _select(READING_COLUMNS).where(
            sensor_readings.c.sensor_id == sensor_id, *_time_conditions(start, end, quality)
        )
        newest = self._fetch(query.order_by(sensor_readings.c.timestamp.desc()).limit(n))
        return newest.iloc[::-1].reset_index(drop=True)

    def many(
        self,
        sensor_ids: Collection[str],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        quality: int | None = None,
    ) -> pd.DataFrame:
        """Several sensors' readings by sensor and time: `sensor_id, timestamp, value, data_quality`."""
        query = _select(("sensor_id", *READING_COLUMNS)).where(
            sensor_readings.c.sensor_id.in_(list(sensor_ids)), *_time_conditions(start, end, quality)
        )
        return self._fetch(query.order_by(sensor_readings.c.sensor_id, sensor_readings.c.timestamp))

    def spans(self, sensor_ids: Collection[str] | None = None) -> pd.DataFrame:
        """The extent of each sensor's readings: `first, last, readings, good` by `sensor_id`."""
        columns = sensor_readings.c
        query = select(
            columns.sensor_id,
            func.min(columns.timestamp).label("first"),
            func.max(columns.timestamp).label("last"),
            func.count().label("readings"),
            func.sum(case((columns.data_quality == GOOD_QUALITY, 1), else_=0)).label("good"),
        )
        if sensor_ids is not None:
            query = query.where(columns.sensor_id.in_(list(sensor_ids)))
        return self._fetch(query.group_by(columns.sensor_id).order_by(columns.sensor_id)).set_index(
            "sensor_id"
        )

    def last_times(self) -> pd.Series:
        """The time of each sensor's newest reading by `sensor_id`; fast for any number of readings."""
        ids = distinct_ids(sensor_readings.c.sensor_id)
        newest = (
            select(func.max(sensor_readings.c.timestamp))
            .where(sensor_readings.c.sensor_id == ids.c.sensor_id)
            .scalar_subquery()
        )
        query = select(ids.c.sensor_id, newest.label("last")).where(ids.c.sensor_id.is_not(None))
        return self._fetch(query.order_by(ids.c.sensor_id)).set_index("sensor_id")["last"]

    def newest(self) -> pd.DataFrame:
        """Each sensor's newest reading: `timestamp, value, data_quality` by `sensor_id`; as fast."""
        columns = sensor_readings.c
        ids = distinct_ids(columns.sensor_id)
        last = (
            select(func.max(columns.timestamp))
            .where(columns.sensor_id == ids.c.sensor_id)
            .correlate(ids)
            .scalar_subquery()
        )
        query = (
            _select(("sensor_id", *READING_COLUMNS))
            .select_from(ids)
            .join(sensor_readings, and_(columns.sensor_id == ids.c.sensor_id, columns.timestamp == last))
        )
        return self._fetch(query.order_by(columns.sensor_id)).set_index("sensor_id")

    def sensors_with_good(self, count: int) -> set[str]:
        """The sensors with at least `count` good readings, without counting the rest."""
        columns = sensor_readings.c
        ids = distinct_ids(columns.sensor_id)
        last_needed = (
            select(literal(1))
            .where(columns.sensor_id == ids.c.sensor_id, columns.data_quality == GOOD_QUALITY)
            .offset(count - 1)
            .limit(1)
            .correlate(ids)
        )
        with reading(self.engine) as connection:
            return set(connection.scalars(select(ids.c.sensor_id).where(last_needed.exists())))

    def last_time(self, sensor_id: str) -> datetime | None:
        """The time of one sensor's newest reading; None where there is none."""
        newest = select(func.max(sensor_readings.c.timestamp)).where(sensor_readings.c.sensor_id == sensor_id)
        with reading(self.engine) as connection:
            return connection.execute(newest).scalar()

    def statistics(
        self, sensor_id: str, start: datetime | None = None, end: datetime | None = None
    ) -> ReadingStatistics:
        """Statistics of one sensor's readings, computed by the database."""
        columns = sensor_readings.c
        stretch = and_(columns.sensor_id == sensor_id, *_time_conditions(start, end, None))
        good = and_(stretch, columns.data_quality == GOOD_QUALITY)
        with reading(self.engine) as connection:
            count = connection.execute(select(func.count()).where(stretch)).scalar_one()
            good_count, mean, low, high = connection.execute(
                select(
                    func.count(), func.avg(columns.value), func.min(columns.value), func.max(columns.value)
                ).where(good)
            ).one()
            if not good_count:
                return ReadingStatistics(count, 0, *[float("nan")] * 4)
            # In two steps: the mean of squares minus the squared mean cancels at 38 MPa +- 1 Pa.
            deviation = columns.value - literal(mean)
            variance = connection.execute(select(func.avg(deviation * deviation)).where(good)).scalar_one()
        return ReadingStatistics(count, good_count, mean, float(np.sqrt(variance)), low, high)

    def _fetch(self, query: Select[Any]) -> pd.DataFrame:
        with reading(self.engine) as connection:
            return bulk_insert.fetch(connection, query)


def _select(names: Sequence[str]) -> Select[Any]:
    return select(*(sensor_readings.c[name] for name in names))


def _time_conditions(
    start: datetime | None, end: datetime | None, quality: int | None
) -> Iterator[ColumnElement[bool]]:
    columns = sensor_readings.c
    if start is not None:
        yield columns.timestamp >= start
    if end is not None:
        yield columns.timestamp < end
    if quality is not None:
        yield columns.data_quality == quality
