"""Health checks of the running platform: failed jobs, stuck messages, clock, sensors, instruments."""

from datetime import timedelta

import pytest
from sqlalchemy import insert

from monitoring.schedule.job_run_store import JobRunStore, RunStatus
from monitoring.schedule.scheduler_health import check_scheduler
from monitoring.schedule.settings import JobName
from serving.doctor import HealthStatus
from tests.support.monitored_fleet import noisy_values
from tests.support.workspaces import ingest_readings, parse_time
from training.data.sensor_store import save_sensors
from training.data.sensors import Sensor
from training.storage.alert_tables import outbox
from training.storage.database import writing

NOW = parse_time("2026-01-09T08:00")


def problems(workspace):
    return {
        check.subject: check.as_dict() for check in check_scheduler(workspace, now=NOW) if check.is_problem
    }


def needs_attention(workspace):
    checks = check_scheduler(workspace, now=NOW)
    return {check.subject: check.as_dict() for check in checks if check.status is HealthStatus.ATTENTION}


def run(workspace, job, status, *, hours_ago=1, detail=""):
    runs, due = JobRunStore(workspace.engine), NOW - timedelta(hours=hours_ago)
    assert runs.claim(job, due, missed=0, now=due)
    if status is not RunStatus.RUNNING:
        runs.end(job, due, status, detail, now=due + timedelta(minutes=1))


def add_message(workspace, *, minutes_old, given_up=False):
    made = NOW - timedelta(minutes=minutes_old)
    with writing(workspace.engine) as connection:
        row = {
            "channel": "control-room",
            "alert_id": 1,
            "revision": 1,
            "message": {},
            "made_at": made,
            "attempts": 3,
            "next_at": NOW,
            "given_up_at": NOW if given_up else None,
            "error": "connection refused",
        }
        connection.execute(insert(outbox).values(**row))


def test_a_healthy_platform_has_no_problems(workspace):
    ingest_readings(workspace)
    run(workspace, JobName.DETECT, RunStatus.FAILED, hours_ago=3)
    run(workspace, JobName.DETECT, RunStatus.DONE)
    add_message(workspace, minutes_old=2)

    assert problems(workspace) == {}


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.INTERRUPTED])
def test_a_failed_job_is_a_problem_with_its_error(workspace, status):
    run(workspace, JobName.RETRAIN, status, detail="the registry was away")

    result = problems(workspace)["job retrain"]

    assert status.value in result["found"]
    assert "the registry was away" in result["found"]
    assert "safeplan schedule --once retrain" in result["what to do"]


@pytest.mark.parametrize(
    ("age", "given_up", "text"),
    [(90, False, "1 waiting, the oldest since 2026-01-09 06:30 UTC"), (2, True, "0 waiting, 1 given up")],
)
def test_messages_that_are_not_delivered_are_a_problem(workspace, age, given_up, text):
    add_message(workspace, minutes_old=age, given_up=given_up)

    result = problems(workspace)["messages to control-room"]

    assert text in result["found"]
    assert "safeplan alerts deliver" in result["what to do"]


def test_a_clock_behind_the_readings_is_a_problem(workspace):
    ingest_readings(workspace, rows=204)  # to 11 o'clock

    assert "the newest reading is from 2026-01-09 11:00" in problems(workspace)["clock"]["found"]


def test_sensors_that_stopped_while_others_went_on_need_attention(workspace):
    ingest_readings(workspace, "PT-1", rows=24, start="2026-01-08T08:00")
    ingest_readings(workspace, "PT-2", rows=24, start="2026-01-02T00:00")
    ingest_readings(workspace, "PT-3", rows=24, start="2026-01-01T00:00")
    save_sensors(workspace.engine, [Sensor(id="PT-3", enabled=False)])
    vars(workspace).pop("fleet", None)

    result = needs_attention(workspace)["sensors without data"]

    assert result["found"].startswith("1 sent nothing for a day while others did: PT-2 since 2026-01-0")


def test_an_open_instrument_alert_needs_attention(monitored_fleet):
    monitored_fleet.read("PT-1", 0, [*noisy_values(10, seed=7), *[9.87] * 50])
    monitored_fleet.watch_each(1, 60)

    result = needs_attention(monitored_fleet.workspace)["instruments"]

    assert result["found"].startswith("3 open instrument alerts: ")
    assert "PT-1 has not changed from 9.87 bar" in result["found"]
