"""The house that the load test shakes: the endpoint, with PostgreSQL and MLflow behind wires that can be cut.

Knows how they are started, asked and ended. Leaves what happens to them to `serving_load`.
"""

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy import URL, make_url, select

from benchmarks.serving_processes import BIN, CuttableConnection, ServerProcess, free_port
from training.data.readings import ReadingStore
from training.kinds import Kind
from training.storage.database import ml_predictions, open_database
from training.workspace import Workspace

WORKERS = 2
JSON_BODY = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class LoadTestInstallation:
    """The endpoint, what it leans on, and the wires between them."""

    server: ServerProcess
    port: int
    registry: CuttableConnection
    database: CuttableConnection
    address: URL  # of the database, past the wire
    home: Path

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of one request, over a connection of its own: any worker may answer.

        Raises:
            OSError, HTTPException: there was no answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, JSON_BODY if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get_json(self, path: str) -> Any:
        """The JSON answer of a path."""
        return json.loads(self.request("GET", path)[1])

    def stored_predictions(self) -> set[tuple[str, str, str, str]]:
        """Sensor, kind, time and version of every prediction in the database."""
        engine = open_database(self.address.render_as_string(hide_password=False))
        columns = ml_predictions.c
        selected = (columns.sensor_id, columns.model_type, columns.timestamp, columns.model_version)
        with engine.connect() as connection:
            rows = connection.execute(select(*selected)).all()
        engine.dispose()
        return {(row[0], row[1], row[2].isoformat(timespec="milliseconds"), row[3]) for row in rows}

    def leftover_predictions(self) -> set[tuple[str, str, str, str]]:
        """The same of every prediction that waits in a file for the next start."""
        result = set()
        for path in (self.home / ".safeplan").glob("predictions-*.jsonl"):
            for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                kind = Kind.DETECTOR if "anomaly_score" in row else Kind.FORECASTER
                moment = datetime.fromtimestamp(round(row["timestamp"], 3), UTC).replace(tzinfo=None)
                stamp = moment.isoformat(timespec="milliseconds")
                result.add((row["sensor_id"], kind.model_type, stamp, row["model_version"]))
        return result


@contextmanager
def running_installation(
    workspace: Workspace, names: Sequence[str], folder: Path, database: str
) -> Iterator[LoadTestInstallation]:
    """A house with the readings of these sensors, until the block ends."""
    environ = {"SAFEPLAN_HOME": str(workspace.home), "SAFEPLAN_PREDICTIONS_KEEP": "true"}
    with ExitStack() as stack:
        address = stack.enter_context(_database(database))
        _copy_readings(workspace, names, address)
        to_database = CuttableConnection(address.host or "127.0.0.1", address.port or 5432)
        through = address.set(host="127.0.0.1", port=to_database.port)
        environ["SAFEPLAN_DATABASE_URL"] = through.render_as_string(hide_password=False)
        store, port = f"sqlite:///{workspace.home / 'mlflow.db'}", free_port()
        command = [
            str(BIN / "mlflow"),
            "server",
            "--workers",
            "1",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        # Ten idle workers otherwise take a third of a core from what is measured.
        lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        mlflow = ServerProcess([*command, "--backend-store-uri", store], lean, folder / "mlflow.log")
        stack.enter_context(mlflow).wait_for(f"http://127.0.0.1:{port}/health")
        to_registry = CuttableConnection("127.0.0.1", port)
        environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{to_registry.port}"
        port = free_port()
        command = [str(BIN / "safeplan"), "serve", "--workers", str(WORKERS), "--port", str(port)]
        server = stack.enter_context(ServerProcess(command, environ, folder / "served.log"))
        server.wait_for(f"http://127.0.0.1:{port}/ready")
        yield LoadTestInstallation(server, port, to_registry, to_database, address, workspace.home)


@contextmanager
def _database(url: str) -> Iterator[URL]:
    name = f"benchmark_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield make_url(url).set(database=name)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _copy_readings(workspace: Workspace, names: Sequence[str], address: URL) -> None:
    engine = open_database(address.render_as_string(hide_password=False))
    ReadingStore(engine).ingest(workspace.readings.many(names))
    engine.dispose()
