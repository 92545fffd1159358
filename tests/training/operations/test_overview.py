"""The overview: sensors with their grades, and the versions that serve them."""

from dataclasses import replace

import pytest

from tests.support.workspaces import ingest_readings, parse_time
from training.data.sensor_store import add_missing_sensors, load_fleet
from training.kinds import Kind, Promotion
from training.operations.overview import describe_models, describe_sensors
from training.pipeline.fleet import train_fleet
from training.reasons import Reason, ReasonCode, load_reasons, render_all
from training.registry.model_registry import CHAMPION

NOW = parse_time("2026-01-19T08:00")


@pytest.fixture
def sensors(workspace):
    """A function that describes all sensors, by id."""

    def describe():
        return {
            row["sensor_id"]: row for row in describe_sensors(workspace, load_fleet(workspace.engine).match())
        }

    return describe


@pytest.fixture
def models(workspace):
    """A function that describes all models, by sensor and kind."""

    def describe():
        result = describe_models(workspace, load_fleet(workspace.engine).match(), now=NOW)
        return {(outcome.sensor_id, outcome.kind): outcome for outcome in result}

    return describe


def test_a_sensor_has_a_grade_and_the_kinds_that_it_can_train(workspace, sensors):
    ingest_readings(workspace, "GOOD", 200)
    ingest_readings(workspace, "FEW", 40)

    rows = sensors()

    assert rows["GOOD"]["readings"] == 200
    assert rows["GOOD"]["step"] == "1:00:00"
    assert rows["GOOD"]["grade"] in "AB"
    assert rows["GOOD"]["trains"] == ["detector", "forecaster"]
    assert rows["FEW"]["trains"] == ["detector"]


def test_the_reason_for_a_sensor_without_readings_is_that_none_were_loaded(workspace, sensors):
    add_missing_sensors(workspace.engine, ["NEW"])

    assert sensors()["NEW"]["grade"] == "F"
    assert sensors()["NEW"]["reasons"] == (Reason(ReasonCode.QUALITY_NOT_LOADED),)


def test_a_sensor_without_a_model_is_listed_too(workspace, models):
    ingest_readings(workspace, "PT-1")

    assert {key: outcome.status for key, outcome in models().items()} == {
        ("PT-1", kind): "no model" for kind in Kind
    }


def test_the_champion_is_shown_with_its_age_and_metrics(workspace, models, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    train_fleet(workspace, load_fleet(workspace.engine).match(), [Kind.FORECASTER], plan, jobs=1)

    result = models()["PT-1", Kind.FORECASTER]

    assert (result.status, result.version, result.alias) == ("serving", 1, CHAMPION)
    assert result.metrics["age_days"] == pytest.approx(10 + 1 / 24)
    assert "skill" in result.metrics
    assert result.detail["train_end"] == "2026-01-09T07:00:00Z"
    assert result.detail["gate_passed"] is True
    assert result.detail["gate"] == render_all(load_reasons(result.detail["gate_reasons"]))
    assert models()["PT-1", Kind.DETECTOR].status == "no model"


def test_a_challenger_without_a_champion_waits(workspace, models, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    manual = replace(plan, promotion=Promotion.MANUAL)
    train_fleet(workspace, load_fleet(workspace.engine).match(), [Kind.DETECTOR], manual, jobs=1)

    result = models()["PT-1", Kind.DETECTOR]

    assert (result.status, result.alias) == ("waiting", "challenger")
    assert not result.failed


def test_a_model_without_aliases_counts_as_no_model(workspace, models, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    train_fleet(workspace, load_fleet(workspace.engine).match(), [Kind.DETECTOR], plan, jobs=1)
    workspace.mlflow.delete_registered_model_alias("pt-1-detector", CHAMPION)

    assert models()["PT-1", Kind.DETECTOR].status == "no model"


def test_a_version_of_0_1_0_is_shown_with_the_text_of_its_gate(workspace, models, plan, training_stub):
    ingest_readings(workspace, "PT-1")
    train_fleet(workspace, load_fleet(workspace.engine).match(), [Kind.DETECTOR], plan, jobs=1)
    for tag in ("gate_status", "gate_reasons"):
        workspace.mlflow.delete_model_version_tag("pt-1-detector", "1", tag)

    detail = models()["PT-1", Kind.DETECTOR].detail

    assert detail["gate"].startswith("passed: ")
    assert (detail["gate_passed"], detail["gate_reasons"]) == (True, None)
