"""Watching the fleet: what came in since the last time becomes alerts, all or nothing.

Knows the order: look, read the signs, then turn each topic's life and keep it with its letters in one
transaction a platform. Killed anywhere, the next watch goes on as if nothing had happened.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from monitoring.alerts import watch_store
from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert import Alert, Chapter, Pending, Sign, Topic
from monitoring.alerts.kinds import AlertType, Change, State
from monitoring.alerts.life_cycle import Pace, advance
from monitoring.alerts.maintenance import windows_of
from monitoring.alerts.rules import RuleBook
from monitoring.alerts.store import FLOOD, AlertStore, Key, key_of
from monitoring.notify.outbox_writer import Post
from monitoring.watch.anomaly_conditions import Thresholds
from monitoring.watch.conditions import Past, Watched, first_memory, signs_of
from monitoring.watch.floods import find_flood, pace_of_floods
from monitoring.watch.new_data import News, look
from monitoring.watch.thresholds import thresholds_of
from monitoring.watch.verdict_labels import teach
from training.data.readings import GOOD_QUALITY
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.outcomes import FAILED, Outcome
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings
from training.storage.database import reading, writing
from training.storage.leases import lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.monitoring")

Watcher = Callable[[Outcome], None]
UNKNOWN_STEP = timedelta(0)


def watch_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    now: datetime,
    watch: Watcher = lambda _: None,
) -> list[Outcome]:
    """Turn what came in until now (naive UTC) into alerts; one outcome a sensor. Again changes nothing.

    Raises:
        LeaseTaken: another process is watching at this moment.
    """
    with lease(workspace.engine, "watch"):
        return FleetWatch(workspace, now).outcomes(sensors, watch)


class Matter(NamedTuple):
    """One topic with what is said of it, and how fast its alerts live."""

    topic: Topic
    signs: Sequence[Sign]
    pace: Pace


class FleetWatch:
    """One look at the whole fleet."""

    def __init__(self, workspace: Workspace, now: datetime) -> None:
        self.workspace = workspace
        self.now = now
        self.book = RuleBook.from_conf()
        self.width = load_settings(ForecasterSettings).interval_width
        self.store = AlertStore(workspace.engine)
        self.budget = load_settings(BudgetSettings)
        self.post = Post.from_conf(workspace)
        self.failed: dict[str, str] = {}

    def outcomes(self, sensors: Sequence[Sensor], watch: Watcher) -> list[Outcome]:
        """Look at all, then tell platform by platform."""
        told: dict[str, list[tuple[Sensor, Watched]]] = defaultdict(list)
        for sensor, watched in self._watched(sensors):
            told[sensor.platform].append((sensor, watched))
        changes: dict[str, list[Chapter]] = defaultdict(list)
        for platform in sorted({*told, *self.store.platforms_alive()}):
            for chapter in self._tell(platform, told.get(platform, [])):
                changes[chapter.alert.topic.sensor_id].append(chapter)
        found = []
        for sensor in sensors:
            found.append(self._outcome(sensor, changes[sensor.id]))
            watch(found[-1])
        return found

    def _watched(self, sensors: Sequence[Sensor]) -> Iterable[tuple[Sensor, Watched]]:
        ids = [sensor.id for sensor in sensors]
        with reading(self.workspace.engine) as connection:
            memories = watch_store.memories(connection, ids)
            seen = {
                kind: watch_store.seen_until(connection, ids, kind)
                for kind in (AlertType.ANOMALY, AlertType.FORECAST_WARNING, AlertType.DRIFT)
            }
            thresholds = thresholds_of(connection)
        first = {sensor.id: self.now - self.book.of(sensor).life.first_look for sensor in sensors}
        begins = {kind: first | times for kind, times in seen.items()}
        begins[AlertType.INSTRUMENT] = first | {name: memory.last for name, memory in memories.items()}
        news = look(self.workspace, begins, now=self.now)
        for sensor in sensors:
            try:
                rules, past = self.book.of(sensor), self._past(sensor)
                begin = begins[AlertType.INSTRUMENT][sensor.id]
                memory = memories.get(sensor.id) or first_memory(sensor, past, begin, rules)
                watched = signs_of(
                    sensor,
                    news.get(sensor.id, News()),
                    memory,
                    past,
                    rules,
                    begin=begin,
                    now=self.now,
                    thresholds=thresholds.get(sensor.id, Thresholds()),
                    width=self.width,
                )
            # One sensor's trouble must not cost the others their alerts; it is named, and traced here.
            except Exception as error:
                if not isinstance(error, SafePlanError):
                    log.exception("watching %s failed", sensor.id)
                self.failed[sensor.id] = f"{type(error).__name__}: {error}"
            else:
                yield sensor, watched

    def _past(self, sensor: Sensor) -> Past:
        rows = self.book.of(sensor).instrument.window_readings
        return lambda moment: self.workspace.readings.latest(
            sensor.id, rows, end=moment, quality=GOOD_QUALITY
        )

    def _tell(self, platform: str, together: Sequence[tuple[Sensor, Watched]]) -> list[Chapter]:
        """One platform's topics, each as far as time and its signs bring it, kept in one transaction."""
        ids = [sensor.id for sensor, _ in together]
        with writing(self.workspace.engine) as connection:
            alive = self.store.alive(connection, platform, ids)
            ids = sorted({*ids, *(sensor_id for _, sensor_id, _ in alive)})
            pendings = watch_store.pendings(connection, ids)
            quiet = windows_of(connection, platform, ids)
            turned: dict[Key, Pending] = {}
            chapters: list[Chapter] = []
            for matter in (*self._matters(together), *self._left_over(alive, together)):
                key = key_of(matter.topic)
                before, alert = pendings.get(key, Pending()), alive.get(key)
                if not matter.signs and not before.since and alert is None:
                    continue
                course = advance(
                    alert.topic if alert else matter.topic,
                    before,
                    alert,
                    matter.signs,
                    matter.pace,
                    now=self.now,
                    maintenance=quiet.get(matter.topic.sensor_id, ()),
                )
                if course.pending != before:
                    turned[key] = course.pending
                chapters += [chapter for chapter in course.chapters if chapter.alert != alert]
            watch_store.keep_pendings(connection, turned)
            remembered = {sensor.id: watched.memory for sensor, watched in together if watched.memory}
            watch_store.keep_memories(connection, remembered)
            kept = [self.store.keep(connection, chapter, now=self.now) for chapter in chapters]
            for chapter in kept:
                teach(connection, chapter.alert, now=self.now)
            kept = self._gathered(connection, platform, kept, pendings)
            self.post.post(connection, kept, now=self.now)
            return kept

    def _gathered(
        self,
        connection: Connection,
        platform: str,
        kept: Sequence[Chapter],
        pendings: Mapping[Key, Pending],
    ) -> list[Chapter]:
        """The same, and the flood that they are, which then is told in place of them."""
        standing = next(
            (a for key, a in self.store.alive(connection, platform, ()).items() if key[2] == FLOOD), None
        )
        members = [] if standing is None else self.store.members(connection, standing.id or 0)
        fresh = self.store.told_since(connection, platform, self.now - self.budget.flood_within)
        flood = find_flood(
            standing,
            members,
            fresh,
            Pending() if standing is None else pendings.get(key_of(standing.topic), Pending()),
            self.budget,
            pace_of_floods(self.book.rules.pace(AlertType.ANOMALY, UNKNOWN_STEP)),
            platform=platform,
            now=self.now,
        )
        if flood is None:
            return list(kept)
        chapter = flood.course.chapters[0]
        if chapter.alert.state is State.CLOSED:
            return self._dispersed(connection, platform, chapter, kept)
        if chapter.alert != standing:
            chapter = self.store.keep(connection, chapter, now=self.now)
        watch_store.keep_pendings(connection, {key_of(chapter.alert.topic): flood.course.pending})
        joined = {alert.id for alert in flood.joining}
        group_id = chapter.alert.id
        assert group_id is not None
        self.store.join(connection, [one for one in joined if one is not None], group_id)
        told = [
            replace(one, alert=replace(one.alert, group_id=group_id)) if one.alert.id in joined else one
            for one in kept
        ]
        return [chapter, *told]

    def _dispersed(
        self, connection: Connection, platform: str, over: Chapter, kept: Sequence[Chapter]
    ) -> list[Chapter]:
        """The same, and the end of a flood: what lives on of it is told by itself, or is another flood."""
        closed = self.store.keep(connection, over, now=self.now)
        assert closed.alert.id is not None
        watch_store.keep_pendings(connection, {key_of(closed.alert.topic): Pending()})
        self.store.leave(connection, closed.alert.id)
        alone = [
            replace(one, alert=replace(one.alert, group_id=None))
            if one.alert.group_id == closed.alert.id and one.alert.state is not State.CLOSED
            else one
            for one in kept
        ]
        return [closed, *self._gathered(connection, platform, alone, {})]

    def _matters(self, together: Sequence[tuple[Sensor, Watched]]) -> Iterator[Matter]:
        """What these sensors say."""
        for sensor, watched in together:
            step = watched.memory.habit.step if watched.memory else sensor.step
            for topic, signs in watched.signs.items():
                yield Matter(topic, signs, self.book.of(sensor).pace(topic.type, step or UNKNOWN_STEP))

    def _left_over(
        self, alive: Mapping[Key, Alert], together: Sequence[tuple[Sensor, Watched]]
    ) -> Iterator[Matter]:
        """Alerts that nobody says anything about: time passes, and what is no longer watched is over."""
        said = {key_of(topic) for _, watched in together for topic in watched.signs}
        for key, alert in alive.items():
            if key in said or alert.topic.subject == FLOOD:
                continue
            sensor = self.workspace.fleet.get(alert.topic.sensor_id)
            watched = sensor is not None and sensor.enabled and self.book.of(sensor).enabled(alert.topic.type)
            rules = self.book.rules if sensor is None else self.book.of(sensor)
            signs = [] if watched else [Sign(self.now)]
            yield Matter(alert.topic, signs, rules.pace(alert.topic.type, UNKNOWN_STEP))

    def _outcome(self, sensor: Sensor, chapters: Sequence[Chapter]) -> Outcome:
        if sensor.id in self.failed:
            return Outcome(sensor.id, None, FAILED, error=self.failed[sensor.id])
        counts = {change.value: 0 for change in (Change.OPENED, Change.WORSENED, Change.CLOSED)}
        for chapter in chapters:
            for event in chapter.events:
                counts[event.change.value] = counts.get(event.change.value, 0) + 1
        return Outcome(sensor.id, None, "watched", metrics=counts)
