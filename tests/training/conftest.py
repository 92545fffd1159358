"""A real MLflow store for each test: tables made once, copied for each."""

import shutil

import mlflow
import pytest
from mlflow import MlflowClient

from training.tracking import Tracker, TrackingSettings, connect


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory):
    """An mlflow.db with its tables; making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("mlflow")
    connect(TrackingSettings(uri=f"sqlite:///{folder / 'mlflow.db'}")).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def mlflow_client(mlflow_template, tmp_path, monkeypatch) -> MlflowClient:
    """A client of this test's own MLflow store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    yield connect(TrackingSettings(uri=f"sqlite:///{tmp_path / 'mlflow.db'}"))
    mlflow.set_tracking_uri(None)


@pytest.fixture
def tracker(mlflow_client, tmp_path) -> Tracker:
    """A tracker whose artifacts stay in the test's folder."""
    return Tracker(mlflow_client, tmp_path / "mlartifacts")
