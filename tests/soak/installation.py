"""The installation of a soak test: real processes of endpoint, scheduler and dashboard, and new readings.

Starts, stops and restarts the processes like systemd. Faults are in `tests.soak.faults`.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from tests.soak.proxy import TcpProxy
from tests.support.installation import BIN, Installation, free_port
from training.data.readings import ReadingStore
from training.errors import StoreError
from training.storage.database import open_database

STEP = timedelta(seconds=10)
SENSORS = ("PT-1", "PT-2", "TT-3")
HISTORY_READINGS = 400  # readings before the soak test begins
RESTART_SECONDS = 2.0  # systemd's RestartSec in conf/operate
PROCESS_MARK = "SAFEPLAN_SOAK"


@dataclass
class JobSchedule:
    """How often the jobs run: seldom enough for a shared machine, often enough to be hit by faults."""

    detect: str = "*/20 * * * * *"
    deliver: str = "*/15 * * * * *"
    forecast: str = "40 */2 * * * *"
    drift: str = "5 */5 * * * *"
    retrain: str = "15 */8 * * * *"
    retention: str = "30 * * * * *"
    keep_rows: timedelta = timedelta(minutes=8)

    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        crons = {"forecast": self.forecast, "drift": self.drift, "retrain": self.retrain}
        crons |= {"detect": self.detect, "deliver": self.deliver, "retention": self.retention}
        crons["allocate_budget"] = "50 */10 * * * *"
        rules = {
            f"SAFEPLAN_SCHEDULE_{job.upper()}": json.dumps({"cron": cron, "timeout": "PT3M"})
            for job, cron in crons.items()
        }
        retention = f"PT{self.keep_rows.total_seconds():g}S"
        names = ("PREDICTIONS", "MESSAGES", "RUNS", "DRIFT_CHECKS")
        return rules | {f"SAFEPLAN_RETENTION_{name}": retention for name in names}


SETTINGS = {
    "SAFEPLAN_TUNING_TRIALS": "2",
    "SAFEPLAN_FORECASTER_HORIZON_STEPS": "6",
    "SAFEPLAN_WINDOW_DETECTOR_ROWS": "400",
    "SAFEPLAN_WINDOW_FORECASTER_ROWS": "400",
    "SAFEPLAN_GATE_MIN_SKILL": "-9",
    "SAFEPLAN_GATE_MIN_COVERAGE": "0",
    "SAFEPLAN_GATE_MAX_ALARM_EXCESS": "999",
    "SAFEPLAN_GATE_MAX_RECALL_LOSS": "1",
    "SAFEPLAN_GATE_MIN_RECALL": "0",
    "SAFEPLAN_RETENTION_KEEP_VERSIONS": "3",
    "SAFEPLAN_RETRAINING_MAX_AGE": "PT6M",
    "SAFEPLAN_RETRAINING_REPLAY": "PT10M",
    "SAFEPLAN_ANOMALY_ALERTS_HOLD": "PT10S",
    "SAFEPLAN_ANOMALY_ALERTS_DANGER_HOLD": "PT10S",
    "SAFEPLAN_LIFE_RETURN_AFTER": "PT20S",
    "SAFEPLAN_LIFE_CLOSE_AFTER": "PT40S",
    "SAFEPLAN_LIFE_CLOSE_STEPS": "3",
    "SAFEPLAN_LIFE_FORGET_AFTER": "PT1M",
    "SAFEPLAN_LIFE_FIRST_LOOK": "PT1M",
    "SAFEPLAN_DELIVERY_FIRST_RETRY": "PT5S",
    "SAFEPLAN_DELIVERY_PATIENCE": "5",
    "SAFEPLAN_PREDICTIONS_KEEP": "true",
    "SAFEPLAN_PAGE_REFRESH": "10",
}


@dataclass
class SupervisedProcess:
    """A process that is restarted when it ends."""

    role: str
    command: list[str]
    environment: dict[str, str]
    home: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    due: float = 0.0  # earliest time of the next start

    def restart_if_dead(self) -> None:
        """Start the process unless it runs, a moment after it ended."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            self.process, self.due = None, time.monotonic() + RESTART_SECONDS
        if time.monotonic() >= self.due:
            self.starts += 1
            with (self.home / f"{self.role}.log").open("ab") as log:
                self.process = subprocess.Popen(
                    self.command,
                    env=self.environment,
                    cwd=self.home,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def end(self) -> None:
        """Send SIGTERM, wait, then SIGKILL, like systemd."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class MessageSink:
    """Receives notifications of alerts and counts each one."""

    port: int = field(default_factory=free_port)
    counts: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive notifications during the block."""
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                sink.counts[body] = sink.counts.get(body, 0) + 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
        server.server_close()


class ReadingFeed:
    """Sends readings like a plant: one per step, repeated until the database has stored them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine | None = None
        self.sent: dict[str, list[datetime]] = {sensor: [] for sensor in SENSORS}
        self.pending = pd.DataFrame()
        self.refused = 0
        self.newest: dict[str, tuple[datetime, float]] = {}
        self.random = np.random.default_rng(0)
        self.at = _floor(datetime.now(UTC).replace(tzinfo=None)) - HISTORY_READINGS * STEP

    def history(self) -> pd.DataFrame:
        """The readings before the soak test."""
        rows = [row for _ in range(HISTORY_READINGS) for row in self._next_readings(with_anomalies=False)]
        return pd.DataFrame(rows)

    def send(self) -> None:
        """Store all readings that are due, and those that could not be stored before."""
        rows = []
        while self.at <= datetime.now(UTC).replace(tzinfo=None):
            rows += self._next_readings()
        self.pending = pd.concat([self.pending, pd.DataFrame(rows)], ignore_index=True)
        if self.pending.empty:
            return
        try:
            if self.engine is None:
                self.engine = open_database(self.url)
            ReadingStore(self.engine).ingest(self.pending)
        except StoreError:
            self.refused += 1
            return
        self.pending = pd.DataFrame()

    def _next_readings(self, *, with_anomalies: bool = True) -> list[dict[str, object]]:
        seconds = self.at.timestamp()
        rows: list[dict[str, object]] = []
        for sensor_index, sensor in enumerate(SENSORS):
            value = 20 + 5 * np.sin(seconds / 300 + sensor_index) + self.random.normal(0, 0.3)
            # One minute in six is anomalous, so an alert opens, returns and closes.
            if with_anomalies and int(seconds // 60) % 6 == 2 * sensor_index and seconds % 60 < 50:
                value += 12
            value = round(float(value), 3)
            rows.append({"sensor_id": sensor, "timestamp": self.at, "value": value})
            self.sent[sensor].append(self.at)
            self.newest[sensor] = (self.at, value)
        self.at += STEP
        return rows


@dataclass
class SoakInstallation:
    """All processes of the soak test and their addresses."""

    installation: Installation
    database: str  # its address without the proxy
    services: dict[str, SupervisedProcess]
    proxies: dict[str, TcpProxy]
    feed: ReadingFeed
    sink: MessageSink
    ports: dict[str, int]
    mlflow_file: Path

    def restart_dead(self) -> None:
        """Start the processes that have ended."""
        for service in self.services.values():
            service.restart_if_dead()

    def end(self) -> None:
        """Stop all processes and proxies."""
        for service in self.services.values():
            service.end()
        for proxy in self.proxies.values():
            proxy.close()

    def of(self, role: str) -> list[int]:
        """All running processes of a service, the main one first."""
        process = self.services[role].process
        pids = marked_processes(f"{PROCESS_MARK}={self.installation.settings[PROCESS_MARK]}-{role}")
        first = [process.pid] if process is not None and process.pid in pids else []
        return first + sorted(pids - set(first))


def marked_processes(mark: str) -> set[int]:
    """Processes that were started with this variable in their environment, and their forks."""
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{mark}\0".encode() in (folder / "environ").read_bytes():
                pids.add(int(folder.name))
        except OSError:
            continue
    return pids


def build_installation(home: Path, postgres: str | None, schedule: JobSchedule) -> SoakInstallation:
    """An installation with loaded history and trained champions, whose processes are not started yet.

    With the address of an empty PostgreSQL database, MLflow is a server too, and both are behind proxies.
    """
    home.mkdir(parents=True)
    (home / "tmp").mkdir()
    sink, proxies, services = MessageSink(), {}, {}
    ports = {"endpoint": free_port(), "page": free_port()}
    mark = uuid.uuid4().hex
    settings = SETTINGS | schedule.environment()
    settings |= {PROCESS_MARK: mark, "TMPDIR": str(home / "tmp")}
    settings |= {"SAFEPLAN_CHANNEL_ROOM": f"json://127.0.0.1:{sink.port}/"}
    database, mlflow_file = f"sqlite:///{home / 'safeplan.db'}", home / "mlflow.db"
    client_url = database
    if postgres is not None:
        database = postgres
        host, _, port = postgres.split("@")[1].split("/")[0].partition(":")
        proxies["database"] = TcpProxy((host, int(port)))
        client_url = postgres.replace(f"{host}:{port}", f"127.0.0.1:{proxies['database'].port}")
        ports["mlflow"] = free_port()
        proxies["mlflow"] = TcpProxy(("127.0.0.1", ports["mlflow"]))
        (home / "mlflow").mkdir()
        mlflow_file = home / "mlflow" / "mlflow.db"
        settings["SAFEPLAN_DATABASE_URL"] = client_url
        settings["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{proxies['mlflow'].port}"
    command_home = Installation(home, settings)
    commands = {
        "endpoint": [str(BIN / "safeplan"), "serve", "--port", str(ports["endpoint"])],
        "scheduler": [str(BIN / "safeplan"), "schedule"],
        "page": [str(BIN / "safeplan"), "dashboard", "--port", str(ports["page"])],
    }
    if postgres is not None:
        commands["mlflow"] = [
            *(str(BIN / "mlflow"), "server", "--workers", "1", "--host", "127.0.0.1"),
            *("--port", str(ports["mlflow"]), "--backend-store-uri", f"sqlite:///{mlflow_file}"),
            *("--serve-artifacts", "--artifacts-destination", str(home / "mlflow" / "artifacts")),
        ]
    for role, command in commands.items():
        environment = command_home.environment(**{PROCESS_MARK: f"{mark}-{role}"})
        if role == "mlflow":
            environment.pop("MLFLOW_TRACKING_URI")
        services[role] = SupervisedProcess(role, command, environment, home)
    installation = SoakInstallation(
        command_home, database, services, proxies, ReadingFeed(client_url), sink, ports, mlflow_file
    )
    _load_and_train(installation)
    return installation


def _load_and_train(installation: SoakInstallation) -> None:
    if "mlflow" in installation.services:
        installation.services["mlflow"].restart_if_dead()
        wait_for_port(installation.ports["mlflow"])
    installation.installation.run(
        "load", installation.installation.write("history.csv", installation.feed.history())
    )
    installation.installation.run("train", "--jobs", "1")


def wait_for_port(port: int, timeout: float = 300) -> None:
    """Wait until a server listens on the port."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise AssertionError(f"no server listens on port {port}")


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=0, second=moment.second // 10 * 10)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(pid: int) -> None:
    """Send SIGKILL if the process exists."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
