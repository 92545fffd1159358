"""Houses that are furnished once a session: whole trainings are too slow to repeat."""

import fcntl
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import POSTGRES, _in_postgres
from tests.journeys.house import BIN, House, free_port, served
from tests.plant import readings


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Path]:
    """A folder by name that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    top = base if worker_id == "master" else base.parent

    def folder(name: str) -> Path:
        (top / name).mkdir(exist_ok=True)
        return top / name

    return folder


@pytest.fixture(scope="session")
def trained(shared: Callable[[str], Path]) -> House:
    """PT-1 with two champions, trained by the command line; look at it, do not change it."""
    house = House(shared("trained-house"), {})
    with (house.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (house.home / "ready").exists():
            house.run("load", house.write("readings.csv", readings("PT-1", 400)))
            house.run("train", "--jobs", "1")
            (house.home / "ready").touch()
    return house


@pytest.fixture
def empty_house(tmp_path: Path, empty_mlflow: Path) -> House:
    """A house with SQLite beside MLflow's own tables, and nothing in it."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    return House(tmp_path, {})


@pytest.fixture
def served_house(tmp_path: Path, empty_mlflow: Path) -> Iterator[House]:
    """A house on PostgreSQL, beside an MLflow server that asks for a password."""
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
        # Without it each of some 300 requests hashes the password for 0.1 s.
        "auth_cache_ttl_seconds = 600\n",
        encoding="utf-8",
    )
    joint = "&" if "?" in POSTGRES else "?"
    house = House(
        home,
        {
            "SAFEPLAN_DATABASE_URL": f"{POSTGRES}{joint}options=-csearch_path%3D{schema}",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": "a long password",
        },
    )
    line = [
        *(str(BIN / "mlflow"), "server", "--app-name", "basic-auth", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{server / 'mlflow.db'}"),
        *("--serve-artifacts", "--artifacts-destination", str(server / "artifacts")),
    ]
    secrets = {
        "MLFLOW_AUTH_CONFIG_PATH": str(server / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for tests only",
    }
    environment = {**house.environment(), **secrets}
    del environment["MLFLOW_TRACKING_URI"]
    with served(line, environment, server, f"http://127.0.0.1:{port}/health"):
        yield house
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")  # type: ignore[arg-type]
