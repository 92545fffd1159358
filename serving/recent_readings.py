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
from numpy.typing import NDArray
from pydantic import Field
from sqlalchemy import Connection, Engine, TableValuedAlias, cast, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import PoolProxiedConnection

from training.data.readings import GOOD, ReadingStore
from training.errors import DataError
from training.settings import Settings
from training.storage.database import reading, sensor_readings
from training.storage.store_errors import store_errors

log = logging.getLogger("safeplan.serving")

Floats = NDArray[np.float64]
T = TypeVar("T")

INTEREST = 600.0  # seconds for which a sensor's readings are renewed after it was last asked for
BREATH = 0.005  # seconds between two sensors read anew: requests go first
MOST_BETWEEN = 100_000  # stored readings looked at between the first and the last one posted of a sensor
TOGETHER = timedelta(days=1)  # sensors whose readings end that near each other are read on by one query


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
        kept = ~np.isin(self.seconds, seconds)
        together = np.concatenate([self.seconds[kept], seconds])
        order = np.argsort(together, kind="stable")
        return Tail(together[order], np.concatenate([self.values[kept], values])[order], self.whole)

    def newest(self, readings: int) -> "Tail":
        """At most so many of the newest."""
        if len(self.seconds) <= readings:
            return self
        return Tail(self.seconds[-readings:], self.values[-readings:], whole=False)

    @property
    def series(self) -> pd.Series:
        """Values by time."""
        return pd.Series(self.values, index=times_of(self.seconds))


NOTHING = Tail(np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Recall:
    """What is known of some sensors' pasts, and whether the store could be asked."""

    tails: Mapping[str, Tail]
    reached: bool


@dataclass(frozen=True)
class Kept:
    """A tail in memory: the newest time of any quality in the store, and when it was read."""

    tail: Tail
    newest: datetime | None
    read_at: float


class RecentReadings:
    """The tails of all sensors that were asked about; safe to use from several threads."""

    def __init__(self, store: Callable[[], ReadingStore], settings: RecentSettings | None = None) -> None:
        self.open_store = store  # asked only from our own threads: a database may be away from the start
        self.settings = settings or RecentSettings()
        self.away: str | None = None  # why the store cannot be reached
        self._kept: dict[str, Kept] = {}
        self._asked: dict[str, float] = {}  # when, of those asked for lately
        self._lock = threading.Lock()
        self._askers = ThreadPoolExecutor(4, thread_name_prefix="readings")
        self._hanging: Future[Any] | None = None
        self._writings = Writings()
        self._fresh: set[str] = set()  # sensors renewed since the database was last written to
        self._fresh_at: int | None = None  # the count of writings that is true of
        self._away_until = 0.0
        self._progress = 0.0

    def recall(self, sensor_ids: Sequence[str]) -> Recall:
        """The tails of these sensors, renewed where the store has newer readings and can be reached."""
        reached = self._ask(self._renew, sensor_ids) is not None
        with self._lock:
            self._asked.update(dict.fromkeys(sensor_ids, time.monotonic()))
        kept = self._kept
        return Recall({name: kept[name].tail for name in sensor_ids if name in kept}, reached)

    def further_back(self, sensor_id: str, start: float, end: float) -> Tail | None:
        """Readings older than those in memory: those until `end` with the context before `start`.

        Raises:
            DataError: there are too many to be looked at for one request.
        """
        tail = self._ask(self._read_back, sensor_id, start, end)
        if tail is not None and len(tail.seconds) > self.settings.context + MOST_BETWEEN:
            raise DataError(
                f"between the readings posted more than {MOST_BETWEEN:,} are stored. "
                "Post them in shorter stretches of time."
            )
        return tail

    def read_again(self) -> None:
        """Read anew what was read some time ago and is still asked for, sensor by sensor.

        Raises:
            StoreError: the store is away; it is the next look that goes on.
        """
        now = time.monotonic()
        with self._lock:
            self._asked = {name: at for name, at in self._asked.items() if now - at < INTEREST}
            kept = {name: self._kept[name] for name in self._asked if name in self._kept}
        old = [name for name, one in kept.items() if now - one.read_at > self.settings.again_after]
        if not old or now < self._away_until:
            return
        store = self.open_store()
        for name in old:
            newest = newest_times(store.engine, [name])
            self._read_anew(store, name, newest.get(name), time.monotonic())
            time.sleep(BREATH)

    def close(self) -> None:
        """Stop asking."""
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._writings.close()

    def _ask(self, question: Callable[..., T], *about: Any) -> T | None:
        """The store's answer, or None where it is away; a request never waits long to learn that."""
        hangs = self._hanging is not None and not self._hanging.done()
        if hangs or time.monotonic() < self._away_until:
            return None
        self._progress = time.monotonic()
        asked = self._askers.submit(question, *about)
        try:
            answer = self._patiently(asked)
        # A driver's own error counts as well: whatever keeps the store from answering, requests go on.
        except Exception as error:  # noqa: BLE001
            self._hanging = asked
            self._note_away(error)
            return None
        if self.away is not None:
            log.info("the readings store is back")
            self.away = None
        return answer

    def _patiently(self, asked: "Future[T]") -> T:
        while True:
            try:
                return asked.result(self.settings.patience)
            except TooSlow:
                # Many sensors at once take their time; a database that answers is not away.
                if asked.done() or time.monotonic() - self._progress > self.settings.patience:
                    raise

    def _note_away(self, error: Exception) -> None:
        words = str(error) or f"no answer within {self.settings.patience:g} s"
        if self.away is None:
            log.warning("the readings store is out of reach: %s", words)
        self.away, self._away_until = words, time.monotonic() + self.settings.retry_after

    def _renew(self, sensor_ids: Sequence[str]) -> bool:
        store, now = self.open_store(), time.monotonic()
        written = self._writings.count(store.engine)
        if (
            written is not None
            and written == self._fresh_at
            and self._fresh & self._kept.keys() >= set(sensor_ids)
        ):
            return True
        newest = newest_times(store.engine, sensor_ids)
        grown: dict[str, Kept] = {}
        for name in sensor_ids:
            kept, last = self._kept.get(name), newest.get(name)
            # Those asked for lately are read anew meanwhile, by `read_again`.
            if kept is None or _went_back(kept, last) or now - kept.read_at > INTEREST:
                self._read_anew(store, name, last, now)
            elif kept.newest != last:
                grown[name] = kept
        self._read_further(store, grown, newest)
        with self._lock:
            if written != self._fresh_at:
                self._fresh, self._fresh_at = set(), written
            self._fresh = self._fresh | {name for name in sensor_ids if name in self._kept}
        return True

    def _read_anew(self, store: ReadingStore, sensor_id: str, newest: datetime | None, now: float) -> None:
        context = self.settings.context
        found = store.latest(sensor_id, context, quality=GOOD) if newest else None
        if found is None and sensor_id not in self._kept:
            return  # a name that somebody made up must not stay in memory
        tail = NOTHING if found is None else tail_of(found, whole=len(found) < context)
        with self._lock:
            while len(self._kept) >= self.settings.sensors and sensor_id not in self._kept:
                self._kept.pop(next(iter(self._kept)))
            self._kept[sensor_id] = Kept(tail, newest, now)
        self._progress = time.monotonic()

    def _read_further(
        self, store: ReadingStore, grown: Mapping[str, Kept], newest: Mapping[str, datetime]
    ) -> None:
        """Read what came since, of many sensors by one query; one that was long silent costs only itself."""
        if not grown:
            return
        since = {name: kept.newest for name, kept in grown.items() if kept.newest}
        latest = max(since.values())
        together = [name for name, start in since.items() if latest - start < TOGETHER]
        frames = store.many(together, min(since[name] for name in together), quality=GOOD)
        parts = dict(tuple(frames.groupby("sensor_id", sort=False)))
        for name, kept in grown.items():
            if name not in together:
                found = store.between(name, since[name], quality=GOOD)
            else:
                found = parts.get(name, frames.iloc[:0])
            more = tail_of(found, whole=False)
            tail = kept.tail.merged(more.seconds, more.values).newest(self.settings.context)
            with self._lock:
                self._kept[name] = Kept(tail, newest[name], kept.read_at)
            self._progress = time.monotonic()

    def _read_back(self, sensor_id: str, start: float, end: float) -> Tail:
        store = self.open_store()
        first, last = (times_of(np.array([moment]))[0].to_pydatetime() for moment in (start, end))
        earlier = tail_of(store.latest(sensor_id, self.settings.context, end=first, quality=GOOD), whole=True)
        most = self.settings.context + MOST_BETWEEN + 1
        later = store.latest(sensor_id, most, start=first, end=last, quality=GOOD)
        after = tail_of(later, whole=True)
        return earlier.merged(after.seconds, after.values)


class Writings:
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
    kept = sensor_readings.c
    with reading(engine) as connection:
        if len(sensor_ids) == 1:
            one = select(func.max(kept.timestamp)).where(kept.sensor_id == sensor_ids[0])
            found = [(sensor_ids[0], connection.execute(one).scalar())]
        else:
            wanted = _each_of(connection, sensor_ids)
            newest = (
                select(func.max(kept.timestamp)).where(kept.sensor_id == wanted.c.value).scalar_subquery()
            )
            found = [(row[0], row[1]) for row in connection.execute(select(wanted.c.value, newest))]
    return {sensor_id: last for sensor_id, last in found if last is not None}


def _each_of(connection: Connection, texts: Sequence[str]) -> TableValuedAlias:
    """Texts as a table: one parameter however many there are."""
    if connection.dialect.name == "postgresql":
        return func.json_array_elements_text(cast(json.dumps(texts), postgresql.JSON)).table_valued("value")
    return func.json_each(json.dumps(texts)).table_valued("value")


def tail_of(found: pd.DataFrame, *, whole: bool) -> Tail:
    """A frame of readings as a tail."""
    seconds = found["timestamp"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    return Tail(seconds, found["value"].to_numpy(np.float64), whole)


def times_of(seconds: Floats) -> pd.DatetimeIndex:
    """Seconds of the epoch as naive UTC times."""
    return pd.DatetimeIndex(np.rint(seconds * 1e6).astype(np.int64).astype("datetime64[us]"))


def _went_back(kept: Kept, newest: datetime | None) -> bool:
    """Whether readings were deleted, or there were none: nothing to go on from."""
    return kept.newest != newest and (kept.newest is None or newest is None or newest < kept.newest)
