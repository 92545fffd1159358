"""A small fleet behind an endpoint: real models, real registry, in the test's own folder."""

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

from serving.server import create_app
from serving.service import FleetService
from serving.tokens import Tokens
from tests.plant import Learning, lenient, send
from training import fit_detector, fit_forecaster
from training.fleet import train_fleet
from training.kinds import Kind
from training.plan import Plan
from training.sensors import Fleet
from training.workspace import Workspace

RETRAINED = "2026-01-10"  # 200 hourly readings from the first of January end on the ninth


@pytest.fixture
def train(workspace: Workspace, plan, learning) -> Callable[..., None]:
    """Train sensors whose readings are there; again is another version."""

    def run(*names: str, **options) -> None:
        sensors = Fleet.of(workspace.engine).match(names)
        for outcome in train_fleet(workspace, sensors, list(Kind), plan, jobs=1, **options):
            assert not outcome.failed, outcome.error

    return run


@pytest.fixture
def plant(workspace: Workspace, train) -> Workspace:
    """Two sensors with champions of both kinds, and one with readings only."""
    for seed, name in enumerate(("PT-1", "TT-1", "NEW-1")):
        send(workspace, name, seed=seed)
    train("PT-1", "TT-1")
    return workspace


@pytest.fixture
def service(plant: Workspace) -> Iterator[FleetService]:
    """The service of that plant; it looks at the aliases when a test says so."""
    made = FleetService(plant)
    yield made
    made.close()


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The address of an app that is really served, by a thread, until the block ends."""
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
    with listening(create_app(service, Tokens())) as url, httpx.Client(base_url=url) as made:
        yield made


@pytest.fixture(scope="module")
def one_client(
    really_learned, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """One endpoint for all tests of a module: for those that change nothing."""
    folder = tmp_path_factory.mktemp("plant")
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SAFEPLAN_DATABASE_URL", "SAFEPLAN_CONF", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("SAFEPLAN_HOME", str(folder))
        quick = Learning(really_learned)
        patch.setattr(fit_detector, "learn_detector", quick.learn)
        patch.setattr(fit_forecaster, "learn_forecaster", quick.learn)
        workspace = Workspace(folder)
        send(workspace, "PT-1")
        train_fleet(workspace, workspace.fleet.match(), list(Kind), lenient(Plan.from_conf(trials=2)), jobs=1)
        service = FleetService(workspace)
        with listening(create_app(service, Tokens())) as url, httpx.Client(base_url=url) as made:
            yield made
        workspace.engine.dispose()
        mlflow.set_tracking_uri(None)


@pytest.fixture
def ask(client: httpx.Client) -> Callable[..., list[dict]]:
    """Post rows of (sensor, timestamp, value); the rows of the answer."""

    def post(*rows, **params) -> list[dict]:
        records = [dict(zip(("sensor_id", "timestamp", "value"), row, strict=True)) for row in rows]
        body = {"dataframe_records": records} | ({"params": params} if params else {})
        answer = client.post("/invocations", json=body)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content)["predictions"]

    return post
