"""Loading the status of a fleet: from the tables of the real watch, in a few queries however many sensors."""

import pandas as pd
import pytest
from sqlalchemy import event

from monitoring.alerts.sensor_status import Monitor, SensorStatus
from monitoring.alerts.status_loader import coverage_of, load_statuses
from tests.support.monitored_fleet import MINUTE, NOON, minutes_after_noon, noisy_values
from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus


def detectors(*sensor_ids: str, recall: float = 0.7) -> dict[str, Outcome]:
    return {
        sensor_id: Outcome(
            sensor_id, Kind.DETECTOR, OutcomeStatus.SERVING, version=1, metrics={"recall_mean": recall}
        )
        for sensor_id in sensor_ids
    }


def load(fleet, minute: float, outcomes=None) -> dict[str, SensorStatus]:
    sensors = fleet.workspace.fleet.match(())
    served = detectors(*fleet.workspace.fleet) if outcomes is None else outcomes
    statuses = load_statuses(fleet.workspace.engine, sensors, served, now=minutes_after_noon(minute))
    return {sensor_id: condition.status for sensor_id, condition in statuses.items()}


def let_an_hour_pass(fleet, scores: float = 0.1) -> None:
    for seed, name in enumerate(fleet.workspace.fleet):
        fleet.read(name, 0, noisy_values(60, seed=seed))
        fleet.score(name, 0, [scores] * 60, value=10.0, historical_std=1.0)


def test_an_ordinary_fleet_is_normal(monitored_fleet):
    let_an_hour_pass(monitored_fleet)
    monitored_fleet.watch(59.5)

    assert set(load(monitored_fleet, 59.5).values()) == {SensorStatus.NORMAL}


def test_a_fault_is_an_alarm_from_the_alert_on_and_until_it_has_returned(monitored_fleet):
    let_an_hour_pass(monitored_fleet)
    monitored_fleet.read("PT-2", 60, [10.0] * 1 + [10.3, 9.8] * 10)
    monitored_fleet.score("PT-2", 60, [0.9] * 10 + [0.1] * 11, value=10.0, historical_std=1.0)

    before = load(monitored_fleet, 60)["PT-2"]
    monitored_fleet.watch(69)
    during = load(monitored_fleet, 69)["PT-2"]
    monitored_fleet.watch(80)
    after = load(monitored_fleet, 80)["PT-2"]

    assert (before, during, after) == (SensorStatus.NORMAL, SensorStatus.ALARM, SensorStatus.NORMAL)


def test_a_reading_beyond_a_critical_limit_is_an_alarm_at_once(monitored_fleet):
    let_an_hour_pass(monitored_fleet)
    monitored_fleet.read("PT-1", 60, [31.0])

    assert load(monitored_fleet, 60)["PT-1"] is SensorStatus.ALARM


def test_a_sensor_that_stopped_sending_has_no_data(monitored_fleet):
    """The watch has learned from the readings that there is one a minute."""
    let_an_hour_pass(monitored_fleet)
    monitored_fleet.watch(59)

    assert load(monitored_fleet, 71)["PT-2"] is SensorStatus.NO_DATA


def test_a_fleet_of_which_two_are_not_monitored(monitored_fleet):
    let_an_hour_pass(monitored_fleet)
    monitored_fleet.watch(59)
    served = detectors("PT-1") | detectors("PT-2", recall=0.0)

    assert load(monitored_fleet, 59, served) == {
        "PT-1": SensorStatus.NORMAL,
        "PT-2": SensorStatus.WEAKLY_MONITORED,
        "TT-1": SensorStatus.NOT_MONITORED,
    }


@pytest.mark.parametrize(
    ("fields", "monitor"), [({"critical_high": 9}, Monitor.LIMITS), ({}, Monitor.NOTHING)]
)
def test_a_version_that_waits_monitors_nothing(fields, monitor):
    waiting = Outcome("PT-1", Kind.DETECTOR, OutcomeStatus.WAITING, version=1)

    assert coverage_of(Sensor(id="PT-1", **fields), waiting, min_recall=0.3).monitor is monitor


def test_a_large_fleet_takes_as_many_queries_as_a_small_one(workspace):
    names = [f"PT-{number}" for number in range(5000)]
    times = [NOON - place * MINUTE for place in range(2)]
    rows = pd.DataFrame([(name, at, 10.0) for name in names for at in times])
    workspace.readings.ingest(rows.set_axis(["sensor_id", "timestamp", "value"], axis=1))
    sensors = [Sensor(id=name, step="1 min") for name in names]
    statements = []
    event.listen(workspace.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))

    statuses = load_statuses(workspace.engine, sensors, {}, now=NOON)

    assert {condition.status for condition in statuses.values()} == {SensorStatus.NOT_MONITORED}
    assert len([text for text in statements if text.startswith(("SELECT", "WITH"))]) <= 4
