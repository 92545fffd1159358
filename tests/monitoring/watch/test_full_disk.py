"""A full disk during a watch or delivery: no change without its messages, and each arrives once."""

import itertools
import resource

import pytest
from sqlalchemy import event

from monitoring.notify.delivery import deliver
from monitoring.watch.watcher import watch_fleet
from tests.support.killed_process import run_killed
from tests.support.message_receiver import MessageReceiver, Reply
from tests.support.monitored_fleet import minutes_after_noon, stored_state, waiting_messages
from training.errors import StoreError


@pytest.mark.fault(
    "a full disk at each page that a watch writes",
    "a clear message; no change is stored without its alert and its messages, and the next watch adds all",
)
def test_a_disk_that_fills_up_during_a_watch(alerting_fleet, record_losses):
    workspace = alerting_fleet.workspace
    engine = workspace.engine
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    @event.listens_for(engine, "checkout")
    def limit(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {pages}")

    refusals = []
    for _ in range(200):
        try:
            watch_fleet(workspace, workspace.fleet.match(()), now=minutes_after_noon(60))
            break
        except StoreError as error:
            refusals.append(str(error))
        stored_alerts, changes, messages, _ = stored_state(alerting_fleet.workspace)
        assert sum(row.revision for row in stored_alerts) == len(changes)
        assert len(messages) == 2 * len(changes)
        pages += 1

    _, changes, messages, _ = stored_state(alerting_fleet.workspace)
    assert len(refusals) >= 2
    assert all("full" in error and "Free some disk space" in error for error in refusals), refusals
    assert sorted(row.change for row in changes) == sorted(
        ["opened", "worsened", "returned", "repeated", "opened", "returned"]
    )
    written = [(row.alert_id, row.revision, row.channel) for row in messages]
    record_losses(lost=2 * len(changes) - len(set(written)), doubled=len(written) - len(set(written)))


@pytest.mark.fault(
    "a full disk while messages are delivered",
    "nothing is sent that cannot be recorded; with free space again, every message arrives once",
)
def test_a_disk_that_fills_up_during_a_delivery(alerting_fleet, monkeypatch, record_losses):
    """No file of the delivering process can grow: neither the database nor its journal."""
    monkeypatch.delenv("SAFEPLAN_CHANNEL_NIGHT")
    with MessageReceiver(itertools.repeat(Reply.ACCEPT)) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        alerting_fleet.watch(60)
        expected = [
            row.message["id"] for row in stored_state(alerting_fleet.workspace)[2] if row.channel == "room"
        ]

        def send(workspace):
            assert workspace.engine
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            (result,) = deliver(workspace, clock=lambda: minutes_after_noon(61))
            assert result.sent == 0
            assert "disk" in str(result.error)

        assert run_killed(alerting_fleet.workspace, send, kill_at=0)
        assert receiver.accepted == []

        deliver(alerting_fleet.workspace, clock=lambda: minutes_after_noon(62))

    arrived = [message["id"] for message in receiver.accepted]
    assert waiting_messages(alerting_fleet.workspace) == []
    record_losses(lost=len(set(expected) - set(arrived)), doubled=len(arrived) - len(set(arrived)))
