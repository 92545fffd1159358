"""Alerts in any order: readings that come, come late or stay away, looks, answers, scripts, work, deliveries.

Any of them may die at any write, and the clock steps back now and then. What must hold is told once more from
the tables alone: each life can be lived, each change is told once, each answer is in the audit, each verdict
is one label.
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
ANSWERS = {AlertChange.ACKNOWLEDGED, AlertChange.SHELVED, AlertChange.UNSHELVED, AlertChange.JUDGED}
# From where each change may come, and where it leads; None: it stays where it is.
MOVES: dict[AlertChange, tuple[set[AlertState | None], AlertState | None]] = {
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


class ProcessDied(BaseException):
    """The process is gone; nothing of it may catch this."""


class StoredMessage(NamedTuple):
    """One change that one channel is to be told of."""

    alert_id: int
    revision: int
    channel: str


class MessageRecorder:
    """A carrier that keeps what it took, and takes nothing while it is closed."""

    def __init__(self) -> None:
        self.open = True
        self.taken: list[StoredMessage] = []

    def carry(self, message: Any, address: str) -> None:
        """Take it, or refuse."""
        if not self.open:
            raise DeliveryRefused("closed")
        channel = address.rstrip("/").rpartition("/")[2]
        self.taken.append(StoredMessage(message["alert_id"], message["number"], channel))


class AnomalyMark(NamedTuple):
    """A stretch of odd readings that came in time and nothing explains: it must become an alert."""

    sensor_id: str
    start: datetime
    end: datetime


def deaths(most: int) -> st.SearchStrategy[int]:
    """Before which write to die; every second time, before none."""
    return st.one_of(st.just(0), st.integers(1, most))


class AlertStateMachine(RuleBasedStateMachine):
    """Three sensors on two platforms, under everything that a plant, people, time and crashes do."""

    plant: MonitoredFleet

    def __init__(self) -> None:
        super().__init__()
        self.engine = self.plant.workspace.engine
        self.clock = NOON
        self.back = timedelta(0)
        self.late: list[tuple[str, datetime, int, float]] = []
        self.odd: list[AnomalyMark] = []
        self.quiet = dict.fromkeys(SENSORS, NOON)  # until when somebody may work there
        self.hand = MessageRecorder()
        self.expected: set[StoredMessage] = set()
        self.before: dict[int, Row[Any]] = {}
        self.told: list[tuple[Any, ...]] = []
        self.again = 0  # messages that may have come twice: one a death

    @initialize()
    def empty(self) -> None:
        """Nothing is left of the run before; every sensor has spoken for an hour."""
        with self.engine.begin() as connection:
            for table in TABLES:
                connection.execute(table.delete())
        for name in SENSORS:
            self.plant.workspace.readings.ingest(self.frame(name, NOON - HOUR, 60))

    @rule(
        minutes=st.integers(1, 60),
        scores=st.tuples(*(st.sampled_from([None, 0.1, 0.7, 0.9]) for _ in SENSORS)),
        late=st.booleans(),
        watched=st.booleans(),
    )
    def time_passes(
        self, minutes: int, scores: tuple[float | None, ...], *, late: bool, watched: bool
    ) -> None:
        """Each sensor speaks as usual, oddly or dangerously, or says nothing; some of it comes later."""
        begin, self.clock = self.clock, self.clock + minutes * MINUTE
        for name, score in zip(SENSORS, scores, strict=True):
            if score is None:
                continue
            if late and score > 0.5:
                self.late.append((name, begin, minutes, score))
                continue
            self.arrive(name, begin, minutes, score)
            if score > 0.5 and minutes > 6 and begin >= self.quiet[name]:
                self.odd.append(AnomalyMark(name, begin, self.clock))
        if watched:
            self.look(0)

    @rule(hours=st.integers(1, 3))
    def all_is_calm(self, hours: int) -> None:
        """For hours, so that alerts return and are closed."""
        self.time_passes(60 * hours, (0.1,) * len(SENSORS), late=False, watched=True)

    @precondition(lambda self: self.late)
    @rule()
    def late_readings_come(self) -> None:
        """What was held back on its way."""
        while self.late:
            self.arrive(*self.late.pop())

    def arrive(self, name: str, begin: datetime, minutes: int, score: float) -> None:
        """Readings with their scores."""
        self.plant.workspace.readings.ingest(self.frame(name, begin, minutes))
        self.plant.score(name, (begin - NOON) / MINUTE, [score] * minutes)

    def frame(self, name: str, begin: datetime, minutes: int) -> pd.DataFrame:
        """Readings, one a minute."""
        times = [begin + place * MINUTE for place in range(minutes)]
        values = noisy_values(minutes, seed=minutes)
        return pd.DataFrame({"sensor_id": name, "timestamp": times, "value": values, "data_quality": 0})

    @rule(die_at=deaths(12))
    def look(self, die_at: int) -> None:
        """The watch, which may die at any write; a whole one misses nothing."""
        with self.dying(die_at) as whole:
            self.watch()
        if not whole:
            return
        left = []
        for one in self.odd:
            if one.end > self.now:
                left.append(one)
            else:
                assert self.raised(one), f"{one} became no alert"
        self.odd = left

    @rule()
    def look_twice(self) -> None:
        """A second look at the same moment changes nothing."""
        self.look(0)
        self.account()
        before = self.state()
        self.watch()
        assert self.state() == before

    @rule(back=st.booleans())
    def clock_steps(self, back: bool) -> None:
        """An hour back, and forwards again."""
        self.back = HOUR if back else timedelta(0)

    def watch(self) -> None:
        """Look at all sensors."""
        outcomes = watch_fleet(self.plant.workspace, self.plant.workspace.fleet.match(()), now=self.now)
        assert [one.error for one in outcomes if one.failed] == []

    def raised(self, one: AnomalyMark) -> bool:
        """Whether some alert is about that stretch."""
        return any(
            row.type == "ANOMALY" and row.sensor_id == one.sensor_id and row.last_at >= one.start
            for row in self.rows(alerts)
        )

    @rule(name=st.sampled_from(SENSORS), severity=st.sampled_from(list(Severity)), die_at=deaths(6))
    def script_says(self, name: str, severity: Severity, die_at: int) -> None:
        """A script raises an alert."""
        engine = AlertEngine(self.plant.workspace, clock=lambda: self.now.replace(tzinfo=UTC))
        with self.dying(die_at):
            engine.create_alert(name, int(severity), notes="said")

    @precondition(lambda self: self.before)
    @rule(
        place=st.integers(0, 5),
        what=st.sampled_from(["acknowledge", "shelve", "shelve", "unshelve", *AlertVerdict]),
        minutes=st.integers(1, 90),
        note=st.sampled_from([None, "seen"]),
        die_at=deaths(8),
    )
    def answer(self, place: int, what: str, minutes: int, note: str | None, die_at: int) -> None:
        """Somebody answers any alert there is, or is told why that is no answer to it."""
        known = sorted(self.before)
        where = self.plant.workspace, known[-1 - place % len(known)]
        by: dict[str, Any] = {"by": "Ana", "now": self.now}
        with self.dying(die_at), suppress(ConfigurationError):
            if what == "acknowledge":
                acknowledge(*where, **by)
            elif what == "shelve":
                shelve(*where, self.now + minutes * MINUTE, **by)
            elif what == "unshelve":
                unshelve(*where, **by)
            else:
                set_verdict(*where, AlertVerdict(what), note=note, **by)

    @rule(name=st.sampled_from(SENSORS), begin=st.integers(-30, 30), minutes=st.integers(1, 60))
    def work(self, name: str, begin: int, minutes: int) -> None:
        """Somebody works on a sensor."""
        start = self.now + begin * MINUTE
        planned = MaintenanceWindow(start, start + minutes * MINUTE, "gasket", "Ana", sensor_id=name)
        kept = add_maintenance(self.plant.workspace, planned, now=self.now)
        self.odd = [one for one in self.odd if one.sensor_id != name]
        if minutes % 2:
            assert kept.id is not None
            cancel_maintenance(self.plant.workspace, kept.id)
        else:
            self.quiet[name] = max(self.quiet[name], planned.end)

    @rule(takes=st.booleans(), die_at=deaths(6))
    def deliver(self, takes: bool, die_at: int) -> None:
        """A round of delivery, to channels that take or refuse."""
        self.hand.open = takes
        with self.dying(die_at) as whole:
            for wait in (timedelta(0), HOUR):  # what was taken is not due again
                at = self.now + wait
                deliver(self.plant.workspace, clock=lambda at=at: at, sender=self.hand)
        self.again += not whole

    @rule()
    def tidy(self) -> None:
        """What was sent is forgotten."""
        Outbox(self.engine).delete_sent_before(self.now)

    @property
    def now(self) -> datetime:
        """What the machine's clock says."""
        return self.clock - self.back

    @contextmanager
    def dying(self, at: int) -> Iterator[list[bool]]:
        """Die before the n-th write or commit of the block; the list says whether it came to its end."""
        whole: list[bool] = []
        DEATH["left"] = at
        try:
            yield whole
            whole.append(True)
        except ProcessDied:
            # What a dead process held is free at once; this one only plays dead.
            with self.engine.begin() as connection:
                connection.execute(leases.delete())
        finally:
            DEATH["left"] = 0

    def rows(self, table: Any) -> list[Row[Any]]:
        """A table, in its order."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key.columns)))

    def state(self) -> list[list[Row[Any]]]:
        """All that is kept of alerts."""
        return [self.rows(table) for table in (alerts, alert_changes, outbox, audit)]

    @invariant()
    def account(self) -> None:
        """Everything, after every step."""
        kept = {row.id: row for row in self.rows(alerts)}
        changes = self.rows(alert_changes)
        self.nothing_is_rewritten(kept, changes)
        self.at_most_one_lives(kept)
        self.every_life_can_be_lived(kept, changes)
        self.every_change_is_told_once(kept, changes)
        self.every_answer_is_in_the_audit(changes)
        self.every_verdict_teaches_once(kept)
        self.before = kept

    def nothing_is_rewritten(self, kept: dict[int, Row[Any]], changes: list[Row[Any]]) -> None:
        """No alert is gone, none that was closed lives again, and no change that was kept is another."""
        assert set(self.before) <= set(kept)
        closed = {number for number, row in self.before.items() if row.state == AlertState.CLOSED}
        assert all(kept[number].state == AlertState.CLOSED for number in closed)
        reported = [tuple(row) for row in changes]
        assert set(self.told) <= set(reported)
        self.told = reported

    def at_most_one_lives(self, kept: dict[int, Row[Any]]) -> None:
        """Of one topic."""
        alive = Counter(
            (row.type, row.sensor_id, row.subject) for row in kept.values() if row.state != AlertState.CLOSED
        )
        assert max(alive.values(), default=1) == 1

    def every_life_can_be_lived(self, kept: dict[int, Row[Any]], changes: list[Row[Any]]) -> None:
        """Along allowed edges, in order of time, to where the alert stands; shelving is in it as well."""
        for number, row in kept.items():
            life = [change for change in changes if change.alert_id == number]
            assert [change.revision for change in life] == list(range(1, row.revision + 1))
            assert [change.at for change in life] == sorted(change.at for change in life)
            state, shelved = None, False
            for change in map(AlertChange, (change.change for change in life)):
                sources, target = MOVES[change]
                assert state in sources, f"{change} from {state}"
                state = target or state
                shelved = (shelved or change is AlertChange.SHELVED) and change is not AlertChange.UNSHELVED
            assert (row.state, row.shelved_until is not None) == (state, shelved)
            assert not (shelved and state is AlertState.CLOSED)

    def every_change_is_told_once(self, kept: dict[int, Row[Any]], changes: list[Row[Any]]) -> None:
        """To each channel, unless it is shelved or a flood that lives stands for it; and nothing else is."""
        shelved: dict[int, bool] = {}
        for change in changes:
            row, what = kept[change.alert_id], AlertChange(change.change)
            quiet = shelved.get(row.id, False) and what is not AlertChange.UNSHELVED
            shelved[row.id] = (quiet or what is AlertChange.SHELVED) and what is not AlertChange.UNSHELVED
            before = self.before.get(row.id)
            if before is not None and change.revision <= before.revision:
                continue
            gathered = row.group_id is not None and change.severity < Severity.CRITICAL
            if gathered and row.state != AlertState.CLOSED:
                assert kept[row.group_id].state != AlertState.CLOSED, (
                    f"{what} of alert {row.id} is told to nobody"
                )
            if (quiet and what is not AlertChange.SHELVED) or gathered:
                continue
            self.expected |= {StoredMessage(row.id, change.revision, channel) for channel in CHANNELS}
        waiting = [
            (StoredMessage(r.alert_id, r.revision, r.channel), r.sent_at is not None)
            for r in self.rows(outbox)
        ]
        taken = Counter(self.hand.taken)
        assert len(waiting) == len({letter for letter, _ in waiting})
        assert {letter for letter, _ in waiting} | set(taken) == self.expected
        assert {letter for letter, sent in waiting if sent} <= set(taken)
        assert sum(taken.values()) - len(taken) <= self.again
        for letter in taken:
            first = [one for one in dict.fromkeys(self.hand.taken) if one[::2] == letter[::2]]
            assert first == sorted(first)

    def every_answer_is_in_the_audit(self, changes: list[Row[Any]]) -> None:
        """With who gave it; what time alone did is nobody's."""
        answers = [(f"alert {c.alert_id}", c.change, c.by) for c in changes if c.by is not None]
        assert {change for _, change, _ in answers} <= ANSWERS
        assert Counter(answers) == Counter((d.subject, d.action, d.who) for d in self.rows(audit))

    def every_verdict_teaches_once(self, kept: dict[int, Row[Any]]) -> None:
        """One label, or one stretch of work, of the episode as it is known now."""
        said = {
            f"alert {row.id}": (row.began_at, row.last_at, row.verdict == AlertVerdict.CONFIRM)
            for row in kept.values()
            if row.verdict in {AlertVerdict.CONFIRM, AlertVerdict.FALSE} and self.is_about_readings(row)
        }
        learned = [(row.source, (row.start, row.end, row.anomalous)) for row in self.rows(labels)]
        assert len(learned) == len(said)
        assert dict(learned) == said
        works = [row.alert_id for row in self.rows(maintenance) if row.alert_id is not None]
        assert sorted(works) == [
            row.id
            for row in kept.values()
            if row.verdict == AlertVerdict.MAINTENANCE and self.is_about_readings(row)
        ]

    def is_about_readings(self, row: Row[Any]) -> bool:
        """An anomaly or a frozen instrument, and no flood."""
        return row.subject != "flood" and (row.type == "ANOMALY" or row.subject == "frozen")


DEATH = {"left": 0}


def die_or_continue() -> None:
    """One write further."""
    if DEATH["left"] == 1:
        DEATH["left"] = 0
        raise ProcessDied
    DEATH["left"] = max(0, DEATH["left"] - 1)


@pytest.mark.fault(
    "looks, late readings, answers, work, scripts and deliveries in any order, each cut off at any write, "
    "and a clock that steps back",
    "one alert a topic at most, each life one that can be lived, each change told and each answer kept once",
)
def test_any_order_loses_and_doubles_no_alert(monitored_fleet, monkeypatch):
    for channel in CHANNELS:
        monkeypatch.setenv(f"SAFEPLAN_CHANNEL_{channel.upper()}", f"json://127.0.0.1:1/{channel}")
    monitored_fleet.rule(
        budget={"flood_alerts": 3}, life={"forget_after": "PT2H", "escalate_danger": "PT20M"}
    )
    engine = monitored_fleet.workspace.engine
    event.listen(
        engine, "before_cursor_execute", lambda *said: said[2][:6] in STATEMENTS and die_or_continue()
    )
    event.listen(engine, "commit", lambda _: die_or_continue())
    AlertStateMachine.plant = monitored_fleet

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
