"""A new champion scores the past week once, and these scores raise no alert."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from monitoring.watch.operator_actions import list_alerts
from monitoring.watch.watcher import watch_fleet
from serving.back_scoring import score_past
from serving.batch import detect_fleet
from serving.predictions.store import PredictionStore
from tests.support.workspaces import ingest_readings, make_readings, parse_time
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.storage.alert_tables import outbox
from training.storage.database import reading

START = parse_time("2026-01-01")
END = START + timedelta(hours=200)
NOW = END + timedelta(minutes=1)


@pytest.fixture
def trained(workspace, plan, training_stub):
    """PT-1 with 200 hourly readings, the last of them anomalous, and a detector trained on them."""
    ingest_readings(workspace)
    train_fleet(workspace, workspace.fleet.match(), [Kind.DETECTOR], plan, jobs=1)
    return workspace


def scores(workspace):
    return PredictionStore(workspace.engine).scores("PT-1", START)


def retrain(workspace, plan):
    train_fleet(workspace, workspace.fleet.match(), [Kind.DETECTOR], plan, jobs=1, fresh=True)


def test_the_detect_job_scores_the_past_week_after_a_training(trained):
    result = run_job(JobName.DETECT, trained, now=NOW)

    assert result.detail.endswith("; 168 readings of the past scored")
    assert len(scores(trained)) == 169
    assert scores(trained)["timestamp"].iloc[0] == END - timedelta(hours=1) - timedelta(days=7)


def test_the_past_is_scored_once_for_each_champion(trained, plan):
    detect_fleet(trained, trained.fleet.match())

    first, again = (score_past(trained, trained.fleet.match()) for _ in range(2))
    retrain(trained, plan)
    after_retraining = score_past(trained, trained.fleet.match())

    assert (first, again, after_retraining) == (168, 0, 169)


def test_scores_of_the_past_raise_no_alert_and_no_message(trained, plan, monkeypatch):
    """The same readings, scored as they arrive, raise one."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    faulty = make_readings(rows=10, start=END, seed=5)
    faulty["value"] += 30
    trained.readings.ingest(faulty)
    retrain(trained, plan)
    sensors = trained.fleet.match()
    trained.readings.ingest(make_readings(rows=1, start=END + timedelta(hours=10), seed=6))

    score_past(trained, sensors)
    watch_fleet(trained, sensors, now=END + timedelta(hours=10, minutes=1))

    assert scores(trained)["is_anomaly"].any()
    assert list_alerts(trained, alive=None) == []
    with reading(trained.engine) as connection:
        assert connection.execute(select(outbox)).all() == []
    detect_fleet(trained, sensors, since=END)
    with trained.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM back_scores")
    with trained.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alert_watches")
    watch_fleet(trained, sensors, now=END + timedelta(hours=10, minutes=1))
    assert len(list_alerts(trained, alive=None)) == 1


def test_a_run_leaves_the_rest_to_the_next(trained, plan, monkeypatch):
    ingest_readings(trained, "PT-2")
    vars(trained).pop("fleet", None)
    train_fleet(trained, [trained.fleet.sensor("PT-2")], [Kind.DETECTOR], plan, jobs=1)
    monkeypatch.setenv("SAFEPLAN_BACK_SCORING_READINGS_PER_RUN", "100")
    sensors = trained.fleet.match()

    assert [score_past(trained, sensors) for _ in range(3)] == [169, 169, 0]


def test_scoring_the_past_can_be_switched_off(trained, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_BACK_SCORING_PERIOD", "PT0S")

    assert score_past(trained, trained.fleet.match()) == 0
    assert scores(trained).empty
