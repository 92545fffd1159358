"""An alarm flood is one message that names the first alert; critical alerts are notified nevertheless."""

import pytest

from monitoring.alerts.kinds import AlertState
from monitoring.notify.outbox import Outbox
from monitoring.watch.operator_actions import acknowledge, find_alert
from tests.support.monitored_fleet import minutes_after_noon, noisy_values


@pytest.fixture
def many_sensors(monitored_fleet, monkeypatch):
    """Twelve sensors on one platform, and a channel that is notified of everything."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    names = [f"S-{number:02d}" for number in range(12)]
    monitored_fleet.describe({name: {"platform": "P-9", "critical_high": 30} for name in names})
    for seed, name in enumerate(names):
        monitored_fleet.read(name, 0, noisy_values(60, seed=seed))
    return monitored_fleet


def raise_alerts(fleet, count, *, first="S-07"):
    """Store high scores of several sensors from two minutes after noon on; of the first from noon on."""
    for number in range(count):
        name = f"S-{number:02d}"
        delay = 0 if name == first else 2
        fleet.score(name, 0, [0.1] * delay + [0.7] * (30 - delay) + [0.1] * 30)


def queued_messages(fleet):
    return [
        (queued.message["alert_id"], queued.message["change"], queued.message["severity"])
        for queued in Outbox(fleet.workspace.engine).waiting("room")
    ]


def flood_of(fleet):
    (result,) = [alert for alert in fleet.alerts() if alert.topic.subject == "flood"]
    return result


def test_ten_alerts_at_once_are_one_message_that_names_the_first(many_sensors):
    raise_alerts(many_sensors, 12)

    many_sensors.watch(10, "S-*")

    flood = flood_of(many_sensors)
    assert queued_messages(many_sensors) == [(flood.id, "opened", 2)]
    assert flood.topic.sensor_id == "S-07"
    assert flood.evidence.reason.startswith("12 alerts at once")
    assert "the first was S-07 at 2026-03-01 12:00" in flood.evidence.reason
    assert "a flood is 10 in 10 min" in flood.evidence.reason
    assert {alert.group_id for alert in many_sensors.alerts() if alert.id != flood.id} == {flood.id}


def test_alerts_that_returned_before_the_watch_are_no_flood(many_sensors):
    """All opened and returned within ten minutes, while the scheduler was down."""
    for number in range(12):
        many_sensors.score(f"S-{number:02d}", 0, [0.9] * 6 + [0.1] * 24)

    many_sensors.watch(12, "S-*")

    assert {alert.state for alert in many_sensors.alerts()} == {AlertState.RETURNED}
    assert [change for _, change, _ in queued_messages(many_sensors)] == ["opened", "returned"] * 12


def test_nine_alerts_at_once_are_nine_messages(many_sensors):
    raise_alerts(many_sensors, 9)

    many_sensors.watch(10, "S-*")

    assert len(queued_messages(many_sensors)) == 9
    assert all(alert.topic.subject != "flood" for alert in many_sensors.alerts())


def test_a_critical_alert_is_notified_within_a_flood(many_sensors):
    raise_alerts(many_sensors, 12)
    many_sensors.forecast("S-03", 0, [40.0])

    many_sensors.watch(10, "S-*")

    assert sorted(severity for _, _, severity in queued_messages(many_sensors)) == [4, 4]


def test_a_flood_returns_to_normal_when_all_its_alerts_have(many_sensors):
    raise_alerts(many_sensors, 12)

    for minutes in range(10, 61, 5):
        many_sensors.watch(minutes, "S-*")

    assert flood_of(many_sensors).state is AlertState.RETURNED
    assert [change for _, change, _ in queued_messages(many_sensors)] == ["opened", "returned"]


def test_acknowledging_a_flood_acknowledges_all_its_alerts(many_sensors):
    raise_alerts(many_sensors, 12)
    many_sensors.watch(10, "S-*")

    acknowledge(many_sensors.workspace, flood_of(many_sensors).id, by="Ana", now=minutes_after_noon(11))

    assert {alert.acknowledged_by for alert in many_sensors.alerts()} == {"Ana"}
    assert [change for _, change, _ in queued_messages(many_sensors)] == ["opened", "acknowledged"]


def alert_after_its_flood(fleet):
    """The id of an unacknowledged alert that joined an acknowledged flood late; both returned to normal."""
    raise_alerts(fleet, 11)
    for number in range(12):
        fleet.read(f"S-{number:02d}", 60, noisy_values(60, seed=number))
    fleet.watch(10, "S-*")
    acknowledge(fleet.workspace, flood_of(fleet).id, by="Ana", now=minutes_after_noon(11))
    fleet.score("S-11", 0, [0.1] * 12 + [0.7] * 18 + [0.1] * 30)
    for minutes in range(20, 61, 5):
        fleet.watch(minutes, "S-*")
    assert flood_of(fleet).state is AlertState.RETURNED
    return next(alert.id for alert in fleet.alerts("S-11") if alert.topic.subject == "")


def test_an_alert_that_is_active_after_its_flood_closed_is_notified_again(many_sensors):
    """The closed flood is no longer notified instead of it."""
    late = alert_after_its_flood(many_sensors)
    many_sensors.watch(100, "S-*")
    assert flood_of(many_sensors).state is AlertState.CLOSED

    many_sensors.score("S-11", 101, [0.7] * 10)
    many_sensors.watch(111, "S-*")

    assert find_alert(many_sensors.workspace, late).group_id is None
    assert (late, "repeated", 2) in queued_messages(many_sensors)


def test_a_flood_that_is_due_to_close_does_not_hide_a_repeated_alert(many_sensors):
    """There was no watch for an hour, in which the flood ended and one of its alerts was repeated."""
    late = alert_after_its_flood(many_sensors)
    many_sensors.score("S-11", 101, [0.7] * 10)

    many_sensors.watch(111, "S-*")

    assert flood_of(many_sensors).state is AlertState.CLOSED
    assert (late, "repeated", 2) in queued_messages(many_sensors)
