"""Measurements of a soak test: memory, handles, threads, files, rows, and the responses that callers receive.

Each measurement is one line of JSON, so an interrupted run can be evaluated too (`tests.soak.evaluation`).
"""

import asyncio
import json
import os
import random
import re
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

from monitoring.dashboard.part_errors import UNEXPECTED
from tests.soak.installation import SENSORS, SoakInstallation

TABLES = (
    *("sensor_readings", "ml_predictions", "alerts", "alert_changes", "alert_watches", "outbox"),
    *("job_runs", "leases", "drift_checks", "audit", "labels"),
)
MLFLOW_TABLES = ("runs", "model_versions", "logged_models")
VIEWS = ("fleet", "trends", "forecast", "anomalies", "models")
TIMEOUT_SECONDS = 60.0  # long, because the machine is shared
MAX_ERROR_LENGTH = 500
COLOUR = re.compile(r"\x1b\[[\d;]*m")
ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*: ", re.MULTILINE)  # begins the last line of a traceback


class NoteLog:
    """A file of JSON lines, each with the seconds since the soak test began."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = time.monotonic()
        self.lock = threading.Lock()

    def __call__(self, what: str, **values: Any) -> None:
        """Write one line."""
        line = json.dumps({"t": round(time.monotonic() - self.begun, 2), "what": what, **values})
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def measure_processes(installation: SoakInstallation, note: NoteLog) -> None:
    """Measure all processes, files and rows."""
    for role, service in installation.services.items():
        pids = installation.of(role)
        if service.process is None or service.process.pid not in pids:
            continue
        measured = [(pid, figures) for pid in pids if (figures := _process(pid)) is not None]
        # Jobs run in their own process groups and are not permanent.
        group = _group(service.process.pid)
        permanent = [(pid, figures) for pid, figures in measured if _group(pid) == group]
        if not permanent or permanent[0][0] != service.process.pid:
            continue
        main_process, *others = permanent
        note(
            "process",
            role=role,
            pid=main_process[0],
            starts=service.starts,
            **main_process[1],
            others=len(others),
            others_mb=round(sum(figures["mb"] for _, figures in others), 1),
            others_handles=sum(figures["handles"] for _, figures in others),
            others_cpu=round(sum(figures["cpu"] for _, figures in others), 1),
        )
    home = installation.installation.home
    note(
        "files",
        temporary=_files(home / "tmp"),
        cached=_files(home / ".safeplan"),
        artifacts=_files(home / "mlartifacts") + _files(home / "mlflow" / "artifacts"),
    )
    note("rows", **_rows(installation))


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def _process(pid: int) -> dict[str, Any] | None:
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(
            line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
        )
        times = (folder / "stat").read_text().rpartition(")")[2].split()
        handles = sum(1 for _ in (folder / "fd").iterdir())
    except OSError:
        return None
    return {
        "mb": round(int(status.get("VmRSS", "0 kB").split()[0]) / 1024, 1),
        "threads": int(status["Threads"]),
        "handles": handles,
        "cpu": (int(times[11]) + int(times[12])) / 100,
    }


def _files(folder: Path) -> int:
    try:
        return sum(1 for path in folder.rglob("*") if path.is_file())
    except OSError:  # deleted meanwhile
        return -1


def _rows(installation: SoakInstallation) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    try:
        counts |= dict(zip(TABLES, count_rows(installation, TABLES), strict=True))
    except (sqlite3.Error, psycopg.Error) as error:
        counts["error"] = f"{type(error).__name__}"
    try:
        connection = sqlite3.connect(f"file:{installation.mlflow_file}?mode=ro", uri=True, timeout=1)
        for table in MLFLOW_TABLES:
            (counts[table],) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        connection.close()
    except sqlite3.Error as error:
        counts["mlflow_error"] = f"{type(error).__name__}"
    return counts


def count_rows(installation: SoakInstallation, tables: tuple[str, ...]) -> list[int]:
    """The number of rows of each table."""
    return [run_query(installation, f"SELECT count(*) FROM {table}")[0][0] for table in tables]


def run_query(installation: SoakInstallation, query: str) -> list[tuple[Any, ...]]:
    """Query the database without its proxy; a lock is waited for one second."""
    if installation.database.startswith("sqlite"):
        path = installation.installation.home / "safeplan.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    with psycopg.connect(installation.database, connect_timeout=5) as direct:
        direct.execute("SET lock_timeout = '1s'")
        return direct.execute(query).fetchall()  # type: ignore[arg-type]


class RepeatingTask(threading.Thread):
    """Calls a function periodically until it is stopped, and logs its errors."""

    def __init__(self, name: str, every: float, do: Callable[[], None], note: NoteLog) -> None:
        super().__init__(name=name, daemon=True)
        self.every, self.work, self.note = every, do, note
        self.stopped = threading.Event()

    def run(self) -> None:
        """Run until `stop` is called."""
        while not self.stopped.is_set():
            started = time.monotonic()
            try:
                self.work()
            except Exception as error:  # noqa: BLE001 (logged, and evaluated at the end)
                self.note("trouble", of=self.name, error=f"{type(error).__name__}: {error}"[:500])
            self.stopped.wait(max(0.1, self.every - (time.monotonic() - started)))

    def stop(self) -> None:
        """Stop after the current call."""
        self.stopped.set()
        self.join(2 * TIMEOUT_SECONDS)


def post_reading(installation: SoakInstallation, note: NoteLog) -> None:
    """Request a score and a forecast for the newest reading of a sensor."""
    sensor = SENSORS[-1]
    at, value = installation.feed.newest[sensor]
    rows = [{"sensor_id": sensor, "timestamp": f"{at.isoformat()}Z", "value": value}]
    body = json.dumps({"dataframe_records": rows, "params": {"horizon": 3}}).encode()
    address = f"http://127.0.0.1:{installation.ports['endpoint']}/invocations"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            predictions = json.loads(response.read())["predictions"]
            status, problem = (
                response.status,
                next((row["error"] for row in predictions if row["error"]), None),
            )
    except urllib.error.HTTPError as error:
        status, problem = error.code, error.read().decode()[:300]
    except (OSError, ValueError) as error:
        status, problem = 0, f"{type(error).__name__}: {error}"[:200]
    note("answer", status=status, error=problem, seconds=round(time.monotonic() - started, 3))


def visit_page(installation: SoakInstallation, note: NoteLog) -> None:
    """Open the dashboard in one session, wait until it is drawn, and close it."""
    view = random.choice(VIEWS)
    log = installation.installation.home / "page.log"
    logged = log.stat().st_size
    started = time.monotonic()
    drawn = DrawnPage()
    try:
        draw = _draw_page(installation.ports["page"], view, drawn)
        asyncio.run(asyncio.wait_for(draw, TIMEOUT_SECONDS))
        state = "drawn"
    except Exception as error:  # noqa: BLE001 (an unreachable dashboard is a result here)
        state = "unreachable"
        drawn.exceptions.append(f"{type(error).__name__}: {error}"[:MAX_ERROR_LENGTH])
    if drawn.exceptions:
        drawn.exceptions += filter(None, [logged_error(log, logged)])
    seconds = round(time.monotonic() - started, 2)
    note("page", view=view, state=state, exceptions=drawn.exceptions, notices=drawn.notices, seconds=seconds)


@dataclass
class DrawnPage:
    """What one session was shown instead of data."""

    exceptions: list[str] = field(default_factory=list)  # of the program, handled by nobody
    notices: list[str] = field(default_factory=list)  # errors and warnings with an explanation

    def add(self, element: Element) -> None:
        """Note an element of the page if it shows an error."""
        kind = element.WhichOneof("type")
        if kind == "exception":
            # The dashboard hides the message of an exception from its readers; the log has it.
            self.exceptions.append(
                f"{element.exception.type}: {element.exception.message}"[:MAX_ERROR_LENGTH]
            )
        elif kind == "alert" and element.alert.format in (Alert.ERROR, Alert.WARNING):
            unexpected = UNEXPECTED in element.alert.body
            (self.exceptions if unexpected else self.notices).append(element.alert.body[:MAX_ERROR_LENGTH])


def logged_error(log: Path, start: int) -> str:
    """The end of the last traceback that a log contains from a position on; empty without one."""
    with log.open("rb") as file:
        file.seek(start)
        text = COLOUR.sub("", file.read().decode(errors="replace"))
    errors = list(ERROR_LINE.finditer(text))
    return " ".join(text[errors[-1].start() :].split())[:MAX_ERROR_LENGTH] if errors else ""


async def _draw_page(port: int, view: str, drawn: DrawnPage) -> None:
    base = f"127.0.0.1:{port}"
    message = BackMsg()
    message.rerun_script.query_string = f"view={view}"
    async with connect(
        f"ws://{base}/_stcore/stream", origin=f"http://{base}", subprotocols=["streamlit"], max_size=None
    ) as socket:
        await socket.send(message.SerializeToString())
        while True:
            received = ForwardMsg.FromString(await socket.recv())
            if received.WhichOneof("type") == "delta":
                drawn.add(received.delta.new_element)
            if received.WhichOneof("type") == "script_finished":
                return


def take_account(installation: SoakInstallation) -> dict[str, Any]:
    """Count readings, scores and notifications that were sent, stored, lost or stored twice."""
    feed = installation.feed
    unsent = len(feed.pending)
    lost, doubled, unscored = unsent, 0, 0
    for sensor in SENSORS:
        stored = [
            at
            for (at,) in run_query(
                installation, f"SELECT timestamp FROM sensor_readings WHERE sensor_id = '{sensor}'"
            )
        ]
        stored_times = {_to_naive_utc(at) for at in stored}
        doubled += len(stored) - len(stored_times)
        lost += len(set(feed.sent[sensor]) - stored_times)
        scored = {
            _to_naive_utc(at)
            for (at,) in run_query(
                installation,
                "SELECT DISTINCT timestamp FROM ml_predictions"
                f" WHERE sensor_id = '{sensor}' AND model_type = 'ANOMALY_DETECTOR'",
            )
        }
        if scored:
            unscored += len({at for at in stored_times if at >= min(scored)} - scored)
        else:
            unscored += len(stored_times)
    changes = run_query(installation, "SELECT alert_id, revision FROM alert_changes")
    waiting = run_query(
        installation, "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND given_up_at IS NULL"
    )[0][0]
    return {
        "readings": sum(len(sent) for sent in feed.sent.values()),
        "lost": lost,
        "doubled": doubled,
        "refused_by_a_broken_database": feed.refused,
        "unscored": unscored,
        "alert_changes": len(changes),
        "alert_changes_doubled": len(changes) - len(set(changes)),
        "messages": len(installation.sink.counts),
        "messages_again": sum(installation.sink.counts.values()) - len(installation.sink.counts),
        "messages_waiting": waiting,
        "alerts": run_query(installation, "SELECT count(*) FROM alerts")[0][0],
        "mlflow": _champions(installation.mlflow_file),
    }


def _champions(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        aliases = connection.execute(
            "SELECT name, count(*) FROM registered_model_aliases WHERE alias = 'champion' GROUP BY name"
        ).fetchall()
        (versions,) = connection.execute(
            "SELECT count(*) FROM model_versions WHERE current_stage <> 'Deleted_Internal'"
        ).fetchone()
    finally:
        connection.close()
    return {"champions": len(aliases), "versions": versions}


def _to_naive_utc(value: Any) -> datetime:
    parsed = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return parsed.astimezone(UTC).replace(tzinfo=None) if parsed.tzinfo else parsed
