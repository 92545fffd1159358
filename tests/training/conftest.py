"""A real MLflow store for each test, without a whole workspace around it."""

import shutil

import mlflow
import pytest
from mlflow import MlflowClient

from training.registry.tracking import Tracker, TrackingSettings, connect


@pytest.fixture
def mlflow_client(empty_mlflow, tmp_path, monkeypatch) -> MlflowClient:
    """A client of this test's own MLflow store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    yield connect(TrackingSettings(uri=f"sqlite:///{tmp_path / 'mlflow.db'}"))
    mlflow.set_tracking_uri(None)


@pytest.fixture
def tracker(mlflow_client, tmp_path) -> Tracker:
    """A tracker whose artifacts stay in the test's folder."""
    return Tracker(mlflow_client, tmp_path / "mlartifacts")
