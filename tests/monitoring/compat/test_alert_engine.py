"""Alerts that scripts raise: the original's calls, the life of every other alert."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.alerts.kinds import AlertState
from monitoring.alerts.maintenance import MaintenanceWindow, add_maintenance
from monitoring.compat.alert_engine import AlertEngine, create_alert_engine
from monitoring.watch.operator_actions import acknowledge, alert_history, list_alerts
from tests.support.monitored_fleet import HOUR, MINUTE, NOON, minutes_after_noon, noisy_values
from training.errors import ConfigurationError, UnknownSensor


@dataclass
class EngineClock:
    """A clock that a test turns."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, time: timedelta) -> None:
        self.now += time


@pytest.fixture
def clock():
    return EngineClock(NOON.replace(tzinfo=UTC))


@pytest.fixture
def engine(monitored_fleet, clock):
    return AlertEngine(monitored_fleet.workspace, clock=clock)


def test_an_alert_has_the_fields_of_the_original(engine):
    raised = engine.create_alert(sensor_id="PT-1", severity_level=3, alert_type="ANOMALY", notes="score 0.9")

    assert (raised.sensor_id, raised.severity_level, raised.alert_type) == ("PT-1", 3, "ANOMALY")
    assert (raised.status, raised.notes, raised.triggered_at) == ("ACTIVE", "score 0.9", NOON)
    assert engine.get_active_alerts() == [raised]
    assert engine.get_alert_statistics() == {
        "total_active": 1,
        "critical": 0,
        "danger": 1,
        "warning": 0,
        "by_status": {"open": 1},
    }


def test_what_a_script_says_again_is_the_same_alert(engine, monitored_fleet, clock):
    for _ in range(3):
        engine.create_alert("PT-1", 2, notes="too warm")
        clock.pass_(MINUTE)
        monitored_fleet.watch_each((clock.now.replace(tzinfo=None) - NOON) // MINUTE, 3)

    (alert,) = [one for one in monitored_fleet.alerts("PT-1") if one.topic.subject == "script"]
    assert [change for change, _ in monitored_fleet.told(alert)] == ["opened"]
    assert alert.last_at == minutes_after_noon(2)


def test_what_a_script_says_again_more_gravely_is_a_worse_alert(engine, clock):
    engine.create_alert("PT-1", 2, notes="warm")
    clock.pass_(MINUTE)

    worse = engine.create_alert("PT-1", 4, notes="hot")

    assert (worse.severity_level, worse.notes) == (4, "hot")
    assert len(engine.get_alerts_by_sensor("PT-1")) == 1


def test_what_a_script_no_longer_says_returns_to_normal_and_is_closed(engine, monitored_fleet, clock):
    monitored_fleet.read("TT-1", 0, noisy_values(180, seed=7))
    raised = engine.create_alert("TT-1", 3, notes="odd")

    monitored_fleet.watch(10, "TT-1")
    assert engine.get_active_alerts() == []
    (result,) = [one for one in engine.get_alerts_by_sensor("TT-1") if one.alert_id == raised.alert_id]
    assert (result.status, result.resolved_at.replace(microsecond=0)) == ("RESOLVED", minutes_after_noon(5))

    clock.pass_(11 * MINUTE)
    engine.acknowledge_alert(raised.alert_id)
    monitored_fleet.watch(180, "TT-1")
    assert list_alerts(monitored_fleet.workspace, ["TT-1"], alive=False)[0].state is AlertState.CLOSED


def test_a_script_does_not_keep_the_watch_from_looking(engine, monitored_fleet, clock):
    """A script speaks by its own clock; readings of a time before it that come later are looked at."""
    clock.pass_(HOUR)
    engine.create_alert("PT-1", 2, notes="script")

    monitored_fleet.score("PT-1", 0, [0.9] * 20)
    monitored_fleet.watch(61)

    reported = {(one.topic.type.value, one.topic.subject) for one in monitored_fleet.alerts("PT-1")}
    assert ("ANOMALY", "") in reported


def test_no_alert_begins_while_somebody_works_there(engine, monitored_fleet):
    work = MaintenanceWindow(NOON - HOUR, NOON + HOUR, "new gasket", "Ana", sensor_id="PT-1")
    add_maintenance(monitored_fleet.workspace, work, now=NOON)

    assert engine.create_alert("PT-1", 3, notes="odd") is None
    assert engine.get_alerts_by_sensor("PT-1") == []


def test_who_has_seen_it_is_kept(engine, monitored_fleet, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_USER", "ana")
    raised = engine.create_alert("PT-1", 3, notes="odd")

    seen = engine.acknowledge_alert(raised.alert_id)

    assert seen.status == "ACKNOWLEDGED"
    assert alert_history(monitored_fleet.workspace, raised.alert_id)[-1].by == "ana"
    with pytest.raises(ConfigurationError, match="no alert 99"):
        acknowledge(monitored_fleet.workspace, 99, by="ana", now=NOON)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"sensor_id": "PT-9", "severity_level": 2}, UnknownSensor, "PT-9"),
        ({"sensor_id": "PT-1", "severity_level": 1}, ConfigurationError, "2 warning, 3 danger, 4 critical"),
        (
            {"sensor_id": "PT-1", "severity_level": 2, "alert_type": "X"},
            ConfigurationError,
            "FORECAST_WARNING",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_can(engine, given, error, words):
    with pytest.raises(error, match=words):
        engine.create_alert(**given)


def test_the_engine_is_that_of_the_installation(monitored_fleet):
    made = create_alert_engine()

    assert made.create_alert(sensor_id="PT-2", severity_level=2, notes="seen").sensor_id == "PT-2"
    made.workspace.engine.dispose()
