"""Killed between any two steps, watching, answering, delivering and scheduling lose and double nothing."""

import itertools
import os
import signal
import threading
import time
import warnings
from datetime import timedelta

import pytest
from apprise import Apprise
from sqlalchemy import event, select

from monitoring.alerts.kinds import AlertVerdict
from monitoring.notify.delivery import deliver
from monitoring.schedule.job_process import JobRunner
from monitoring.schedule.job_runs import RunStatus
from monitoring.schedule.settings import JobName, JobRule, ScheduleSettings
from monitoring.watch.operator_actions import set_verdict
from monitoring.watch.watcher import watch_fleet
from tests.monitoring.notify.test_delivery import MessageReceiver
from tests.support.monitored_fleet import minutes_after_noon, noisy_values
from training.registry.audit import entries
from training.storage.alert_tables import alert_changes, alerts, job_runs, outbox
from training.storage.database import labels, reading

STATEMENTS = ("INSERT", "UPDATE", "DELETE")


def in_a_life(work, *, die_at: int, statements: bool = True) -> bool:
    """Do the work in a process that is killed at its n-th statement or commit; whether it came to its end.

    Without `statements` only commits count: what was not committed is as if it had never been.
    """
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
        if statements:
            event.listen(engine, "before_cursor_execute", lambda *said: said[2][:6] in STATEMENTS and step())
        event.listen(engine, "commit", step)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001
        os._exit(3)


@pytest.fixture
def alerting_fleet(monitored_fleet, monkeypatch):
    """Alerts open, worsen, return and repeat; two channels are told."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    monkeypatch.setenv("SAFEPLAN_CHANNEL_NIGHT", "json://127.0.0.1:1/")
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 10 + [0.9] * 10 + [0.1] * 20 + [0.7] * 20)
    monitored_fleet.score("TT-1", 0, [0.1] * 20 + [0.7] * 20 + [0.1] * 20)
    return monitored_fleet


def state(workspace):
    """Every alert, change, letter and label."""
    with reading(workspace.engine) as connection:
        return [
            connection.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in (alerts, alert_changes, outbox)
        ] + [connection.execute(select(labels.c.sensor_id, labels.c.start, labels.c.end)).all()]


class FreshInstallation:
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
    while not in_a_life(FreshInstallation(plant, do), die_at=lives + 1):
        lives += 1
        assert lives < 200
        after_each()
        plant.workspace.engine.dispose()
    return lives


@pytest.mark.fault(
    "kill -9 at each write of a look for alerts", "each change, its alert and its messages are there once"
)
def test_watching_killed_at_every_step(alerting_fleet, record_losses):
    """What is kept of a change is the change, its alert and all its letters; in the end, each once."""

    def look(workspace):
        watch_fleet(workspace, workspace.fleet.match(()), now=minutes_after_noon(60))

    def nothing_by_halves():
        kept_alerts, changes, letters, _ = state(alerting_fleet.workspace)
        assert sum(row.revision for row in kept_alerts) == len(changes)
        assert len(letters) == 2 * len(changes)

    lives = killed_everywhere(alerting_fleet, look, nothing_by_halves)

    kept = state(alerting_fleet.workspace)[:3]
    changes = [row.change for row in kept[1]]
    assert lives > 10
    assert sorted(changes) == sorted(["opened", "worsened", "returned", "repeated", "opened", "returned"])
    letters = [(row.alert_id, row.revision, row.channel) for row in kept[2]]
    record_losses(lost=2 * len(changes) - len(letters), doubled=len(letters) - len(set(letters)))

    with alerting_fleet.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches", "outbox", "sqlite_sequence"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    alerting_fleet.watch(60)
    assert state(alerting_fleet.workspace)[:3] == kept, "one life would have left something else"


@pytest.mark.fault(
    "kill -9 at each write of a verdict",
    "the verdict, its label, its entry in the audit and its messages are there once",
)
def test_a_verdict_killed_at_every_step(alerting_fleet):
    alerting_fleet.watch(60)
    alert = alerting_fleet.alerts("PT-1")[0]

    def say(workspace):
        set_verdict(workspace, alert.id, AlertVerdict.FALSE, by="Ana", now=minutes_after_noon(61))

    lives = killed_everywhere(alerting_fleet, say)

    _, changes, letters, labelled = state(alerting_fleet.workspace)
    assert lives >= 4
    assert [row.change for row in changes].count("judged") == 1
    assert [row.message["change"] for row in letters].count("judged") == 2
    assert len(labelled) == 1
    assert [(deed.who, deed.action) for deed in entries(alerting_fleet.workspace.engine)] == [
        ("Ana", "judged")
    ]


@pytest.mark.fault(
    "kill -9 at each write of the outbox",
    "every message arrives, in order; one taken just before the death comes again under the same id",
)
def test_delivery_killed_at_every_step(alerting_fleet, monkeypatch, record_losses):
    """Each life has its own hour: an attempt that was cut off is not tried again at once."""
    monkeypatch.delenv("SAFEPLAN_CHANNEL_NIGHT")
    Apprise().add("json://127.0.0.1:1/")  # it reads all its plugins at first, which each life would do again
    with MessageReceiver(itertools.repeat("takes")) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        alerting_fleet.watch(60)
        expected = state(alerting_fleet.workspace)[2]

        def send(workspace):
            deliver(workspace, clock=lambda: minutes_after_noon(60 + 16 * hour))

        alerting_fleet.workspace.engine.dispose()
        threads = threading.active_count()
        for hour in itertools.count(1):
            while (
                threading.active_count() > threads
            ):  # a fork must not catch the receiver with a lock in hand
                time.sleep(0.01)
            if in_a_life(FreshInstallation(alerting_fleet, send), die_at=hour) and not waiting(
                alerting_fleet.workspace
            ):
                break
            alerting_fleet.workspace.engine.dispose()
            assert hour < 100

    arrived = [message["id"] for message in receiver.taken]
    sent = {row.message["id"]: row.alert_id for row in expected if row.channel == "room"}
    assert hour > 10
    for alert in set(sent.values()):
        in_order = [one for one in dict.fromkeys(arrived) if sent[one] == alert]
        assert in_order == [one for one in sent if sent[one] == alert]
    record_losses(lost=len(sent.keys() - set(arrived)), doubled=len(set(arrived) - sent.keys()))


def waiting(workspace):
    with reading(workspace.engine) as connection:
        return connection.execute(select(outbox.c.id).where(outbox.c.sent_at.is_(None))).all()


@pytest.mark.fault(
    "kill -9 at each write of the schedule", "each due time is run once at most; what was cut off is said so"
)
def test_a_schedule_killed_at_every_step(workspace, monkeypatch, record_losses):
    """Each life is due a minute later than the one before, and dies one step later."""
    done = workspace.home / "done.txt"

    def inline(self, job, timeout):
        with done.open("a") as file:
            file.write(f"{self.clock():%H:%M}\n")
        return RunStatus.DONE, "counted"

    monkeypatch.setattr(JobRunner, "_run_in_process", inline)
    settings = ScheduleSettings(detect=JobRule(cron="* * * * *", timeout=timedelta(minutes=1)))

    def run_due(workspace):
        JobRunner(workspace, settings, clock=lambda: minutes_after_noon(life)).run_due(JobName.DETECT)

    trained_workspace = type("Plant", (), {"workspace": workspace, "home": workspace.home})
    vars(workspace)["fleet"] = workspace.fleet
    workspace.engine.dispose()
    for life in itertools.count(1):
        whole = in_a_life(FreshInstallation(trained_workspace, run_due), die_at=life)
        workspace.engine.dispose()
        if whole:
            break
        assert life < 50

    with reading(workspace.engine) as connection:
        rows = connection.execute(select(job_runs.c.due_at, job_runs.c.status)).all()
    ran = done.read_text().split()
    claimed = {f"{row.due_at:%H:%M}" for row in rows}
    assert life > 6
    assert {row.status for row in rows} <= {"done", "cut off"}
    assert [row.status for row in rows if row.due_at == minutes_after_noon(life)] == ["done"]
    record_losses(lost=len(set(ran) - claimed), doubled=len(ran) - len(set(ran)))
