"""Tracking against a real MLflow store: comparable runs, and one clear line where MLflow is away."""

import logging
import shutil

import mlflow
import pytest

from tests.support.installation import free_port
from training.errors import RegistryError, without_passwords
from training.registry.tracking import Tracker, TrackingSettings, connect

EXPERIMENT = "safeplan-detectors"


def test_a_child_run_is_nested_below_its_parent(tracker):
    parent = tracker.start(EXPERIMENT, "3 detectors", {})
    child = tracker.start(EXPERIMENT, "PT-1", {"sensor_id": "PT-1"}, parent)

    assert tracker.parent(child) == parent
    assert tracker.parent(parent) is None


def test_unfinished_runs_are_found_by_their_tags_newest_first(tracker):
    first = tracker.start(EXPERIMENT, "one", {"a": "1"})
    second = tracker.start(EXPERIMENT, "two", {"a": "1"})
    tracker.start(EXPERIMENT, "other", {"a": "2"})
    tracker.finish(tracker.start(EXPERIMENT, "done", {"a": "1"}))

    result = [run.info.run_id for run in tracker.unfinished(EXPERIMENT, {"a": "1"})]

    assert sorted(result) == sorted([first, second])


def test_a_run_that_failed_says_so(tracker, mlflow_client):
    run_id = tracker.start(EXPERIMENT, "PT-1", {})

    tracker.finish(run_id, succeeded=False)

    assert mlflow_client.get_run(run_id).info.status == "FAILED"


def test_a_discarded_run_is_gone_with_the_model_it_was_uploading(tracker, mlflow_client):
    run_id, kept = (tracker.start(EXPERIMENT, name, {}) for name in ("cut off", "kept"))
    experiment = tracker.experiment(EXPERIMENT)
    for run in (run_id, kept):
        mlflow_client.create_logged_model(experiment, name="pt-1-detector", source_run_id=run)

    tracker.discard(run_id)

    assert [run.info.run_id for run in mlflow_client.search_runs([experiment])] == [kept]
    assert [model.source_run_id for model in mlflow_client.search_logged_models([experiment])] == [kept]


def test_two_trainings_may_open_the_same_experiment_at_once(mlflow_client, tmp_path, monkeypatch):
    first, second = (Tracker(mlflow_client, tmp_path) for _ in range(2))
    # The second one looked before the first had created it.
    monkeypatch.setattr(second, "_find_experiment", _answers(None, first.experiment(EXPERIMENT)))

    assert second.experiment(EXPERIMENT) == first.experiment(EXPERIMENT)


def _answers(*given):
    left = list(given)
    return lambda _name: left.pop(0)


def test_artifacts_of_an_embedded_store_stay_in_the_home_folder(tracker, mlflow_client, tmp_path):
    result = mlflow_client.get_experiment(tracker.experiment(EXPERIMENT))

    assert result.artifact_location == str(tmp_path / "mlartifacts" / EXPERIMENT)


def test_the_environment_names_the_server_before_the_settings_do(empty_mlflow, monkeypatch, tmp_path):
    shutil.copy(empty_mlflow, tmp_path / "one.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'one.db'}")

    client = connect(TrackingSettings(uri=f"sqlite:///{tmp_path / 'other.db'}"))

    assert client.tracking_uri.endswith("one.db")
    mlflow.set_tracking_uri(None)


def test_a_second_installation_in_one_process_has_its_own_store(empty_mlflow, monkeypatch, tmp_path):
    """MLflow writes what is chosen into the environment, where it would pass for the user's choice."""
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
def test_a_server_that_is_away_is_one_error_of_ours_that_says_what_was_tried(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    tracker = Tracker(connect(), tmp_path)

    with pytest.raises(RegistryError, match=f"cannot open the experiment {EXPERIMENT}"):
        tracker.start(EXPERIMENT, "PT-1", {})
