"""Killed at any write, watch, verdict, delivery and schedule lose and duplicate nothing."""

import itertools
import threading
import time
from datetime import timedelta

import pytest
from apprise import Apprise
from sqlalchemy import select

from monitoring.alerts.kinds import AlertVerdict
from monitoring.notify.delivery import deliver
from monitoring.schedule.job_run_store import RunStatus
from monitoring.schedule.job_runner import JobRunner
from monitoring.schedule.settings import JobName, JobRule, ScheduleSettings
from monitoring.watch.operator_actions import set_verdict
from monitoring.watch.watcher import watch_fleet
from tests.support.killed_process import kill_at_every_write, run_killed
from tests.support.message_receiver import MessageReceiver, Reply
from tests.support.monitored_fleet import minutes_after_noon, stored_state, waiting_messages
from training.registry.audit import entries
from training.storage.alert_tables import job_runs
from training.storage.database import reading


@pytest.mark.fault(
    "kill -9 at each write of a watch", "each change, its alert and its messages are there once"
)
def test_a_watch_killed_at_every_write(alerting_fleet, record_losses):
    """A change, its alert and its messages are stored together; in the end, each once."""

    def watch(workspace):
        watch_fleet(workspace, workspace.fleet.match(()), now=minutes_after_noon(60))

    def check():
        stored_alerts, changes, messages, _ = stored_state(alerting_fleet.workspace)
        assert sum(row.revision for row in stored_alerts) == len(changes)
        assert len(messages) == 2 * len(changes)

    killed = kill_at_every_write(alerting_fleet.workspace, watch, check)

    stored = stored_state(alerting_fleet.workspace)[:3]
    changes = [row.change for row in stored[1]]
    assert killed > 10
    assert sorted(changes) == sorted(["opened", "worsened", "returned", "repeated", "opened", "returned"])
    messages = [(row.alert_id, row.revision, row.channel) for row in stored[2]]
    record_losses(lost=2 * len(changes) - len(messages), doubled=len(messages) - len(set(messages)))

    with alerting_fleet.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches", "outbox", "sqlite_sequence"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    alerting_fleet.watch(60)
    assert stored_state(alerting_fleet.workspace)[:3] == stored, (
        "an uninterrupted watch stores something else"
    )


@pytest.mark.fault(
    "kill -9 at each write of a verdict",
    "the verdict, its label, its entry in the audit and its messages are there once",
)
def test_a_verdict_killed_at_every_write(alerting_fleet):
    alerting_fleet.watch(60)
    alert = alerting_fleet.alerts("PT-1")[0]

    def judge(workspace):
        set_verdict(workspace, alert.id, AlertVerdict.FALSE, by="Ana", now=minutes_after_noon(61))

    killed = kill_at_every_write(alerting_fleet.workspace, judge)

    _, changes, messages, labelled = stored_state(alerting_fleet.workspace)
    assert killed >= 4
    assert [row.change for row in changes].count("judged") == 1
    assert [row.message["change"] for row in messages].count("judged") == 2
    assert len(labelled) == 1
    assert [(entry.who, entry.action) for entry in entries(alerting_fleet.workspace.engine)] == [
        ("Ana", "judged")
    ]


@pytest.mark.fault(
    "kill -9 at each write of the outbox",
    "every message arrives, in order; one accepted just before the kill arrives again with the same id",
)
def test_a_delivery_killed_at_every_write(alerting_fleet, monkeypatch, record_losses):
    """Each process has its own hour, since an interrupted attempt is not retried at once."""
    monkeypatch.delenv("SAFEPLAN_CHANNEL_NIGHT")
    Apprise().add("json://127.0.0.1:1/")  # loads all plugins once instead of in every child process
    with MessageReceiver(itertools.repeat(Reply.ACCEPT)) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        alerting_fleet.watch(60)
        expected = stored_state(alerting_fleet.workspace)[2]

        def send(workspace):
            deliver(workspace, clock=lambda: minutes_after_noon(60 + 16 * hour))

        threads = threading.active_count()
        for hour in itertools.count(1):
            # A fork must not copy a lock that the receiver holds.
            while threading.active_count() > threads:
                time.sleep(0.01)
            completed = run_killed(alerting_fleet.workspace, send, kill_at=hour)
            if completed and not waiting_messages(alerting_fleet.workspace):
                break
            assert hour < 100

    arrived = [message["id"] for message in receiver.accepted]
    sent = {row.message["id"]: row.alert_id for row in expected if row.channel == "room"}
    assert hour > 10
    for alert in set(sent.values()):
        in_order = [message for message in dict.fromkeys(arrived) if sent[message] == alert]
        assert in_order == [message for message in sent if sent[message] == alert]
    record_losses(lost=len(sent.keys() - set(arrived)), doubled=len(set(arrived) - sent.keys()))


@pytest.mark.fault(
    "kill -9 at each write of the schedule", "each due time runs at most once; an interrupted run is marked"
)
def test_a_schedule_killed_at_every_write(workspace, monkeypatch, record_losses):
    """Each process is due a minute later than the one before, and is killed one write later."""
    done = workspace.home / "done.txt"

    def run_inline(self, job, timeout):
        with done.open("a") as file:
            file.write(f"{self.clock():%H:%M}\n")
        return RunStatus.DONE, "counted"

    monkeypatch.setattr(JobRunner, "_run_in_process", run_inline)
    settings = ScheduleSettings(detect=JobRule(cron="* * * * *", timeout=timedelta(minutes=1)))

    def run_due(workspace):
        JobRunner(workspace, settings, clock=lambda: minutes_after_noon(minute)).run_due(JobName.DETECT)

    minute = 1
    while not run_killed(workspace, run_due, kill_at=minute):
        minute += 1
        assert minute < 50

    with reading(workspace.engine) as connection:
        rows = connection.execute(select(job_runs.c.due_at, job_runs.c.status)).all()
    ran = done.read_text().split()
    claimed = {f"{row.due_at:%H:%M}" for row in rows}
    assert minute > 6
    assert {row.status for row in rows} <= {"done", "cut off"}
    assert [row.status for row in rows if row.due_at == minutes_after_noon(minute)] == ["done"]
    record_losses(lost=len(set(ran) - claimed), doubled=len(ran) - len(set(ran)))
