"""`safeplan status`: how many sensors are monitored comes first, then the status of each and its models."""

import json

import pytest

from monitoring.alerts.sensor_status import Coverage, Monitor, SensorCondition, SensorStatus
from monitoring.cli.status_command import show_status, summary_text
from serving.batch import detect_fleet
from tests.support.workspaces import ingest_readings, parse_time
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

NOW = parse_time("2026-01-09T08:00")  # an hour after the newest reading
REFUSED = ("PT-3", "PT-7")


@pytest.fixture
def ten_sensors(workspace: Workspace, training_stub) -> Workspace:
    """Ten sensors; the detectors of two found nothing and were refused."""
    names = [f"PT-{number}" for number in range(10)]
    for seed, name in enumerate(names):
        ingest_readings(workspace, name, seed=seed)
    for refused in (False, True):
        training_stub.grades = {"recall_mean": 0.0 if refused else 0.8, "naive_recall_mean": 0.0}
        chosen = [name for name in names if (name in REFUSED) is refused]
        sensors = workspace.fleet.match(chosen)
        outcomes = train_fleet(workspace, sensors, [Kind.DETECTOR], Plan.from_conf(trials=1), jobs=1)
        assert {outcome.status for outcome in outcomes} == {"fallback" if refused else "promoted"}
    detect_fleet(workspace, workspace.fleet.match())
    return workspace


def test_a_fleet_of_which_two_detectors_were_refused(ten_sensors, capsys):
    sensors = ten_sensors.fleet.match()

    show_status(ten_sensors, sensors, now=NOW, as_json=True)

    document = json.loads(capsys.readouterr().out)
    assert document["monitoring"]["sensors"] == 10
    assert document["monitoring"]["monitored"] == 8
    statuses = {one["sensor_id"]: one for one in document["statuses"]}
    assert {name for name, one in statuses.items() if one["monitored_by"] == "fallback"} == set(REFUSED)
    for name in REFUSED:
        assert statuses[name]["monitoring"] == "weakly_monitored"
        assert statuses[name]["status"] != "normal"
        assert "fixed rules watch the sensor and find" in statuses[name]["monitoring_reason"]
        assert statuses[name]["recall"] is not None
    served = [one for one in document["sensors"] if one["sensor_id"] in REFUSED and one["kind"] == "detector"]
    assert [one["recipe"] for one in served] == ["rule-based fallback"] * 2


def test_the_first_line_counts_what_is_monitored(ten_sensors, capsys):
    show_status(ten_sensors, ten_sensors.fleet.match(), now=NOW, as_json=False)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("8 of 10 sensors monitored: ")
    assert "weakly monitored" in lines[0]


def test_a_silent_fleet_is_not_normal(ten_sensors, capsys):
    show_status(ten_sensors, ten_sensors.fleet.match(), now=parse_time("2026-03-01"), as_json=True)

    counts = json.loads(capsys.readouterr().out)["monitoring"]["by_status"]
    assert counts["no_data"] == 10


def test_only_statuses_that_occur_are_counted_in_the_summary():
    good, none = Coverage(Monitor.DETECTOR), Coverage(Monitor.NOTHING)
    conditions = {
        "A": SensorCondition(SensorStatus.NORMAL, 0, good),
        "B": SensorCondition(SensorStatus.NOT_MONITORED, 1, none, SensorStatus.NOT_MONITORED),
    }

    assert summary_text(conditions) == "1 of 2 sensors monitored: 1 not monitored, 1 normal"
