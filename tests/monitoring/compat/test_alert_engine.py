"""Alerts of scripts: the calls of the original system, the life cycle of every other alert."""

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
    """A clock that tests set."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def advance(self, time: timedelta) -> None:
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


def test_a_repeated_call_continues_the_alert(engine, monitored_fleet, clock):
    for _ in range(3):
        engine.create_alert("PT-1", 2, notes="too warm")
        clock.advance(MINUTE)
        monitored_fleet.watch_each((clock.now.replace(tzinfo=None) - NOON) // MINUTE, 3)

    (alert,) = [a for a in monitored_fleet.alerts("PT-1") if a.topic.subject == "script"]
    assert [change for change, _ in monitored_fleet.alert_history(alert)] == ["opened"]
    assert alert.last_at == minutes_after_noon(2)


def test_a_repeated_call_with_a_higher_severity_worsens_the_alert(engine, clock):
    engine.create_alert("PT-1", 2, notes="warm")
    clock.advance(MINUTE)

    worse = engine.create_alert("PT-1", 4, notes="hot")

    assert (worse.severity_level, worse.notes) == (4, "hot")
    assert len(engine.get_alerts_by_sensor("PT-1")) == 1


def test_an_alert_without_further_calls_returns_to_normal_and_closes(engine, monitored_fleet, clock):
    monitored_fleet.read("TT-1", 0, noisy_values(180, seed=7))
    raised = engine.create_alert("TT-1", 3, notes="unusual")

    monitored_fleet.watch(10, "TT-1")
    assert engine.get_active_alerts() == []
    (result,) = [a for a in engine.get_alerts_by_sensor("TT-1") if a.alert_id == raised.alert_id]
    assert (result.status, result.resolved_at.replace(microsecond=0)) == ("RESOLVED", minutes_after_noon(5))

    clock.advance(11 * MINUTE)
    engine.acknowledge_alert(raised.alert_id)
    monitored_fleet.watch(180, "TT-1")
    assert list_alerts(monitored_fleet.workspace, ["TT-1"], alive=False)[0].state is AlertState.CLOSED


def test_a_script_does_not_hide_readings_from_the_watch(engine, monitored_fleet, clock):
    """Readings from before a script's alert that arrive later are evaluated."""
    clock.advance(HOUR)
    engine.create_alert("PT-1", 2, notes="script")

    monitored_fleet.score("PT-1", 0, [0.9] * 20)
    monitored_fleet.watch(61)

    topics = {(a.topic.type.value, a.topic.subject) for a in monitored_fleet.alerts("PT-1")}
    assert ("ANOMALY", "") in topics


def test_no_alert_begins_during_maintenance(engine, monitored_fleet):
    work = MaintenanceWindow(NOON - HOUR, NOON + HOUR, "new gasket", "Ana", sensor_id="PT-1")
    add_maintenance(monitored_fleet.workspace, work, now=NOON)

    assert engine.create_alert("PT-1", 3, notes="unusual") is None
    assert engine.get_alerts_by_sensor("PT-1") == []


def test_an_acknowledgement_is_stored_with_its_user(engine, monitored_fleet, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_USER", "ana")
    raised = engine.create_alert("PT-1", 3, notes="unusual")

    acknowledged = engine.acknowledge_alert(raised.alert_id)

    assert acknowledged.status == "ACKNOWLEDGED"
    assert alert_history(monitored_fleet.workspace, raised.alert_id)[-1].by == "ana"
    with pytest.raises(ConfigurationError, match="no alert 99"):
        acknowledge(monitored_fleet.workspace, 99, by="ana", now=NOON)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
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
def test_an_invalid_call_is_refused_with_the_valid_values(engine, arguments, error, message):
    with pytest.raises(error, match=message):
        engine.create_alert(**arguments)


def test_the_engine_is_that_of_the_installation(monitored_fleet):
    engine = create_alert_engine()

    assert engine.create_alert(sensor_id="PT-2", severity_level=2, notes="seen").sensor_id == "PT-2"
    engine.workspace.engine.dispose()
