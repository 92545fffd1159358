"""Cache of each sensor's newest readings: the history that a score uses and a forecast starts from.

One query per request finds the sensors with newer readings. A late reading, older than the newest one, is
seen when a poller reads the sensor again, once a minute. While the store is unreachable, the readings in
memory are used and the answer has a note. Scores and forecasts are made in `serving.scoring`.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from pydantic import Field
from sqlalchemy import Connection, Engine, TableValuedAlias, cast, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import PoolProxiedConnection

from training.common.arrays import Floats
from training.common.times import epoch_seconds, to_times
from training.data.readings import GOOD_QUALITY, ReadingStore
from training.errors import DataError
from training.settings import Settings
from training.storage.database import reading, sensor_readings
from training.storage.store_errors import store_errors

log = logging.getLogger("safeplan.serving")

T = TypeVar("T")

INTEREST_SECONDS = 600.0  # after the last request for a sensor, for which its readings are kept up to date
RELOAD_PAUSE_SECONDS = 0.005  # between two sensors that are read again: requests go first
MAX_READINGS_BETWEEN = 100_000  # stored readings between the first and the last posted one of a sensor
MAX_BATCH_SPREAD = timedelta(days=1)  # sensors whose newest times differ by less are updated by one query


class RecentSettings(Settings, file="serving", section="readings"):
    """The endpoint's cache of readings."""

    context: int = Field(4096, ge=64, description="newest good readings of a sensor in memory")
    sensors: int = Field(2_000, ge=1, description="sensors whose readings stay in memory")
    again_after: float = Field(60.0, gt=0, description="seconds until a sensor's readings are read again")
    patience: float = Field(2.0, gt=0, description="seconds a request waits for the database")
    retry_after: float = Field(
        3.0, gt=0, description="seconds before an unreachable database is queried again"
    )


class Tail(NamedTuple):
    """One sensor's newest good readings, times in seconds since 1970; `whole` where there are no older ones.

    A tuple, because it is created in a third of a dataclass's time, several times per sensor of a request.
    """

    seconds: Floats
    values: Floats
    whole: bool = True

    def before(self, time: float) -> "Tail":
        """The readings before a time."""
        end = int(np.searchsorted(self.seconds, time))
        return self if end == len(self.seconds) else Tail(self.seconds[:end], self.values[:end], self.whole)

    def part(self, first: int, last: int) -> "Tail":
        """The readings from one position up to another, exclusive."""
        return Tail(self.seconds[first:last], self.values[first:last], whole=False)

    def merged(self, seconds: Floats, values: Floats) -> "Tail":
        """With further readings, which replace those of the same time."""
        if not len(seconds):
            return self
        if not len(self.seconds) or seconds[0] > self.seconds[-1]:
            return Tail(
                np.concatenate([self.seconds, seconds]), np.concatenate([self.values, values]), self.whole
            )
        unreplaced = ~np.isin(self.seconds, seconds)
        combined = np.concatenate([self.seconds[unreplaced], seconds])
        order = np.argsort(combined, kind="stable")
        return Tail(combined[order], np.concatenate([self.values[unreplaced], values])[order], self.whole)

    def newest(self, readings: int) -> "Tail":
        """The newest readings, at most this many."""
        if len(self.seconds) <= readings:
            return self
        return Tail(self.seconds[-readings:], self.values[-readings:], whole=False)

    @property
    def series(self) -> pd.Series:
        """Values by time."""
        return pd.Series(self.values, index=to_times(self.seconds))


EMPTY_TAIL = Tail(np.empty(0), np.empty(0))


@dataclass(frozen=True)
class TailLookup:
    """The tails of some sensors, and whether the store could be reached."""

    tails: Mapping[str, Tail]
    reached: bool


@dataclass(frozen=True)
class CachedTail:
    """A tail in memory, the newest time of any quality in the store, and when it was read (monotonic)."""

    tail: Tail
    newest: datetime | None
    read_at: float


class RecentReadings:
    """The tails of all requested sensors; safe for several threads."""

    def __init__(self, store: Callable[[], ReadingStore], settings: RecentSettings | None = None) -> None:
        self.open_store = store  # called in own threads only: the database may be unreachable at the start
        self.settings = settings or RecentSettings()
        self.unreachable_reason: str | None = None  # the error while the store cannot be reached
        self._cache: dict[str, CachedTail] = {}
        self._requested_at: dict[str, float] = {}  # monotonic time of each sensor's last request
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="readings")
        self._hanging_query: Future[Any] | None = None
        self._write_counter = WriteCounter()
        self._fresh_sensors: set[str] = set()  # sensors updated since the last write to the database
        self._fresh_write_count: int | None = None  # the write count at which they were updated
        self._away_until = 0.0
        self._progress = 0.0

    def get_tails(self, sensor_ids: Sequence[str]) -> TailLookup:
        """The tails of these sensors, updated where the store has newer readings and can be reached."""
        reached = self._query(self._refresh, sensor_ids) is not None
        with self._lock:
            self._requested_at.update(dict.fromkeys(sensor_ids, time.monotonic()))
        cache = self._cache
        return TailLookup({name: cache[name].tail for name in sensor_ids if name in cache}, reached)

    def read_older(self, sensor_id: str, start: float, end: float) -> Tail | None:
        """Readings older than those in memory: up to `end`, with the context before `start`.

        None where the store cannot be reached.

        Raises:
            DataError: there are too many between `start` and `end`.
        """
        tail = self._query(self._read_older, sensor_id, start, end)
        if tail is not None and len(tail.seconds) > self.settings.context + MAX_READINGS_BETWEEN:
            raise DataError(
                f"more than {MAX_READINGS_BETWEEN:,} readings are stored between the first and the last "
                "posted one. Send requests over shorter periods."
            )
        return tail

    def reread_stale(self) -> None:
        """Read tails again that are older than `again_after` and still requested, sensor by sensor.

        Raises:
            StoreError: the store cannot be reached; the next poll continues.
        """
        now = time.monotonic()
        with self._lock:
            self._requested_at = {
                name: at for name, at in self._requested_at.items() if now - at < INTEREST_SECONDS
            }
            cached = {name: self._cache[name] for name in self._requested_at if name in self._cache}
        stale = [name for name, tail in cached.items() if now - tail.read_at > self.settings.again_after]
        if not stale or now < self._away_until:
            return
        store = self.open_store()
        for name in stale:
            newest = newest_times(store.engine, [name])
            self._reload(store, name, newest.get(name), time.monotonic())
            time.sleep(RELOAD_PAUSE_SECONDS)

    def close(self) -> None:
        """Stop querying."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._write_counter.close()

    def _query(self, query: Callable[..., T], *arguments: Any) -> T | None:
        """The result of a query, or None where the store cannot be reached within `patience`."""
        hangs = self._hanging_query is not None and not self._hanging_query.done()
        if hangs or time.monotonic() < self._away_until:
            return None
        self._progress = time.monotonic()
        future = self._executor.submit(query, *arguments)
        try:
            answer = self._wait_for_result(future)
        # Drivers raise errors of their own too: whatever the cause, requests are answered from memory.
        except Exception as error:  # noqa: BLE001
            self._hanging_query = future
            self._record_unreachable(error)
            return None
        if self.unreachable_reason is not None:
            log.info("the readings store is reachable again")
            self.unreachable_reason = None
        return answer

    def _wait_for_result(self, future: "Future[T]") -> T:
        while True:
            try:
                return future.result(self.settings.patience)
            except TooSlow:
                # Many sensors take longer; a database that makes progress is reachable.
                if future.done() or time.monotonic() - self._progress > self.settings.patience:
                    raise

    def _record_unreachable(self, error: Exception) -> None:
        message = str(error) or f"no answer within {self.settings.patience:g} s"
        if self.unreachable_reason is None:
            log.warning("the readings store is unreachable: %s", message)
        self.unreachable_reason, self._away_until = message, time.monotonic() + self.settings.retry_after

    def _refresh(self, sensor_ids: Sequence[str]) -> bool:
        store, now = self.open_store(), time.monotonic()
        write_count = self._write_counter.count(store.engine)
        if (
            write_count is not None
            and write_count == self._fresh_write_count
            and self._fresh_sensors & self._cache.keys() >= set(sensor_ids)
        ):
            return True
        newest = newest_times(store.engine, sensor_ids)
        outdated: dict[str, CachedTail] = {}
        for name in sensor_ids:
            cached, last = self._cache.get(name), newest.get(name)
            # Recently requested sensors are read again by `reread_stale`.
            if cached is None or _was_truncated(cached, last) or now - cached.read_at > INTEREST_SECONDS:
                self._reload(store, name, last, now)
            elif cached.newest != last:
                outdated[name] = cached
        self._read_new(store, outdated, newest)
        with self._lock:
            if write_count != self._fresh_write_count:
                self._fresh_sensors, self._fresh_write_count = set(), write_count
            self._fresh_sensors = self._fresh_sensors | {name for name in sensor_ids if name in self._cache}
        return True

    def _reload(self, store: ReadingStore, sensor_id: str, newest: datetime | None, now: float) -> None:
        context = self.settings.context
        frame = store.latest(sensor_id, context, quality=GOOD_QUALITY) if newest else None
        if frame is None and sensor_id not in self._cache:
            return  # an unknown name must not stay in memory
        tail = EMPTY_TAIL if frame is None else to_tail(frame, whole=len(frame) < context)
        with self._lock:
            while len(self._cache) >= self.settings.sensors and sensor_id not in self._cache:
                self._cache.pop(next(iter(self._cache)))
            self._cache[sensor_id] = CachedTail(tail, newest, now)
        self._progress = time.monotonic()

    def _read_new(
        self, store: ReadingStore, outdated: Mapping[str, CachedTail], newest: Mapping[str, datetime]
    ) -> None:
        """Read newer readings by one query; a sensor far behind the others gets a query of its own."""
        if not outdated:
            return
        since = {name: cached.newest for name, cached in outdated.items() if cached.newest}
        latest = max(since.values())
        batched = [name for name, start in since.items() if latest - start < MAX_BATCH_SPREAD]
        frames = store.many(batched, min(since[name] for name in batched), quality=GOOD_QUALITY)
        parts = dict(tuple(frames.groupby("sensor_id", sort=False)))
        for name, cached in outdated.items():
            if name not in batched:
                frame = store.between(name, since[name], quality=GOOD_QUALITY)
            else:
                frame = parts.get(name, frames.iloc[:0])
            added = to_tail(frame, whole=False)
            tail = cached.tail.merged(added.seconds, added.values).newest(self.settings.context)
            with self._lock:
                self._cache[name] = CachedTail(tail, newest[name], cached.read_at)
            self._progress = time.monotonic()

    def _read_older(self, sensor_id: str, start: float, end: float) -> Tail:
        store = self.open_store()
        first, last = (to_times(np.array([seconds]))[0].to_pydatetime() for seconds in (start, end))
        earlier = to_tail(
            store.latest(sensor_id, self.settings.context, end=first, quality=GOOD_QUALITY), whole=True
        )
        limit = self.settings.context + MAX_READINGS_BETWEEN + 1
        later = store.latest(sensor_id, limit, start=first, end=last, quality=GOOD_QUALITY)
        after = to_tail(later, whole=True)
        return earlier.merged(after.seconds, after.values)


class WriteCounter:
    """Detects writes to an SQLite file through a reading connection; other databases offer no such count.

    Querying the newest times of 500 sensors takes 3 ms; this avoids it where nothing was written.
    """

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._connection: PoolProxiedConnection | None = None
        self._lock = threading.Lock()

    def count(self, engine: Engine) -> int | None:
        """A number that changes with every write; None for databases other than SQLite."""
        if engine.dialect.name != "sqlite":
            return None
        with self._lock, store_errors(engine.url):
            if self._connection is None or self._engine is not engine:
                self._engine, self._connection = engine, engine.raw_connection()
            cursor = self._connection.cursor()
            try:
                cursor.execute("PRAGMA data_version")
                (count,) = cursor.fetchone() or (None,)
            finally:
                cursor.close()
        return count

    def close(self) -> None:
        """Return the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._engine = self._connection = None


def newest_times(engine: Engine, sensor_ids: Sequence[str]) -> dict[str, datetime]:
    """The time of each sensor's newest reading of any quality, by one query of index seeks."""
    columns = sensor_readings.c
    with reading(engine) as connection:
        if len(sensor_ids) == 1:
            query = select(func.max(columns.timestamp)).where(columns.sensor_id == sensor_ids[0])
            rows = [(sensor_ids[0], connection.execute(query).scalar())]
        else:
            requested = _text_table(connection, sensor_ids)
            newest = (
                select(func.max(columns.timestamp))
                .where(columns.sensor_id == requested.c.value)
                .scalar_subquery()
            )
            rows = [(row[0], row[1]) for row in connection.execute(select(requested.c.value, newest))]
    return {sensor_id: last for sensor_id, last in rows if last is not None}


def _text_table(connection: Connection, texts: Sequence[str]) -> TableValuedAlias:
    """Texts as a table, passed as one parameter."""
    if connection.dialect.name == "postgresql":
        return func.json_array_elements_text(cast(json.dumps(texts), postgresql.JSON)).table_valued("value")
    return func.json_each(json.dumps(texts)).table_valued("value")


def to_tail(frame: pd.DataFrame, *, whole: bool) -> Tail:
    """A frame of readings as a tail."""
    return Tail(epoch_seconds(frame["timestamp"]), frame["value"].to_numpy(np.float64), whole)


def _was_truncated(cached: CachedTail, newest: datetime | None) -> bool:
    """Whether readings were deleted, or there were none: the tail must be read again."""
    return cached.newest != newest and (cached.newest is None or newest is None or newest < cached.newest)
