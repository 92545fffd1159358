"""Readings, watches, operator actions, scripts, maintenance and deliveries in any order lose no alert.

Any of them may be killed at any write, and the clock steps back now and then. The invariants are checked from
the tables alone: every alert has a valid history, every change is notified once, every action is audited,
every verdict is one label.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Row, event, select

from monitoring.alerts.kinds import AlertChange, AlertState, AlertVerdict, Severity
from monitoring.alerts.maintenance import MaintenanceWindow, add_maintenance, cancel_maintenance
from monitoring.compat.alert_engine import AlertEngine
from monitoring.notify.delivery import deliver
from monitoring.notify.outbox import Outbox
from monitoring.notify.sender import DeliveryRefused
from monitoring.watch.operator_actions import acknowledge, set_verdict, shelve, unshelve
from monitoring.watch.watcher import watch_fleet
from tests.support.monitored_fleet import HOUR, MINUTE, NOON, MonitoredFleet, noisy_values
from training.errors import ConfigurationError
from training.storage.alert_tables import alert_changes, alert_watches, alerts, maintenance, outbox
from training.storage.database import audit, labels, leases, ml_predictions, reading, sensor_readings

SENSORS = ("PT-1", "PT-2", "TT-1")
CHANNELS = ("night", "room")
STATEMENTS = ("INSERT", "UPDATE", "DELETE")
TABLES = (
    *(alerts, alert_changes, alert_watches, outbox, maintenance, audit, labels),
    *(ml_predictions, sensor_readings),
)
OPERATOR_CHANGES = {AlertChange.ACKNOWLEDGED, AlertChange.SHELVED, AlertChange.UNSHELVED, AlertChange.JUDGED}
# The states each change is allowed in, and the state it leads to; None: the state does not change.
ALLOWED_CHANGES: dict[AlertChange, tuple[set[AlertState | None], AlertState | None]] = {
    AlertChange.OPENED: ({None}, AlertState.OPEN),
    AlertChange.WORSENED: ({AlertState.OPEN}, AlertState.OPEN),
    AlertChange.RETURNED: ({AlertState.OPEN}, AlertState.RETURNED),
    AlertChange.REPEATED: ({AlertState.RETURNED}, AlertState.OPEN),
    AlertChange.ESCALATED: ({AlertState.OPEN}, AlertState.OPEN),
    AlertChange.CLOSED: ({AlertState.RETURNED}, AlertState.CLOSED),
    AlertChange.ACKNOWLEDGED: ({AlertState.OPEN, AlertState.RETURNED}, None),
    AlertChange.SHELVED: ({AlertState.OPEN, AlertState.RETURNED}, None),
    AlertChange.UNSHELVED: ({AlertState.OPEN, AlertState.RETURNED}, None),
    AlertChange.JUDGED: ({AlertState.OPEN, AlertState.RETURNED, AlertState.CLOSED}, None),
}


class ProcessKilled(BaseException):
    """The process is killed; no code of the product may catch this."""


class StoredMessage(NamedTuple):
    """One message: a change of an alert for one channel."""

    alert_id: int
    revision: int
    channel: str


class MessageRecorder:
    """A sender that stores the messages it accepts, and refuses all while it is closed."""

    def __init__(self) -> None:
        self.open = True
        self.accepted: list[StoredMessage] = []

    def send(self, message: Any, address: str) -> None:
        """Accept a message, or refuse it."""
        if not self.open:
            raise DeliveryRefused("closed")
        channel = address.rstrip("/").rpartition("/")[2]
        self.accepted.append(StoredMessage(message["alert_id"], message["number"], channel))


class AnomalousInterval(NamedTuple):
    """Anomalous readings that arrived in time and without maintenance: they must raise an alert."""

    sensor_id: str
    start: datetime
    end: datetime


def kill_points(maximum: int) -> st.SearchStrategy[int]:
    """The number of the write to be killed at; in half of the cases 0, which is never."""
    return st.one_of(st.just(0), st.integers(1, maximum))


class AlertStateMachine(RuleBasedStateMachine):
    """Three sensors on two platforms, with everything that equipment, operators, time and crashes can do."""

    fleet: MonitoredFleet

    def __init__(self) -> None:
        super().__init__()
        self.engine = self.fleet.workspace.engine
        self.clock = NOON
        self.back = timedelta(0)
        self.delayed: list[tuple[str, datetime, int, float]] = []
        self.anomalies: list[AnomalousInterval] = []
        self.maintained_until = dict.fromkeys(SENSORS, NOON)
        self.sender = MessageRecorder()
        self.expected: set[StoredMessage] = set()
        self.before: dict[int, Row[Any]] = {}
        self.changes_before: list[tuple[Any, ...]] = []
        self.possible_duplicates = 0  # one for each killed delivery

    @initialize()
    def empty(self) -> None:
        """Empty tables, and an hour of readings of every sensor."""
        with self.engine.begin() as connection:
            for table in TABLES:
                connection.execute(table.delete())
        for name in SENSORS:
            self.fleet.workspace.readings.ingest(self.frame(name, NOON - HOUR, 60))

    @rule(
        minutes=st.integers(1, 60),
        scores=st.tuples(*(st.sampled_from([None, 0.1, 0.7, 0.9]) for _ in SENSORS)),
        late=st.booleans(),
        watched=st.booleans(),
    )
    def time_passes(
        self, minutes: int, scores: tuple[float | None, ...], *, late: bool, watched: bool
    ) -> None:
        """Each sensor sends normal, anomalous or dangerous readings, or none; some arrive late."""
        begin, self.clock = self.clock, self.clock + minutes * MINUTE
        for name, score in zip(SENSORS, scores, strict=True):
            if score is None:
                continue
            if late and score > 0.5:
                self.delayed.append((name, begin, minutes, score))
                continue
            self.arrive(name, begin, minutes, score)
            if score > 0.5 and minutes > 6 and begin >= self.maintained_until[name]:
                self.anomalies.append(AnomalousInterval(name, begin, self.clock))
        if watched:
            self.watch(0)

    @rule(hours=st.integers(1, 3))
    def normal_readings(self, hours: int) -> None:
        """For hours, so that alerts return to normal and close."""
        self.time_passes(60 * hours, (0.1,) * len(SENSORS), late=False, watched=True)

    @precondition(lambda self: self.delayed)
    @rule()
    def delayed_readings_arrive(self) -> None:
        """Readings that were held back."""
        while self.delayed:
            self.arrive(*self.delayed.pop())

    def arrive(self, name: str, begin: datetime, minutes: int, score: float) -> None:
        """Store readings with their scores."""
        self.fleet.workspace.readings.ingest(self.frame(name, begin, minutes))
        self.fleet.score(name, (begin - NOON) / MINUTE, [score] * minutes)

    def frame(self, name: str, begin: datetime, minutes: int) -> pd.DataFrame:
        """Readings, one per minute."""
        times = [begin + place * MINUTE for place in range(minutes)]
        values = noisy_values(minutes, seed=minutes)
        return pd.DataFrame({"sensor_id": name, "timestamp": times, "value": values, "data_quality": 0})

    @rule(kill_at=kill_points(12))
    def watch(self, kill_at: int) -> None:
        """A watch, which may be killed at any write; a completed one misses nothing."""
        with self.killed(kill_at) as completed:
            self.watch_all()
        if not completed:
            return
        pending = []
        for interval in self.anomalies:
            if interval.end > self.now:
                pending.append(interval)
            else:
                assert self.raised(interval), f"{interval} raised no alert"
        self.anomalies = pending

    @rule()
    def watch_twice(self) -> None:
        """A second watch at the same time changes nothing."""
        self.watch(0)
        self.check_tables()
        before = self.state()
        self.watch_all()
        assert self.state() == before

    @rule(back=st.booleans())
    def clock_steps(self, back: bool) -> None:
        """An hour back, and forward again."""
        self.back = HOUR if back else timedelta(0)

    def watch_all(self) -> None:
        """Watch all sensors."""
        outcomes = watch_fleet(self.fleet.workspace, self.fleet.workspace.fleet.match(()), now=self.now)
        assert [outcome.error for outcome in outcomes if outcome.failed] == []

    def raised(self, interval: AnomalousInterval) -> bool:
        """Whether an alert covers the interval."""
        return any(
            row.type == "ANOMALY" and row.sensor_id == interval.sensor_id and row.last_at >= interval.start
            for row in self.rows(alerts)
        )

    @rule(name=st.sampled_from(SENSORS), severity=st.sampled_from(list(Severity)), kill_at=kill_points(6))
    def script_raises_alert(self, name: str, severity: Severity, kill_at: int) -> None:
        """A script raises an alert."""
        engine = AlertEngine(self.fleet.workspace, clock=lambda: self.now.replace(tzinfo=UTC))
        with self.killed(kill_at):
            engine.create_alert(name, int(severity), notes="script")

    @precondition(lambda self: self.before)
    @rule(
        place=st.integers(0, 5),
        action=st.sampled_from(["acknowledge", "shelve", "shelve", "unshelve", *AlertVerdict]),
        minutes=st.integers(1, 90),
        note=st.sampled_from([None, "checked"]),
        kill_at=kill_points(8),
    )
    def operator_action(self, place: int, action: str, minutes: int, note: str | None, kill_at: int) -> None:
        """An operator acts on any alert; invalid actions are refused."""
        alert_ids = sorted(self.before)
        target = self.fleet.workspace, alert_ids[-1 - place % len(alert_ids)]
        by: dict[str, Any] = {"by": "Ana", "now": self.now}
        with self.killed(kill_at), suppress(ConfigurationError):
            if action == "acknowledge":
                acknowledge(*target, **by)
            elif action == "shelve":
                shelve(*target, self.now + minutes * MINUTE, **by)
            elif action == "unshelve":
                unshelve(*target, **by)
            else:
                set_verdict(*target, AlertVerdict(action), note=note, **by)

    @rule(name=st.sampled_from(SENSORS), begin=st.integers(-30, 30), minutes=st.integers(1, 60))
    def plan_maintenance(self, name: str, begin: int, minutes: int) -> None:
        """Plan maintenance of a sensor, and cancel it in half of the cases."""
        start = self.now + begin * MINUTE
        planned = MaintenanceWindow(start, start + minutes * MINUTE, "gasket", "Ana", sensor_id=name)
        stored = add_maintenance(self.fleet.workspace, planned, now=self.now)
        self.anomalies = [interval for interval in self.anomalies if interval.sensor_id != name]
        if minutes % 2:
            assert stored.id is not None
            cancel_maintenance(self.fleet.workspace, stored.id)
        else:
            self.maintained_until[name] = max(self.maintained_until[name], planned.end)

    @rule(accepts=st.booleans(), kill_at=kill_points(6))
    def deliver(self, accepts: bool, kill_at: int) -> None:
        """Two rounds of delivery to channels that accept or refuse."""
        self.sender.open = accepts
        with self.killed(kill_at) as completed:
            for wait in (timedelta(0), HOUR):  # an accepted message is not due again
                at = self.now + wait
                deliver(self.fleet.workspace, clock=lambda at=at: at, sender=self.sender)
        self.possible_duplicates += not completed

    @rule()
    def delete_sent_messages(self) -> None:
        """Retention of the outbox."""
        Outbox(self.engine).delete_sent_before(self.now)

    @property
    def now(self) -> datetime:
        """The time of the machine's clock."""
        return self.clock - self.back

    @contextmanager
    def killed(self, at: int) -> Iterator[list[bool]]:
        """Kill the block before its n-th write or commit; the list is empty if that happened."""
        completed: list[bool] = []
        KILL["writes_left"] = at
        try:
            yield completed
            completed.append(True)
        except ProcessKilled:
            # The leases of a killed process are free at once; this process still lives.
            with self.engine.begin() as connection:
                connection.execute(leases.delete())
        finally:
            KILL["writes_left"] = 0

    def rows(self, table: Any) -> list[Row[Any]]:
        """A table in the order of its key."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key.columns)))

    def state(self) -> list[list[Row[Any]]]:
        """All stored data of alerts."""
        return [self.rows(table) for table in (alerts, alert_changes, outbox, audit)]

    @invariant()
    def check_tables(self) -> None:
        """Checked after every step."""
        stored = {row.id: row for row in self.rows(alerts)}
        changes = self.rows(alert_changes)
        self.history_is_not_changed(stored, changes)
        self.one_alert_per_topic(stored)
        self.every_history_is_valid(stored, changes)
        self.every_change_is_notified_once(stored, changes)
        self.every_action_is_in_the_audit(changes)
        self.every_verdict_is_one_label(stored)
        self.before = stored

    def history_is_not_changed(self, stored: dict[int, Row[Any]], changes: list[Row[Any]]) -> None:
        """No alert is deleted, no closed alert is reopened, no stored change is altered."""
        assert set(self.before) <= set(stored)
        closed = {number for number, row in self.before.items() if row.state == AlertState.CLOSED}
        assert all(stored[number].state == AlertState.CLOSED for number in closed)
        reported = [tuple(row) for row in changes]
        assert set(self.changes_before) <= set(reported)
        self.changes_before = reported

    def one_alert_per_topic(self, stored: dict[int, Row[Any]]) -> None:
        """At most one alert of a topic is not closed."""
        alive = Counter(
            (row.type, row.sensor_id, row.subject)
            for row in stored.values()
            if row.state != AlertState.CLOSED
        )
        assert max(alive.values(), default=1) == 1

    def every_history_is_valid(self, stored: dict[int, Row[Any]], changes: list[Row[Any]]) -> None:
        """Allowed changes in order of time that lead to the state of the alert, including shelving."""
        for number, row in stored.items():
            history = [change for change in changes if change.alert_id == number]
            assert [change.revision for change in history] == list(range(1, row.revision + 1))
            assert [change.at for change in history] == sorted(change.at for change in history)
            state, shelved = None, False
            for change in map(AlertChange, (change.change for change in history)):
                sources, target = ALLOWED_CHANGES[change]
                assert state in sources, f"{change} from {state}"
                state = target or state
                shelved = (shelved or change is AlertChange.SHELVED) and change is not AlertChange.UNSHELVED
            assert (row.state, row.shelved_until is not None) == (state, shelved)
            assert not (shelved and state is AlertState.CLOSED)

    def every_change_is_notified_once(self, stored: dict[int, Row[Any]], changes: list[Row[Any]]) -> None:
        """One message per channel unless the alert is shelved or in an active flood; no other messages."""
        shelved: dict[int, bool] = {}
        for change in changes:
            row, kind = stored[change.alert_id], AlertChange(change.change)
            suppressed = shelved.get(row.id, False) and kind is not AlertChange.UNSHELVED
            shelved[row.id] = (
                suppressed or kind is AlertChange.SHELVED
            ) and kind is not AlertChange.UNSHELVED
            before = self.before.get(row.id)
            if before is not None and change.revision <= before.revision:
                continue
            in_flood = row.group_id is not None and change.severity < Severity.CRITICAL
            if in_flood and row.state != AlertState.CLOSED:
                assert stored[row.group_id].state != AlertState.CLOSED, (
                    f"{kind} of alert {row.id} is not notified"
                )
            if (suppressed and kind is not AlertChange.SHELVED) or in_flood:
                continue
            self.expected |= {StoredMessage(row.id, change.revision, channel) for channel in CHANNELS}
        waiting = [
            (StoredMessage(r.alert_id, r.revision, r.channel), r.sent_at is not None)
            for r in self.rows(outbox)
        ]
        accepted = Counter(self.sender.accepted)
        assert len(waiting) == len({message for message, _ in waiting})
        assert {message for message, _ in waiting} | set(accepted) == self.expected
        assert {message for message, sent in waiting if sent} <= set(accepted)
        assert sum(accepted.values()) - len(accepted) <= self.possible_duplicates
        for message in accepted:
            first = [one for one in dict.fromkeys(self.sender.accepted) if one[::2] == message[::2]]
            assert first == sorted(first)

    def every_action_is_in_the_audit(self, changes: list[Row[Any]]) -> None:
        """With its user; changes by time alone have none."""
        actions = [(f"alert {c.alert_id}", c.change, c.by) for c in changes if c.by is not None]
        assert {change for _, change, _ in actions} <= OPERATOR_CHANGES
        assert Counter(actions) == Counter(
            (entry.subject, entry.action, entry.who) for entry in self.rows(audit)
        )

    def every_verdict_is_one_label(self, stored: dict[int, Row[Any]]) -> None:
        """One label, or one maintenance window, with the current interval of the episode."""
        expected = {
            f"alert {row.id}": (row.began_at, row.last_at, row.verdict == AlertVerdict.CONFIRM)
            for row in stored.values()
            if row.verdict in {AlertVerdict.CONFIRM, AlertVerdict.FALSE} and self.is_about_readings(row)
        }
        made = [(row.source, (row.start, row.end, row.anomalous)) for row in self.rows(labels)]
        assert len(made) == len(expected)
        assert dict(made) == expected
        works = [row.alert_id for row in self.rows(maintenance) if row.alert_id is not None]
        assert sorted(works) == [
            row.id
            for row in stored.values()
            if row.verdict == AlertVerdict.MAINTENANCE and self.is_about_readings(row)
        ]

    def is_about_readings(self, row: Row[Any]) -> bool:
        """An anomaly or a frozen instrument, but not a flood."""
        return row.subject != "flood" and (row.type == "ANOMALY" or row.subject == "frozen")


KILL = {"writes_left": 0}


def kill_at_chosen_write() -> None:
    """Count a write, and kill the block at the chosen one."""
    if KILL["writes_left"] == 1:
        KILL["writes_left"] = 0
        raise ProcessKilled
    KILL["writes_left"] = max(0, KILL["writes_left"] - 1)


@pytest.mark.fault(
    "watches, late readings, operator actions, maintenance, scripts and deliveries in any order, each killed "
    "at any write, and a clock that steps back",
    "at most one alert per topic, each history valid, each change notified and each action stored once",
)
def test_no_order_of_events_loses_or_duplicates_an_alert(monitored_fleet, monkeypatch):
    for channel in CHANNELS:
        monkeypatch.setenv(f"SAFEPLAN_CHANNEL_{channel.upper()}", f"json://127.0.0.1:1/{channel}")
    monitored_fleet.write_rules(
        budget={"flood_alerts": 3}, life={"forget_after": "PT2H", "escalate_danger": "PT20M"}
    )
    engine = monitored_fleet.workspace.engine
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *arguments: arguments[2][:6] in STATEMENTS and kill_at_chosen_write(),
    )
    event.listen(engine, "commit", lambda _: kill_at_chosen_write())
    AlertStateMachine.fleet = monitored_fleet

    run_state_machine_as_test(
        AlertStateMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
