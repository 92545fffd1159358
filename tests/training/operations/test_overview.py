"""What a person asks first: sensors with their grades, and the versions that serve them."""

from dataclasses import replace

import pytest

from tests.support.workspaces import ingest_readings, parse_time
from training.data.sensor_store import add_missing_sensors, load_fleet
from training.kinds import Kind, Promotion
from training.operations.overview import describe_models, describe_sensors
from training.reasons import Reason, ReasonCode
from training.pipeline.fleet import train_fleet
from training.registry.model_registry import CHAMPION

NOW = parse_time("2026-01-19T08:00")


@pytest.fixture
def sensors(workspace):
    """Describe all sensors, by id."""

    def describe():
        return {r["sensor_id"]: r for r in describe_sensors(workspace, load_fleet(workspace.engine).match())}

    return describe


@pytest.fixture
def models(workspace):
    """Describe all models, by sensor and kind."""

    def describe():
        result = describe_models(workspace, load_fleet(workspace.engine).match(), now=NOW)
        return {(outcome.sensor_id, outcome.kind): outcome for outcome in result}

    return describe


def test_a_sensor_is_graded_with_reasons_and_says_what_it_can_train(workspace, sensors):
    ingest_readings(workspace, "GOOD", 200)
    ingest_readings(workspace, "FEW", 40)

    rows = sensors()

    assert rows["GOOD"]["readings"] == 200
    assert rows["GOOD"]["step"] == "1:00:00"
    assert rows["GOOD"]["grade"] in "AB"
    assert rows["GOOD"]["trains"] == ["detector", "forecaster"]
    assert rows["FEW"]["trains"] == ["detector"]


def test_a_sensor_without_readings_says_what_to_run(workspace, sensors):
    add_missing_sensors(workspace.engine, ["NEW"])

    assert sensors()["NEW"]["grade"] == "F"
    assert sensors()["NEW"]["reasons"] == (Reason(ReasonCode.QUALITY_NOT_LOADED),)


def test_a_sensor_without_a_model_is_listed_all_the_same(workspace, models):
    ingest_readings(workspace, "PT-1")

    assert {key: outcome.status for key, outcome in models().items()} == {
        ("PT-1", kind): "no model" for kind in Kind
    }


def test_the_champion_is_shown_with_its_age_and_its_grades(workspace, models, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    train_fleet(workspace, load_fleet(workspace.engine).match(), [Kind.FORECASTER], plan, jobs=1)

    result = models()["PT-1", Kind.FORECASTER]

    assert (result.status, result.version, result.alias) == ("serving", 1, CHAMPION)
    assert result.metrics["age_days"] == pytest.approx(10 + 1 / 24)
    assert "skill" in result.metrics
    assert result.detail["train_end"] == "2026-01-09T07:00:00Z"
    assert models()["PT-1", Kind.DETECTOR].status == "no model"


def test_a_challenger_without_a_champion_waits(workspace, models, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    manual = replace(plan, promotion=Promotion.MANUAL)
    train_fleet(workspace, load_fleet(workspace.engine).match(), [Kind.DETECTOR], manual, jobs=1)

    result = models()["PT-1", Kind.DETECTOR]

    assert (result.status, result.alias) == ("waiting", "challenger")
    assert not result.failed


def test_a_model_that_lost_every_alias_is_none(workspace, models, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    train_fleet(workspace, load_fleet(workspace.engine).match(), [Kind.DETECTOR], plan, jobs=1)
    workspace.mlflow.delete_registered_model_alias("pt-1-detector", CHAMPION)

    assert models()["PT-1", Kind.DETECTOR].status == "no model"
