"""A full disk while alerts are raised and told: no change without its messages, and each arrives once."""

import itertools
import resource

import pytest
from sqlalchemy import event

from monitoring.notify.delivery import deliver
from monitoring.watch.watcher import watch_fleet
from tests.monitoring.notify.test_delivery import MessageReceiver
from tests.monitoring.watch.test_watch_crashes import FreshInstallation, alerting_fleet, in_a_life, state, waiting  # noqa: F401 (fixture)
from tests.support.monitored_fleet import minutes_after_noon
from training.errors import StoreError


@pytest.mark.fault(
    "a full disk at each page that a look for alerts writes",
    "one clear line; no change is kept without its alert and its messages, and the next look adds all",
)
def test_a_disk_that_fills_up_in_a_look_for_alerts(alerting_fleet, record_losses):  # noqa: F811
    engine = alerting_fleet.workspace.engine
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    @event.listens_for(engine, "checkout")
    def limit(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {pages}")

    refusals = []
    for _ in range(200):
        try:
            watch_fleet(alerting_fleet.workspace, alerting_fleet.workspace.fleet.match(()), now=minutes_after_noon(60))
            break
        except StoreError as error:
            refusals.append(str(error))
        kept_alerts, changes, letters, _ = state(alerting_fleet.workspace)
        assert sum(row.revision for row in kept_alerts) == len(changes)
        assert len(letters) == 2 * len(changes)
        pages += 1

    _, changes, letters, _ = state(alerting_fleet.workspace)
    assert len(refusals) >= 2
    assert all("full" in told and "Free some disk space" in told for told in refusals), refusals
    assert sorted(row.change for row in changes) == sorted(
        ["opened", "worsened", "returned", "repeated", "opened", "returned"]
    )
    reported = [(row.alert_id, row.revision, row.channel) for row in letters]
    record_losses(lost=2 * len(changes) - len(set(reported)), doubled=len(reported) - len(set(reported)))


@pytest.mark.fault(
    "a full disk while messages are delivered",
    "nothing is sent that could not be noted; with room again, every message arrives once",
)
def test_a_disk_that_fills_up_in_a_delivery(alerting_fleet, monkeypatch, record_losses):  # noqa: F811
    """No file of the process that delivers may grow: neither the database nor its journal."""
    monkeypatch.delenv("SAFEPLAN_CHANNEL_NIGHT")
    with MessageReceiver(itertools.repeat("takes")) as receiver:
        monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", receiver.address)
        alerting_fleet.watch(60)
        expected = [row.message["id"] for row in state(alerting_fleet.workspace)[2] if row.channel == "room"]

        def send(workspace):
            assert workspace.engine
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            (result,) = deliver(workspace, clock=lambda: minutes_after_noon(61))
            assert result.sent == 0
            assert "disk" in str(result.error)

        alerting_fleet.workspace.engine.dispose()
        assert in_a_life(FreshInstallation(alerting_fleet, send), die_at=0)
        assert receiver.taken == []

        deliver(alerting_fleet.workspace, clock=lambda: minutes_after_noon(62))

    arrived = [message["id"] for message in receiver.taken]
    assert waiting(alerting_fleet.workspace) == []
    record_losses(lost=len(set(expected) - set(arrived)), doubled=len(arrived) - len(set(arrived)))
