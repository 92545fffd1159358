"""Watch the fleet: turn the data since the last watch into alerts and notifications.

Reads new data, makes conditions, advances each topic, and stores the alerts of a platform with their
notifications in one transaction: a watch that is killed is continued by the next without loss or repetition.
Conditions are made in `conditions`, alerts advance in `monitoring.alerts.life_cycle`.
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
from monitoring.alerts.alert import Alert, AlertTopic, Condition, PendingAlert, Transition
from monitoring.alerts.kinds import AlertChange, AlertState, AlertType
from monitoring.alerts.life_cycle import AlertTiming, advance
from monitoring.alerts.maintenance import load_maintenance_windows
from monitoring.alerts.rules import AlertRules
from monitoring.alerts.store import FLOOD_SUBJECT, AlertStore, TopicKey, topic_key
from monitoring.notify.outbox_writer import OutboxWriter
from monitoring.watch.anomaly_conditions import SeverityThresholds
from monitoring.watch.conditions import PastReader, SensorConditions, collect_conditions, initial_memory
from monitoring.watch.floods import find_flood, flood_timing
from monitoring.watch.new_data import NewData, load_new_data
from monitoring.watch.thresholds import load_thresholds
from monitoring.watch.verdict_labels import save_verdict_label
from training.data.readings import GOOD_QUALITY
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.outcomes import Outcome, OutcomeStatus
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings
from training.storage.database import reading, writing
from training.storage.leases import lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.monitoring")

OutcomeCallback = Callable[[Outcome], None]
UNKNOWN_STEP = timedelta(0)


def watch_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    now: datetime,
    watch: OutcomeCallback = lambda _: None,
) -> list[Outcome]:
    """Turn new data until now (naive UTC) into alerts; one outcome per sensor. A second call changes nothing.

    Raises:
        LeaseTaken: another process is watching now.
    """
    with lease(workspace.engine, "watch"):
        return FleetWatch(workspace, now).outcomes(sensors, watch)


class TopicUpdate(NamedTuple):
    """One topic with its new conditions and its time limits."""

    topic: AlertTopic
    conditions: Sequence[Condition]
    timing: AlertTiming


class FleetWatch:
    """One watch of the whole fleet."""

    def __init__(self, workspace: Workspace, now: datetime) -> None:
        self.workspace = workspace
        self.now = now
        self.alert_rules = AlertRules.from_conf()
        self.width = load_settings(ForecasterSettings).interval_width
        self.store = AlertStore(workspace.engine)
        self.budget = load_settings(BudgetSettings)
        self.outbox_writer = OutboxWriter.from_conf(workspace)
        self.failed: dict[str, str] = {}

    def outcomes(self, sensors: Sequence[Sensor], watch: OutcomeCallback) -> list[Outcome]:
        """Read all sensors, then process platform by platform."""
        by_platform: dict[str, list[tuple[Sensor, SensorConditions]]] = defaultdict(list)
        for sensor, conditions in self._read_conditions(sensors):
            by_platform[sensor.platform].append((sensor, conditions))
        changes: dict[str, list[Transition]] = defaultdict(list)
        for platform in sorted({*by_platform, *self.store.active_platforms()}):
            for transition in self._process_platform(platform, by_platform.get(platform, [])):
                changes[transition.alert.topic.sensor_id].append(transition)
        outcomes = []
        for sensor in sensors:
            outcomes.append(self._outcome(sensor, changes[sensor.id]))
            watch(outcomes[-1])
        return outcomes

    def _read_conditions(self, sensors: Sequence[Sensor]) -> Iterable[tuple[Sensor, SensorConditions]]:
        ids = [sensor.id for sensor in sensors]
        with reading(self.workspace.engine) as connection:
            memories = watch_store.load_memories(connection, ids)
            seen = {
                kind: watch_store.load_seen_until(connection, ids, kind)
                for kind in (AlertType.ANOMALY, AlertType.FORECAST_WARNING, AlertType.DRIFT)
            }
            thresholds = load_thresholds(connection)
        first_start = {
            sensor.id: self.now - self.alert_rules.of(sensor).life.first_look for sensor in sensors
        }
        start_times = {kind: first_start | times for kind, times in seen.items()}
        start_times[AlertType.INSTRUMENT] = first_start | {
            name: memory.last for name, memory in memories.items()
        }
        new_data = load_new_data(self.workspace, start_times, now=self.now)
        for sensor in sensors:
            try:
                rules, past = self.alert_rules.of(sensor), self._past_reader(sensor)
                start = start_times[AlertType.INSTRUMENT][sensor.id]
                memory = memories.get(sensor.id) or initial_memory(sensor, past, start, rules)
                conditions = collect_conditions(
                    sensor,
                    new_data.get(sensor.id, NewData()),
                    memory,
                    past,
                    rules,
                    begin=start,
                    now=self.now,
                    thresholds=thresholds.get(sensor.id, SeverityThresholds()),
                    width=self.width,
                )
            # The failure of one sensor must not cost the others their alerts.
            except Exception as error:
                if not isinstance(error, SafePlanError):
                    log.exception("watching %s failed", sensor.id)
                self.failed[sensor.id] = f"{type(error).__name__}: {error}"
            else:
                yield sensor, conditions

    def _past_reader(self, sensor: Sensor) -> PastReader:
        rows = self.alert_rules.of(sensor).instrument.window_readings
        return lambda end: self.workspace.readings.latest(sensor.id, rows, end=end, quality=GOOD_QUALITY)

    def _process_platform(
        self, platform: str, sensors_and_conditions: Sequence[tuple[Sensor, SensorConditions]]
    ) -> list[Transition]:
        """Advance the topics of one platform and store them in one transaction."""
        ids = [sensor.id for sensor, _ in sensors_and_conditions]
        with writing(self.workspace.engine) as connection:
            alive = self.store.load_active(connection, platform, ids)
            ids = sorted({*ids, *(sensor_id for _, sensor_id, _ in alive)})
            pendings = watch_store.load_pending(connection, ids)
            maintenance = load_maintenance_windows(connection, platform, ids)
            changed_pending: dict[TopicKey, PendingAlert] = {}
            transitions: list[Transition] = []
            for update in (
                *self._topic_updates(sensors_and_conditions),
                *self._unwatched_updates(alive, sensors_and_conditions),
            ):
                key = topic_key(update.topic)
                pending, alert = pendings.get(key, PendingAlert()), alive.get(key)
                if not update.conditions and not pending.since and alert is None:
                    continue
                lifecycle = advance(
                    alert.topic if alert else update.topic,
                    pending,
                    alert,
                    update.conditions,
                    update.timing,
                    now=self.now,
                    maintenance=maintenance.get(update.topic.sensor_id, ()),
                )
                if lifecycle.pending != pending:
                    changed_pending[key] = lifecycle.pending
                transitions += [
                    transition for transition in lifecycle.transitions if transition.alert != alert
                ]
            watch_store.save_pending(connection, changed_pending)
            remembered = {
                sensor.id: watched.memory for sensor, watched in sensors_and_conditions if watched.memory
            }
            watch_store.save_memories(connection, remembered)
            saved = [self.store.save(connection, transition, now=self.now) for transition in transitions]
            for transition in saved:
                save_verdict_label(connection, transition.alert, now=self.now)
            saved = self._apply_flood(connection, platform, saved, pendings)
            self.outbox_writer.enqueue(connection, saved, now=self.now)
            return saved

    def _apply_flood(
        self,
        connection: Connection,
        platform: str,
        saved: Sequence[Transition],
        pendings: Mapping[TopicKey, PendingAlert],
    ) -> list[Transition]:
        """The transitions with those of the platform's flood, which is notified instead of its members."""
        flood_alert = next(
            (
                a
                for key, a in self.store.load_active(connection, platform, ()).items()
                if key[2] == FLOOD_SUBJECT
            ),
            None,
        )
        members = [] if flood_alert is None else self.store.group_members(connection, flood_alert.id or 0)
        new_alerts = self.store.notified_since(connection, platform, self.now - self.budget.flood_within)
        flood = find_flood(
            flood_alert,
            members,
            new_alerts,
            PendingAlert()
            if flood_alert is None
            else pendings.get(topic_key(flood_alert.topic), PendingAlert()),
            self.budget,
            flood_timing(self.alert_rules.rules.timing(AlertType.ANOMALY, UNKNOWN_STEP)),
            platform=platform,
            now=self.now,
        )
        if flood is None:
            return list(saved)
        flood_transition = flood.lifecycle.transitions[0]
        if flood_transition.alert.state is AlertState.CLOSED:
            return self._end_flood(connection, platform, flood_transition, saved)
        if flood_transition.alert != flood_alert:
            flood_transition = self.store.save(connection, flood_transition, now=self.now)
        watch_store.save_pending(
            connection, {topic_key(flood_transition.alert.topic): flood.lifecycle.pending}
        )
        member_ids = {alert.id for alert in flood.new_members}
        group_id = flood_transition.alert.id
        assert group_id is not None
        self.store.add_to_group(connection, [i for i in member_ids if i is not None], group_id)
        grouped = [
            _with_group(transition, group_id) if transition.alert.id in member_ids else transition
            for transition in saved
        ]
        return [flood_transition, *grouped]

    def _end_flood(
        self, connection: Connection, platform: str, end_of_flood: Transition, saved: Sequence[Transition]
    ) -> list[Transition]:
        """The transitions with the end of a flood; remaining members are single again, or a new flood."""
        closed = self.store.save(connection, end_of_flood, now=self.now)
        assert closed.alert.id is not None
        watch_store.save_pending(connection, {topic_key(closed.alert.topic): PendingAlert()})
        self.store.release_group(connection, closed.alert.id)
        ungrouped = [
            _with_group(transition, None)
            if transition.alert.group_id == closed.alert.id
            and transition.alert.state is not AlertState.CLOSED
            else transition
            for transition in saved
        ]
        return [closed, *self._apply_flood(connection, platform, ungrouped, {})]

    def _topic_updates(
        self, sensors_and_conditions: Sequence[tuple[Sensor, SensorConditions]]
    ) -> Iterator[TopicUpdate]:
        """The topics of the sensors that were read."""
        for sensor, sensor_conditions in sensors_and_conditions:
            step = sensor_conditions.memory.habit.step if sensor_conditions.memory else sensor.step
            for topic, conditions in sensor_conditions.conditions.items():
                rules = self.alert_rules.of(sensor)
                timing = rules.timing(topic.type, step or UNKNOWN_STEP, topic.subject)
                yield TopicUpdate(topic, conditions, timing)

    def _unwatched_updates(
        self,
        alive: Mapping[TopicKey, Alert],
        sensors_and_conditions: Sequence[tuple[Sensor, SensorConditions]],
    ) -> Iterator[TopicUpdate]:
        """Active alerts without new conditions; those that are no longer watched end."""
        updated_topics = {
            topic_key(topic) for _, watched in sensors_and_conditions for topic in watched.conditions
        }
        for key, alert in alive.items():
            if key in updated_topics or alert.topic.subject == FLOOD_SUBJECT:
                continue
            sensor = self.workspace.fleet.get(alert.topic.sensor_id)
            watched = (
                sensor is not None
                and sensor.enabled
                and self.alert_rules.of(sensor).enabled(alert.topic.type)
            )
            rules = self.alert_rules.rules if sensor is None else self.alert_rules.of(sensor)
            conditions = [] if watched else [Condition(self.now)]
            timing = rules.timing(alert.topic.type, UNKNOWN_STEP, alert.topic.subject)
            yield TopicUpdate(alert.topic, conditions, timing)

    def _outcome(self, sensor: Sensor, transitions: Sequence[Transition]) -> Outcome:
        if sensor.id in self.failed:
            return Outcome(sensor.id, None, OutcomeStatus.FAILED, error=self.failed[sensor.id])
        counts = {
            change.value: 0 for change in (AlertChange.OPENED, AlertChange.WORSENED, AlertChange.CLOSED)
        }
        for transition in transitions:
            for event in transition.events:
                counts[event.change.value] = counts.get(event.change.value, 0) + 1
        return Outcome(sensor.id, None, OutcomeStatus.WATCHED, metrics=counts)


def _with_group(transition: Transition, group_id: int | None) -> Transition:
    return replace(transition, alert=replace(transition.alert, group_id=group_id))
