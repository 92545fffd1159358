"""Killed between any two steps, watching and answering lose nothing and do nothing twice."""

import os
import signal
import warnings

import pytest
from sqlalchemy import event, select

from monitoring.alert_kinds import Judgement
from monitoring.alerts import judge
from monitoring.watching import watch_fleet
from tests.watched import moment, wander
from training.alert_tables import alert_changes, alerts, outbox
from training.database import labels, reading

STATEMENTS = ("INSERT", "UPDATE", "DELETE")


def in_a_life(work, *, die_at: int) -> bool:
    """Do the work in a process that is killed at its n-th statement or commit; whether it came to its end."""
    with warnings.catch_warnings():
        # Python 3.12 warns of threads that a fork leaves behind; none of theirs is ours to use.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
        return os.waitstatus_to_exitcode(status) == 0
    count = 0

    def step(*_) -> None:
        nonlocal count
        count += 1
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        engine = work.workspace.engine
        event.listen(engine, "before_cursor_execute", lambda *said: said[2][:6] in STATEMENTS and step())
        event.listen(engine, "commit", step)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001
        os._exit(3)


@pytest.fixture
def eventful(watched, monkeypatch):
    """Alerts open, worsen, return and repeat; two channels are told."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    monkeypatch.setenv("SAFEPLAN_CHANNEL_NIGHT", "json://127.0.0.1:1/")
    for name in ("PT-1", "PT-2", "TT-1"):
        watched.read(name, 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.7] * 10 + [0.9] * 10 + [0.1] * 20 + [0.7] * 20)
    watched.score("TT-1", 0, [0.1] * 20 + [0.7] * 20 + [0.1] * 20)
    return watched


def state(workspace):
    """Every alert, change, letter and label."""
    with reading(workspace.engine) as connection:
        return [
            connection.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in (alerts, alert_changes, outbox)
        ] + [connection.execute(select(labels.c.sensor_id, labels.c.start, labels.c.end)).all()]


class Fresh:
    """Work in a child process, on a connection of its own."""

    def __init__(self, plant, do):
        self.workspace = type(plant.workspace)(plant.home)
        vars(self.workspace)["fleet"] = plant.workspace.fleet
        self.do = do

    def __call__(self):
        self.do(self.workspace)


def killed_everywhere(plant, do, after_each=lambda: None):
    """How many lives it took, each dying one step later than the one before."""
    plant.workspace.engine.dispose()
    lives = 0
    while not in_a_life(Fresh(plant, do), die_at=lives + 1):
        lives += 1
        assert lives < 200
        after_each()
        plant.workspace.engine.dispose()
    return lives


def test_watching_killed_at_every_step(eventful):
    """What is kept of a change is the change, its alert and all its letters; in the end, each once."""

    def look(workspace):
        watch_fleet(workspace, workspace.fleet.match(()), now=moment(60))

    def nothing_by_halves():
        kept_alerts, changes, letters, _ = state(eventful.workspace)
        assert sum(row.revision for row in kept_alerts) == len(changes)
        assert len(letters) == 2 * len(changes)

    lives = killed_everywhere(eventful, look, nothing_by_halves)

    kept = state(eventful.workspace)[:3]
    changes = [row.change for row in kept[1]]
    assert lives > 10
    assert sorted(changes) == sorted(["opened", "worsened", "returned", "repeated", "opened", "returned"])
    letters = [(row.alert_id, row.revision, row.channel) for row in kept[2]]
    assert len(letters) == len(set(letters)) == 2 * len(changes)

    with eventful.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches", "outbox", "sqlite_sequence"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    eventful.watch(60)
    assert state(eventful.workspace)[:3] == kept, "one life would have left something else"


def test_a_verdict_killed_at_every_step(eventful):
    eventful.watch(60)
    alert = eventful.alerts("PT-1")[0]

    def say(workspace):
        judge(workspace, alert.id, Judgement.FALSE, by="Ana", now=moment(61))

    lives = killed_everywhere(eventful, say)

    _, changes, letters, labelled = state(eventful.workspace)
    assert lives >= 4
    assert [row.change for row in changes].count("judged") == 1
    assert [row.message["change"] for row in letters].count("judged") == 2
    assert len(labelled) == 1
