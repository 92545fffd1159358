"""Recording a candidate: its run, version and tags."""

import pytest

from tests.support.workspaces import make_task, parse_time
from training.artifacts.model_files import digest_folder
from training.common.times import iso, read_iso
from training.data.sensors import Sensor
from training.errors import RegistryError
from training.kinds import Kind, Promotion
from training.outcomes import Outcome, OutcomeStatus
from training.pipeline.fit import run_training_task
from training.pipeline.recording import Recorder, sensor_table
from training.reasons import load_reasons, render_all


@pytest.fixture
def recorder(workspace):
    return Recorder(workspace.tracker, workspace.registry)


@pytest.fixture
def candidate(training_stub, tmp_path):
    sensor = Sensor(id="PT-1", name="Wellhead", platform="P-48", unit="bar", type="pressure")
    return run_training_task(make_task(Kind.DETECTOR, tmp_path, sensor=sensor))


@pytest.fixture
def recorded(recorder, workspace, candidate):
    """Version, run and outcome of one candidate."""
    digest = digest_folder(candidate.files)
    parent = workspace.tracker.open("safeplan-detectors", "1 detector", {}).run_id
    outcome = recorder.record(candidate, parent, Promotion.MANAGED, keep=10)
    version = workspace.registry.version(outcome.model, outcome.version)
    return version, workspace.mlflow.get_run(version.run_id), outcome, digest, parent


def test_a_version_has_tags_for_everything_known_before_its_files_are_opened(recorded):
    version, _, _, digest, _ = recorded

    assert version.tags["model_sha256"] == digest
    assert version.tags["sensor_id"] == "PT-1"
    assert version.tags["kind"] == "detector"
    assert version.tags["validation_status"] == "passed"
    assert version.tags["train_start"] == "2026-01-01T00:00:00Z"
    assert version.tags["train_end"] == "2026-01-09T07:00:00Z"
    assert len(version.tags["data_digest"]) == 64
    assert float(version.tags["threshold"]) == 0.5
    assert version.tags["readings"] == "200"


def test_the_gate_is_stored_as_status_reasons_and_text(recorded, candidate):
    tags = recorded[0].tags

    assert tags["gate_status"] == "passed"
    assert load_reasons(tags["gate_reasons"]) == (candidate.gate_decision.reason,)
    assert tags["gate"] == render_all(load_reasons(tags["gate_reasons"]))
    assert tags["gate"].startswith("passed: ")


def test_a_run_has_window_digest_metrics_and_charts(recorded, workspace, candidate):
    version, run, _, _, parent = recorded

    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert {"platform": "P-48", "type": "pressure", "unit": "bar"}.items() <= run.data.tags.items()
    assert run.data.tags["train_end"] == version.tags["train_end"]
    assert set(candidate.result.metrics) | {"seconds_fit", "seconds_window"} <= set(run.data.metrics)
    (source,) = run.inputs.dataset_inputs
    assert version.tags["data_digest"].startswith(source.dataset.digest)
    files = {file.path for file in workspace.mlflow.list_artifacts(run.info.run_id)}
    assert {"trials.json", "scores.svg"} <= files


def test_the_outcome_equals_what_was_written(recorded):
    version, run, outcome, *_ = recorded

    assert (outcome.status, outcome.alias, outcome.version) == ("promoted", "champion", version.number)
    assert outcome.metrics == run.data.metrics
    assert outcome.detail == {
        "gate": version.tags["gate"],
        "gate_reasons": version.tags["gate_reasons"],
        "gate_passed": True,
        "recipe": None,
    }


def test_a_version_has_pinned_requirements_and_a_signature(recorded, workspace, tmp_path):
    (requirements,) = (tmp_path / "mlartifacts").rglob("requirements.txt")
    lines = requirements.read_text().split()

    assert {line.split("==")[0] for line in lines} == {
        *("mlflow", "numpy", "pandas", "pydantic", "scikit-learn", "skops"),
    }
    assert all("==" in line for line in lines)
    (mlmodel,) = (tmp_path / "mlartifacts").rglob("MLmodel")
    assert "anomaly_score" in mlmodel.read_text()
    assert not list((tmp_path / "mlartifacts").rglob("*.pkl"))


def test_a_run_whose_version_cannot_be_registered_is_closed(recorder, workspace, candidate, monkeypatch):
    parent = workspace.tracker.open("safeplan-detectors", "1 detector", {}).run_id
    monkeypatch.setattr(workspace.registry, "register", _refuse)

    with pytest.raises(RegistryError, match="disk full"):
        recorder.record(candidate, parent, Promotion.MANAGED, keep=10)

    children = workspace.tracker.unfinished("safeplan-detectors", {"mlflow.parentRunId": parent})
    assert children == []


def _refuse(*_, **__):
    raise RegistryError("cannot register: disk full")


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00", "2026-12-31T23:59:59.999999"])
def test_times_in_tags_are_marked_as_utc_and_can_be_read_back(moment):
    assert iso(parse_time(moment)) == f"{moment}Z"
    assert read_iso(iso(parse_time(moment))) == parse_time(moment)


def test_the_table_of_a_retraining_has_the_same_columns_for_every_sensor():
    outcomes = [
        Outcome(
            "a", Kind.DETECTOR, OutcomeStatus.PROMOTED, "a-detector", 1, "champion", {"recall_mean": 0.5}
        ),
        Outcome("b", Kind.DETECTOR, OutcomeStatus.FAILED, error="too few"),
    ]

    table = sensor_table(outcomes)

    assert table["sensor_id"].tolist() == ["a", "b"]
    assert table["recall_mean"].isna().tolist() == [False, True]
    assert table["error"].tolist()[1] == "too few"
