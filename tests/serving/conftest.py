"""A small fleet behind an endpoint: real models and a real registry in the test's own folder."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import mlflow
import pytest
import uvicorn
from fastapi import FastAPI

from serving.http.app import create_app
from serving.http.process_tuning import MLFLOW_CLIENT_ENVIRONMENT
from serving.http.tokens import Tokens
from serving.models.champions import Champions
from serving.scoring.fleet_service import FleetService
from tests.support.workspaces import TrainingStub, ingest_readings, with_lenient_gate
from training.data.sensor_store import load_fleet
from training.kinds import Kind
from training.operations.promotion import roll_back
from training.pipeline import fit_detector, fit_forecaster
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace


@contextmanager
def isolated_workspace(folder: Path) -> Iterator[Workspace]:
    """An installation in a folder, isolated from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SAFEPLAN_DATABASE_URL", "SAFEPLAN_CONF", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        for name in MLFLOW_CLIENT_ENVIRONMENT:
            patch.setenv(name, MLFLOW_CLIENT_ENVIRONMENT[name])
        patch.setenv("SAFEPLAN_HOME", str(folder))
        workspace = Workspace(folder)
        yield workspace
        workspace.engine.dispose()
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def trained_home(fitted_models, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sensors with champions of both kinds, PT-1 with a second version, and one with readings only."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    with isolated_workspace(folder) as workspace, pytest.MonkeyPatch.context() as patch:
        stub = TrainingStub(fitted_models)
        patch.setattr(fit_detector, "train_detector", stub.train)
        patch.setattr(fit_forecaster, "train_forecaster", stub.train)
        for seed, name in enumerate(("PT-1", "TT-1", "NEW-1")):
            ingest_readings(workspace, name, seed=seed)
        plan = with_lenient_gate(Plan.from_conf(trials=2))
        for names in (["PT-1", "TT-1"], ["PT-1"]):
            sensors = load_fleet(workspace.engine).match(names)
            for outcome in train_fleet(workspace, sensors, list(Kind), plan, jobs=1, fresh=True):
                assert not outcome.failed, outcome.error
        for kind in Kind:
            roll_back(workspace, workspace.fleet.sensor("PT-1"), kind)
        Champions(workspace.registry, workspace.model_cache).detector("TT-1")
    return folder


@pytest.fixture
def trained_workspace(trained_home: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of the trained installation that one test may change."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("mlflow.db", "safeplan.db"):
        shutil.copy(trained_home / name, home / name)
    with isolated_workspace(home) as workspace:
        yield workspace


@pytest.fixture
def service(trained_workspace: Workspace) -> Iterator[FleetService]:
    """The service of that installation; it polls only when a test calls `refresh`."""
    created = FleetService(trained_workspace)
    yield created
    created.close()


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The URL of an app served by a thread until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=10))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive(), "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def client(service: FleetService) -> Iterator[httpx.Client]:
    """The endpoint, without tokens."""
    with listening(create_app(service, Tokens())) as url, httpx.Client(base_url=url, timeout=60) as created:
        yield created


@pytest.fixture(scope="module")
def shared_client(trained_home: Path) -> Iterator[httpx.Client]:
    """One endpoint for all tests of a module that change nothing."""
    with isolated_workspace(trained_home) as workspace:
        app = create_app(FleetService(workspace), Tokens())
        with listening(app) as url, httpx.Client(base_url=url, timeout=60) as created:
            yield created


@pytest.fixture
def ask(client: httpx.Client) -> Callable[..., list[dict]]:
    """Post rows of (sensor, timestamp, value) and return the rows of the answer."""

    def post(*rows, **params) -> list[dict]:
        records = [dict(zip(("sensor_id", "timestamp", "value"), row, strict=True)) for row in rows]
        body = {"dataframe_records": records} | ({"params": params} if params else {})
        answer = client.post("/invocations", json=body)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content)["predictions"]

    return post


@pytest.fixture(scope="module")
def shared_service(trained_home: Path) -> Iterator[FleetService]:
    """One service for all tests of a module that change nothing."""
    with isolated_workspace(trained_home) as workspace:
        created = FleetService(workspace)
        yield created
        created.close()
