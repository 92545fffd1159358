"""Tracking with a real MLflow store: nested runs, and one clear error if MLflow does not answer."""

import logging
import shutil

import mlflow
import pytest

from tests.support.installation import free_port
from training.errors import RegistryError, without_passwords
from training.registry.tracking import Tracker, TrackingSettings, connect

EXPERIMENT = "safeplan-detectors"


def open_run(tracker, name, tags=None, parent=None):
    return tracker.open(EXPERIMENT, name, tags or {}, parent).run_id


def test_a_child_run_is_nested_below_its_parent(tracker):
    parent = open_run(tracker, "3 detectors")
    child = open_run(tracker, "PT-1", {"sensor_id": "PT-1"}, parent)

    assert tracker.parent(child) == parent
    assert tracker.parent(parent) is None


def test_unfinished_runs_are_selected_by_their_tags(tracker):
    first = open_run(tracker, "one", {"a": "1"})
    second = open_run(tracker, "two", {"a": "1"})
    open_run(tracker, "other", {"a": "2"})
    tracker.finish(open_run(tracker, "done", {"a": "1"}))

    result = [run.info.run_id for run in tracker.unfinished(EXPERIMENT, {"a": "1"})]

    assert sorted(result) == sorted([first, second])


def test_a_failed_run_is_marked_as_failed(tracker, mlflow_client):
    run_id = open_run(tracker, "PT-1")

    tracker.finish(run_id, succeeded=False)

    assert mlflow_client.get_run(run_id).info.status == "FAILED"


def test_a_discarded_run_is_deleted_with_its_model(tracker, mlflow_client):
    interrupted, finished = (open_run(tracker, name) for name in ("interrupted", "finished"))
    experiment = tracker.experiment(EXPERIMENT)
    for run in (interrupted, finished):
        mlflow_client.create_logged_model(experiment, name="pt-1-detector", source_run_id=run)

    tracker.discard(interrupted)

    assert [run.info.run_id for run in mlflow_client.search_runs([experiment])] == [finished]
    assert [model.source_run_id for model in mlflow_client.search_logged_models([experiment])] == [finished]


def test_two_trainings_can_create_the_same_experiment_at_once(mlflow_client, tmp_path, monkeypatch):
    first, second = (Tracker(mlflow_client, tmp_path) for _ in range(2))
    # The second one searched before the first had created it.
    monkeypatch.setattr(second, "_find_experiment", _return_in_turn(None, first.experiment(EXPERIMENT)))

    assert second.experiment(EXPERIMENT) == first.experiment(EXPERIMENT)


def _return_in_turn(*results):
    remaining = list(results)
    return lambda _name: remaining.pop(0)


def test_artifacts_of_an_embedded_store_stay_in_the_home_folder(tracker, mlflow_client, tmp_path):
    result = mlflow_client.get_experiment(tracker.experiment(EXPERIMENT))

    assert result.artifact_location == str(tmp_path / "mlartifacts" / EXPERIMENT)


def test_the_environment_overrides_the_setting(empty_mlflow, monkeypatch, tmp_path):
    shutil.copy(empty_mlflow, tmp_path / "one.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'one.db'}")

    client = connect(TrackingSettings(uri=f"sqlite:///{tmp_path / 'other.db'}"))

    assert client.tracking_uri.endswith("one.db")
    mlflow.set_tracking_uri(None)


def test_a_second_installation_in_one_process_has_its_own_store(empty_mlflow, monkeypatch, tmp_path):
    """MLflow writes the chosen address to the environment, where it would look like the user's choice."""
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(empty_mlflow, tmp_path / name / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    first, second = (connect(TrackingSettings(), folder=tmp_path / name).tracking_uri for name in "ab")

    assert first.endswith("a/mlflow.db")
    assert second.endswith("b/mlflow.db")
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////var/mlflow.db", "sqlite:////var/mlflow.db"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("https://me:s@cret@host/path", "https://me:***@host/path"),
        ("https://token@host", "https://token:***@host"),
    ],
)
@pytest.mark.attack("reading passwords from addresses in messages", "masked")
def test_a_password_is_never_shown(url, shown):
    assert without_passwords(url) == shown


@pytest.fixture
def unreachable_mlflow(monkeypatch):
    """The address of an MLflow server that does not run."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    yield
    mlflow.set_tracking_uri(None)


@pytest.mark.usefixtures("unreachable_mlflow")
def test_a_server_that_does_not_answer_is_one_error_that_names_the_request(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    tracker = Tracker(connect(), tmp_path)

    with pytest.raises(RegistryError, match=f"cannot open the experiment {EXPERIMENT}"):
        open_run(tracker, "PT-1")
