"""A flood is one message that names the first cause; what is critical is told all the same."""

import pytest

from monitoring.alerts.kinds import AlertState
from monitoring.notify.outbox import Outbox
from monitoring.watch.operator_actions import acknowledge, find_alert
from tests.support.monitored_fleet import minutes_after_noon, noisy_values


@pytest.fixture
def many_sensors(monitored_fleet, monkeypatch):
    """Twelve sensors on one platform, and a channel that is told everything."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    names = [f"S-{number:02d}" for number in range(12)]
    monitored_fleet.describe({name: {"platform": "P-9", "critical_high": 30} for name in names})
    for seed, name in enumerate(names):
        monitored_fleet.read(name, 0, noisy_values(60, seed=seed))
    return monitored_fleet


def odd(crowd, count, *, first="S-07"):
    """So many of them are odd from two minutes after noon on; one of them began at noon."""
    for number in range(count):
        name = f"S-{number:02d}"
        quiet = 0 if name == first else 2
        crowd.score(name, 0, [0.1] * quiet + [0.7] * (30 - quiet) + [0.1] * 30)


def told(crowd):
    return [
        (one.message["alert_id"], one.message["change"], one.message["severity"])
        for one in Outbox(crowd.workspace.engine).waiting("room")
    ]


def flood_of(crowd):
    (result,) = [alert for alert in crowd.alerts() if alert.topic.subject == "flood"]
    return result


def test_ten_at_once_are_one_message_with_the_likely_first_cause(many_sensors):
    odd(many_sensors, 12)

    many_sensors.watch(10, "S-*")

    flood = flood_of(many_sensors)
    assert told(many_sensors) == [(flood.id, "opened", 2)]
    assert flood.topic.sensor_id == "S-07"
    assert flood.evidence.reason.startswith("12 alerts at once")
    assert "the first was S-07 at 2026-03-01 12:00" in flood.evidence.reason
    assert {alert.group_id for alert in many_sensors.alerts() if alert.id != flood.id} == {flood.id}


def test_what_is_over_before_anybody_looks_is_no_flood(many_sensors):
    """All opened and returned within ten minutes, while the scheduler was down."""
    for number in range(12):
        many_sensors.score(f"S-{number:02d}", 0, [0.9] * 6 + [0.1] * 24)

    many_sensors.watch(12, "S-*")

    assert {alert.state for alert in many_sensors.alerts()} == {AlertState.RETURNED}
    assert [change for _, change, _ in told(many_sensors)] == ["opened", "returned"] * 12


def test_nine_at_once_are_nine_messages(many_sensors):
    odd(many_sensors, 9)

    many_sensors.watch(10, "S-*")

    assert len(told(many_sensors)) == 9
    assert all(alert.topic.subject != "flood" for alert in many_sensors.alerts())


def test_what_is_critical_is_told_within_a_flood(many_sensors):
    odd(many_sensors, 12)
    many_sensors.forecast("S-03", 0, [40.0])

    many_sensors.watch(10, "S-*")

    assert sorted(severity for _, _, severity in told(many_sensors)) == [4, 4]


def test_the_flood_returns_when_all_that_is_in_it_has(many_sensors):
    odd(many_sensors, 12)

    for minutes in range(10, 61, 5):
        many_sensors.watch(minutes, "S-*")

    assert flood_of(many_sensors).state is AlertState.RETURNED
    assert [change for _, change, _ in told(many_sensors)] == ["opened", "returned"]


def test_who_acknowledges_a_flood_acknowledges_all_in_it(many_sensors):
    odd(many_sensors, 12)
    many_sensors.watch(10, "S-*")

    acknowledge(many_sensors.workspace, flood_of(many_sensors).id, by="Ana", now=minutes_after_noon(11))

    assert {alert.acknowledged_by for alert in many_sensors.alerts()} == {"Ana"}
    assert [change for _, change, _ in told(many_sensors)] == ["opened", "acknowledged"]


def past_its_flood(crowd):
    """A flood that was acknowledged, and one alert that joined it later, unseen; both returned to normal."""
    odd(crowd, 11)
    for number in range(12):
        crowd.read(f"S-{number:02d}", 60, noisy_values(60, seed=number))
    crowd.watch(10, "S-*")
    acknowledge(crowd.workspace, flood_of(crowd).id, by="Ana", now=minutes_after_noon(11))
    crowd.score("S-11", 0, [0.1] * 12 + [0.7] * 18 + [0.1] * 30)
    for minutes in range(20, 61, 5):
        crowd.watch(minutes, "S-*")
    assert flood_of(crowd).state is AlertState.RETURNED
    return next(alert.id for alert in crowd.alerts("S-11") if alert.topic.subject == "")


def test_what_outlives_its_flood_is_told_by_itself_again(many_sensors):
    """Nobody would hear of it otherwise: its flood is closed and stands for nothing."""
    late = past_its_flood(many_sensors)
    many_sensors.watch(100, "S-*")
    assert flood_of(many_sensors).state is AlertState.CLOSED

    many_sensors.score("S-11", 101, [0.7] * 10)
    many_sensors.watch(111, "S-*")

    assert find_alert(many_sensors.workspace, late).group_id is None
    assert (late, "repeated", 2) in told(many_sensors)


def test_a_flood_that_should_have_been_closed_is_not_in_the_way_of_what_comes_next(many_sensors):
    """Nobody looked for an hour, in which the flood was over and one of its alerts came again."""
    late = past_its_flood(many_sensors)
    many_sensors.score("S-11", 101, [0.7] * 10)

    many_sensors.watch(111, "S-*")

    assert flood_of(many_sensors).state is AlertState.CLOSED
    assert (late, "repeated", 2) in told(many_sensors)
