"""Installations that are trained once per session, because training is too slow to repeat."""

import fcntl
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import POSTGRES, _in_postgres
from tests.support.installation import BIN, Installation, free_port, running_server
from tests.support.workspaces import make_readings


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Path]:
    """A function that returns a folder which all workers of the session share."""
    base = tmp_path_factory.getbasetemp()
    top = base if worker_id == "master" else base.parent

    def folder(name: str) -> Path:
        (top / name).mkdir(exist_ok=True)
        return top / name

    return folder


@pytest.fixture(scope="session")
def trained(shared_folder: Callable[[str], Path]) -> Installation:
    """PT-1 with a champion of each kind, trained through the command line; tests must not change it."""
    installation = Installation(shared_folder("trained"), {})
    with (installation.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (installation.home / "ready").exists():
            installation.run("load", installation.write("readings.csv", make_readings("PT-1", 400)))
            installation.run("train", "--jobs", "1")
            (installation.home / "ready").touch()
    return installation


@pytest.fixture
def empty_installation(tmp_path: Path, empty_mlflow: Path) -> Installation:
    """An empty installation with SQLite and an embedded MLflow store."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    return Installation(tmp_path, {})


@pytest.fixture
def server_installation(tmp_path: Path, empty_mlflow: Path) -> Iterator[Installation]:
    """An installation on PostgreSQL with an MLflow server that requires a password."""
    schema, port = f"test_{uuid.uuid4().hex}", free_port()
    _in_postgres(f"CREATE SCHEMA {schema}")
    home, server = tmp_path / "home", tmp_path / "server"
    home.mkdir()
    server.mkdir()
    shutil.copy(empty_mlflow, server / "mlflow.db")
    (server / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{server / 'auth.db'}\n"
        "admin_username = admin\nadmin_password = a long password\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # Otherwise each of about 300 requests hashes the password for 0.1 s.
        "auth_cache_ttl_seconds = 600\n",
        encoding="utf-8",
    )
    separator = "&" if "?" in POSTGRES else "?"
    installation = Installation(
        home,
        {
            "SAFEPLAN_DATABASE_URL": f"{POSTGRES}{separator}options=-csearch_path%3D{schema}",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": "a long password",
        },
    )
    command = [
        *(str(BIN / "mlflow"), "server", "--app-name", "basic-auth", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{server / 'mlflow.db'}"),
        *("--serve-artifacts", "--artifacts-destination", str(server / "artifacts")),
    ]
    secrets = {
        "MLFLOW_AUTH_CONFIG_PATH": str(server / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for tests only",
    }
    environment = {**installation.environment(), **secrets}
    del environment["MLFLOW_TRACKING_URI"]
    with running_server(command, environment, server, f"http://127.0.0.1:{port}/health"):
        yield installation
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")  # type: ignore[arg-type]
