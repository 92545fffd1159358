"""The content of a run, and an uploaded model that MLflow treats like one that it logged itself."""

import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.models import Model

from tests.support.workspaces import make_task, parse_time
from training.artifacts.model_files import DATA, MODEL_FOLDER
from training.errors import RegistryError
from training.kinds import Kind
from training.pipeline.fit import run_training_task
from training.pipeline.recording import REQUIRED_PACKAGES, mlmodel_template
from training.registry.packaging import MLmodelTemplate
from training.registry.publishing import DatasetInfo, Publisher, RunContent
from training.registry.signatures import SIGNATURES, example_rows

EXPERIMENT = "safeplan-detectors"


@pytest.fixture
def publisher(mlflow_client):
    return Publisher(mlflow_client)


@pytest.fixture
def run(tracker):
    return tracker.open(EXPERIMENT, "PT-1", {})


def test_metrics_that_are_not_finite_are_left_out(publisher, tracker, run):
    publisher.log_content(run, RunContent(metrics={"skill": 0.5, "mase": float("nan"), "mape": None}))

    assert tracker.metrics(run.run_id) == {"skill": 0.5}


def test_only_a_long_parameter_is_truncated(publisher, mlflow_client, run):
    publisher.log_content(run, RunContent(params={"long": "x" * 9000, "short": (1, 2)}))

    params = mlflow_client.get_run(run.run_id).data.params
    assert (len(params["long"]), params["short"]) == (500, "(1, 2)")


def test_the_training_readings_are_the_input_of_the_run(publisher, mlflow_client, run):
    publisher.log_dataset(run, DatasetInfo("PT-1", "d" * 64, {"start": "2026-01-01T00:00:00Z"}))

    (result,) = mlflow_client.get_run(run.run_id).inputs.dataset_inputs
    assert (result.dataset.name, result.dataset.digest) == ("PT-1", "d" * 36)
    assert "2026-01-01" in result.dataset.source


def test_tables_and_charts_are_attached_where_the_mlflow_ui_shows_them(publisher, mlflow_client, run):
    table = pd.DataFrame(
        {"trial": [0, 1], "loss": [0.5, float("nan")], "at": pd.to_datetime(["2026-01-01"] * 2)}
    )

    publisher.log_content(run, RunContent(pictures={"scores": b"<svg/>"}, tables={"trials": table}))

    assert {file.path for file in mlflow_client.list_artifacts(run.run_id)} == {"scores.svg", "trials.json"}
    loaded = mlflow_client.load_table(run.experiment_id, "trials.json", [run.run_id])
    assert loaded["loss"].tolist()[0] == 0.5
    assert loaded["loss"].isna().tolist() == [False, True]
    assert loaded["at"].tolist() == ["2026-01-01T00:00:00Z"] * 2


@pytest.mark.parametrize("kind", list(Kind))
def test_a_package_equals_one_that_mlflow_writes(kind, fitted_models, tmp_path):
    """File by file, compared as YAML."""
    model_files, _ = fitted_models[kind]
    ids = {"run_id": "r" * 32, "model_id": "m-1"}
    example = example_rows(kind, parse_time("2026-05-01T07:30:00"), 20.125)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(model_files, ours / DATA / MODEL_FOLDER)

    mlmodel_template(kind).render(
        ours, location="/art'ifacts/m-1", created=parse_time("2026-05-02T00:00:00"), example=example, **ids
    )
    mlflow.pyfunc.save_model(
        str(theirs),
        mlflow_model=Model(
            artifact_path="/art'ifacts/m-1", utc_time_created="2026-05-02 00:00:00", model_uuid="m-1", **ids
        ),
        loader_module="training.standalone",
        data_path=str(model_files),
        pip_requirements=mlmodel_template(kind).texts["requirements.txt"].splitlines(),
        signature=SIGNATURES[kind],
        input_example=example,
    )

    names = {path.name for path in theirs.iterdir()}
    assert {path.name for path in ours.iterdir()} == names
    for name in names - {DATA}:
        here, there = (yaml.safe_load((folder / name).read_text()) for folder in (ours, theirs))
        assert here == there, name


@pytest.fixture
def uploaded(publisher, run, tmp_path):
    """A real detector uploaded to a run."""
    candidate = run_training_task(make_task(Kind.DETECTOR, tmp_path))
    window = candidate.window
    model = publisher.upload_model(
        run,
        candidate.package,
        "pt-1-detector",
        template=mlmodel_template(Kind.DETECTOR),
        example=example_rows(Kind.DETECTOR, window.end, 20.0),
        params={"trees": 64},
    )
    publisher.log_content(run, RunContent(metrics={"recall_mean": 0.75}), model)
    return model


def test_an_uploaded_model_can_be_loaded_and_used(uploaded, training_stub):
    loaded = mlflow.pyfunc.load_model(uploaded.source)

    scored = loaded.predict(pd.DataFrame({"timestamp": ["2026-01-10T00:00:00Z"], "value": [90.0]}))

    assert scored["is_anomaly"].tolist() == [True]
    assert set(loaded.metadata.load_input_example(uploaded.source)) == {"timestamp", "value"}


def test_an_uploaded_model_has_the_parameters_and_metrics_of_its_run(
    uploaded, training_stub, mlflow_client, run
):
    result = mlflow_client.get_logged_model(uploaded.model_id)

    assert result.params == {"trees": "64"}
    assert {metric.key: metric.value for metric in result.metrics} == {"recall_mean": 0.75}
    assert result.status.value == "READY"
    assert result.source_run_id == run.run_id
    (output,) = mlflow_client.get_run(run.run_id).outputs.model_outputs
    assert output.model_id == uploaded.model_id


def test_the_requirements_are_those_given():
    template = MLmodelTemplate.create(
        requirements=["mlflow==3.17.2"],
        signature=SIGNATURES[Kind.FORECASTER],
        example=example_rows(Kind.FORECASTER, parse_time("2026-01-01T00:00:00"), np.nan),
    )

    assert template.texts["requirements.txt"] == "mlflow==3.17.2"
    assert {
        line.split("==")[0] for line in mlmodel_template(Kind.FORECASTER).texts["requirements.txt"].split()
    } == set(REQUIRED_PACKAGES[Kind.FORECASTER])


def test_a_refusal_of_mlflow_becomes_a_registry_error(publisher, tracker, run):
    tracker.finish(run.run_id)
    publisher.client.delete_run(run.run_id)

    with pytest.raises(RegistryError, match=f"cannot write the run {run.run_id}"):
        publisher.log_content(run, RunContent(metrics={"skill": 0.5}))
