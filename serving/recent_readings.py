"""The newest readings of each sensor, close at hand: what a score looks back on and a forecast starts from.

Knows the readings store and what to do while it is away: go on with what is in memory, and say so. At most
one query a request asks which sensors have newer readings; a reading that arrives late, behind newer ones, is
seen when a sensor's readings are read anew, once a minute, not while a request waits.
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
from training.common.times import to_times
from training.data.readings import GOOD_QUALITY, ReadingStore
from training.errors import DataError
from training.settings import Settings
from training.storage.database import reading, sensor_readings
from training.storage.store_errors import store_errors

log = logging.getLogger("safeplan.serving")

T = TypeVar("T")

INTEREST_SECONDS = 600.0  # seconds for which a sensor's readings are renewed after it was last asked for
RELOAD_PAUSE_SECONDS = 0.005  # seconds between two sensors read anew: requests go first
MAX_READINGS_BETWEEN = (
    100_000  # stored readings looked at between the first and the last one posted of a sensor
)
MAX_BATCH_SPREAD = timedelta(
    days=1
)  # sensors whose readings end that near each other are read on by one query


class RecentSettings(Settings, file="serving", section="readings"):
    """How the endpoint uses the readings store."""

    context: int = Field(4096, ge=64, description="newest good readings of a sensor kept in memory")
    sensors: int = Field(2_000, ge=1, description="sensors whose readings stay in memory")
    again_after: float = Field(60.0, gt=0, description="seconds until all of a sensor's are read anew")
    patience: float = Field(2.0, gt=0, description="seconds a request waits for the database")
    retry_after: float = Field(3.0, gt=0, description="seconds until a database that was away is asked again")


class Tail(NamedTuple):
    """One sensor's newest good readings, in seconds of the epoch; `whole` where there are no older ones.

    A tuple, as all that is made for each sensor of a request: it is made in a third of a dataclass's time.
    """

    seconds: Floats
    values: Floats
    whole: bool = True

    def before(self, moment: float) -> "Tail":
        """The readings before a moment."""
        end = int(np.searchsorted(self.seconds, moment))
        return self if end == len(self.seconds) else Tail(self.seconds[:end], self.values[:end], self.whole)

    def part(self, first: int, last: int) -> "Tail":
        """The readings from one place to another, which is excluded."""
        return Tail(self.seconds[first:last], self.values[first:last], whole=False)

    def merged(self, seconds: Floats, values: Floats) -> "Tail":
        """With further readings, which win over stored ones of the same time."""
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
        """At most so many of the newest."""
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
    """What is known of some sensors' pasts, and whether the store could be asked."""

    tails: Mapping[str, Tail]
    reached: bool


@dataclass(frozen=True)
class CachedTail:
    """A tail in memory: the newest time of any quality in the store, and when it was read."""

    tail: Tail
    newest: datetime | None
    read_at: float


class RecentReadings:
    """The tails of all sensors that were asked about; safe to use from several threads."""

    def __init__(self, store: Callable[[], ReadingStore], settings: RecentSettings | None = None) -> None:
        self.open_store = store  # asked only from our own threads: a database may be away from the start
        self.settings = settings or RecentSettings()
        self.unreachable_reason: str | None = None  # why the store cannot be reached
        self._cache: dict[str, CachedTail] = {}
        self._requested_at: dict[str, float] = {}  # when, of those asked for lately
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="readings")
        self._hanging_query: Future[Any] | None = None
        self._write_counter = WriteCounter()
        self._fresh_sensors: set[str] = set()  # sensors renewed since the database was last written to
        self._fresh_write_count: int | None = None  # the count of writings that is true of
        self._away_until = 0.0
        self._progress = 0.0

    def get_tails(self, sensor_ids: Sequence[str]) -> TailLookup:
        """The tails of these sensors, renewed where the store has newer readings and can be reached."""
        reached = self._query(self._refresh, sensor_ids) is not None
        with self._lock:
            self._requested_at.update(dict.fromkeys(sensor_ids, time.monotonic()))
        cache = self._cache
        return TailLookup({name: cache[name].tail for name in sensor_ids if name in cache}, reached)

    def read_older(self, sensor_id: str, start: float, end: float) -> Tail | None:
        """Readings older than those in memory: those until `end` with the context before `start`.

        Raises:
            DataError: there are too many to be looked at for one request.
        """
        tail = self._query(self._read_older, sensor_id, start, end)
        if tail is not None and len(tail.seconds) > self.settings.context + MAX_READINGS_BETWEEN:
            raise DataError(
                f"between the readings posted more than {MAX_READINGS_BETWEEN:,} are stored. "
                "Post them in shorter stretches of time."
            )
        return tail

    def reread_stale(self) -> None:
        """Read anew what was read some time ago and is still asked for, sensor by sensor.

        Raises:
            StoreError: the store is away; it is the next look that goes on.
        """
        now = time.monotonic()
        with self._lock:
            self._requested_at = {
                name: at for name, at in self._requested_at.items() if now - at < INTEREST_SECONDS
            }
            cached = {name: self._cache[name] for name in self._requested_at if name in self._cache}
        stale = [name for name, one in cached.items() if now - one.read_at > self.settings.again_after]
        if not stale or now < self._away_until:
            return
        store = self.open_store()
        for name in stale:
            newest = newest_times(store.engine, [name])
            self._reload(store, name, newest.get(name), time.monotonic())
            time.sleep(RELOAD_PAUSE_SECONDS)

    def close(self) -> None:
        """Stop asking."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._write_counter.close()

    def _query(self, query: Callable[..., T], *arguments: Any) -> T | None:
        """The store's answer, or None where it is away; a request never waits long to learn that."""
        hangs = self._hanging_query is not None and not self._hanging_query.done()
        if hangs or time.monotonic() < self._away_until:
            return None
        self._progress = time.monotonic()
        future = self._executor.submit(query, *arguments)
        try:
            answer = self._wait_for_result(future)
        # A driver's own error counts as well: whatever keeps the store from answering, requests go on.
        except Exception as error:  # noqa: BLE001
            self._hanging_query = future
            self._record_unreachable(error)
            return None
        if self.unreachable_reason is not None:
            log.info("the readings store is back")
            self.unreachable_reason = None
        return answer

    def _wait_for_result(self, future: "Future[T]") -> T:
        while True:
            try:
                return future.result(self.settings.patience)
            except TooSlow:
                # Many sensors at once take their time; a database that answers is not away.
                if future.done() or time.monotonic() - self._progress > self.settings.patience:
                    raise

    def _record_unreachable(self, error: Exception) -> None:
        message = str(error) or f"no answer within {self.settings.patience:g} s"
        if self.unreachable_reason is None:
            log.warning("the readings store is out of reach: %s", message)
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
            # Those asked for lately are read anew meanwhile, by `read_again`.
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
            return  # a name that somebody made up must not stay in memory
        tail = EMPTY_TAIL if frame is None else to_tail(frame, whole=len(frame) < context)
        with self._lock:
            while len(self._cache) >= self.settings.sensors and sensor_id not in self._cache:
                self._cache.pop(next(iter(self._cache)))
            self._cache[sensor_id] = CachedTail(tail, newest, now)
        self._progress = time.monotonic()

    def _read_new(
        self, store: ReadingStore, outdated: Mapping[str, CachedTail], newest: Mapping[str, datetime]
    ) -> None:
        """Read what came since, of many sensors by one query; one that was long silent costs only itself."""
        if not outdated:
            return
        since = {name: kept.newest for name, kept in outdated.items() if kept.newest}
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
        first, last = (to_times(np.array([moment]))[0].to_pydatetime() for moment in (start, end))
        earlier = to_tail(
            store.latest(sensor_id, self.settings.context, end=first, quality=GOOD_QUALITY), whole=True
        )
        limit = self.settings.context + MAX_READINGS_BETWEEN + 1
        later = store.latest(sensor_id, limit, start=first, end=last, quality=GOOD_QUALITY)
        after = to_tail(later, whole=True)
        return earlier.merged(after.seconds, after.values)


class WriteCounter:
    """Counts what is written to an SQLite file, by a connection that only looks; no other database can tell.

    Asking each sensor's newest time takes 3 ms for 500 sensors; this takes none where nothing was written.
    """

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._connection: PoolProxiedConnection | None = None
        self._lock = threading.Lock()

    def count(self, engine: Engine) -> int | None:
        """A number that changes with every writing; None where that cannot be known."""
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
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._engine = self._connection = None


def newest_times(engine: Engine, sensor_ids: Sequence[str]) -> dict[str, datetime]:
    """The time of the newest reading of each of these sensors, of any quality, by one query of seeks."""
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
    """Texts as a table: one parameter however many there are."""
    if connection.dialect.name == "postgresql":
        return func.json_array_elements_text(cast(json.dumps(texts), postgresql.JSON)).table_valued("value")
    return func.json_each(json.dumps(texts)).table_valued("value")


def to_tail(frame: pd.DataFrame, *, whole: bool) -> Tail:
    """A frame of readings as a tail."""
    seconds = frame["timestamp"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    return Tail(seconds, frame["value"].to_numpy(np.float64), whole)




def _was_truncated(cached: CachedTail, newest: datetime | None) -> bool:
    """Whether readings were deleted, or there were none: nothing to go on from."""
    return cached.newest != newest and (cached.newest is None or newest is None or newest < cached.newest)
