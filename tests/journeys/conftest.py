"""Installations that are trained once per session, because training is too slow to repeat."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import POSTGRES, _in_postgres
from tests.support.installation import BIN, Installation, copy_installation, free_port, running_server
from tests.support.workspaces import BuildOnce, make_readings


@pytest.fixture(scope="session")
def trained(build_once: BuildOnce) -> Installation:
    """PT-1 with a champion of each kind, trained through the command line; tests must not change it."""

    def train(home: Path) -> None:
        installation = Installation(home, {})
        installation.run("load", installation.write("readings.csv", make_readings("PT-1", 400)))
        installation.run("train", "--jobs", "1")

    return Installation(build_once("trained", train), {})


@pytest.fixture(scope="session")
def trained_twice(build_once: BuildOnce, trained: Installation) -> Installation:
    """The same with a second detector that waits for approval; tests must not change it."""

    def train(home: Path) -> None:
        copy = copy_installation(trained, home)
        copy.run("train", "--kind", "detector", "--fresh", "--promote", "manual", "--jobs", "1")

    return Installation(build_once("trained_twice", train), {})


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
