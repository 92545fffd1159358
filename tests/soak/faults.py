"""Faults of a soak test, one per minute: each begins, lasts and is removed again.

What must hold during and after them is in `tests.soak.evaluation`.
"""

import os
import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from tests.soak.installation import SoakInstallation, is_alive, kill
from tests.soak.proxy import ConnectionMode

LOCKED_TABLES = "sensor_readings, ml_predictions, alerts, job_runs, leases, outbox"
FULL_DISK_BYTES = 4096  # largest file that a process can write while the disk is full

Fault = Callable[[SoakInstallation, float], None]


def kill_endpoint(installation: SoakInstallation, _: float) -> None:
    """Kill -9 of the endpoint."""
    installation.services["endpoint"].kill()


def kill_page(installation: SoakInstallation, _: float) -> None:
    """Kill -9 of the dashboard."""
    installation.services["page"].kill()


def kill_mlflow(installation: SoakInstallation, _: float) -> None:
    """Kill -9 of the MLflow server with its workers."""
    for pid in installation.of("mlflow"):
        kill(pid)


def kill_scheduler(installation: SoakInstallation, _: float) -> None:
    """Kill -9 of the scheduler, during a job if there is one; its jobs must end with it."""
    _wait_for_job(installation)
    others = installation.of("scheduler")[1:]
    installation.services["scheduler"].kill()
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in others) and time.monotonic() < deadline:
        time.sleep(0.2)
    survivors = [pid for pid in others if is_alive(pid)]
    assert not survivors, f"{len(survivors)} processes of a killed scheduler are still running"


def kill_job(installation: SoakInstallation, _: float) -> None:
    """Kill -9 of the process that runs a job."""
    for pid in _wait_for_job(installation):
        kill(pid)


def _wait_for_job(installation: SoakInstallation, timeout: float = 25) -> list[int]:
    """The processes that run a job, each the leader of its group; waits for one."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if pids := [pid for pid in installation.of("scheduler")[1:] if _leads_a_group(pid)]:
            return pids
        time.sleep(0.1)
    return []


def _leads_a_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def lock_database(installation: SoakInstallation, seconds: float) -> None:
    """Another connection locks the tables."""
    with _locked_tables(installation):
        time.sleep(seconds)


def lock_mlflow(installation: SoakInstallation, seconds: float) -> None:
    """Another connection locks MLflow's SQLite file."""
    connection = sqlite3.connect(installation.mlflow_file, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(seconds)
    connection.rollback()
    connection.close()


@contextmanager
def _locked_tables(installation: SoakInstallation) -> Iterator[None]:
    if installation.database.startswith("sqlite"):
        sqlite = sqlite3.connect(
            installation.installation.home / "safeplan.db", timeout=30, isolation_level=None
        )
        sqlite.execute("BEGIN EXCLUSIVE")
        yield
        sqlite.execute("ROLLBACK")
        sqlite.close()
        return
    with psycopg.connect(installation.database) as connection:
        connection.execute(f"LOCK TABLE {LOCKED_TABLES} IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def fill_disk(installation: SoakInstallation, seconds: float) -> None:
    """Limit all files that the processes write to 4 KB: database, caches, temporary files and logs."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    full = (FULL_DISK_BYTES, resource.RLIM_INFINITY)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _limit(installation, full)
        time.sleep(0.5)
    _limit(installation, unlimited)


def _limit(installation: SoakInstallation, limits: tuple[int, int]) -> None:
    for role in installation.services:
        for pid in installation.of(role):
            try:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            except (ProcessLookupError, PermissionError):
                continue


def _connection_fault(name: str, mode: ConnectionMode) -> Fault:
    def fault(installation: SoakInstallation, seconds: float) -> None:
        installation.proxies[name].set_mode(mode)
        time.sleep(seconds)
        installation.proxies[name].set_mode(ConnectionMode.WHOLE)

    return fault


# Kills come first and last: in between, each process lives long enough to show a leak.
KILL_FAULTS: dict[str, Fault] = {
    "kill -9 of the endpoint": kill_endpoint,
    "kill -9 of the scheduler during a job": kill_scheduler,
    "kill -9 of the dashboard": kill_page,
}
TEMPORARY_FAULTS: dict[str, Fault] = {
    "kill -9 of a job": kill_job,
    "the database locked": lock_database,
    "a full disk": fill_disk,
}
SERVER_FAULTS: dict[str, Fault] = {
    "the database unreachable": _connection_fault("database", ConnectionMode.CUT),
    "MLflow unreachable": _connection_fault("mlflow", ConnectionMode.CUT),
    "the database slow": _connection_fault("database", ConnectionMode.SLOW),
    "MLflow answers 500": _connection_fault("mlflow", ConnectionMode.FAILS),
    "the database stalls": _connection_fault("database", ConnectionMode.STALLED),
    "MLflow's own database locked": lock_mlflow,
    "MLflow stalls": _connection_fault("mlflow", ConnectionMode.STALLED),
    "kill -9 of the MLflow server": kill_mlflow,
}


def schedule_faults(installation: SoakInstallation, count: int) -> list[tuple[str, Fault]]:
    """This many faults in order: kills at both ends, the others in between, in turn."""
    temporary = list((TEMPORARY_FAULTS | (SERVER_FAULTS if installation.proxies else {})).items())
    kills = list(KILL_FAULTS.items())
    ends = max(len(kills), count // 6)
    first = [kills[place % len(kills)] for place in range(ends)]
    last = first[: len(kills)] if count > 3 * ends else []
    middle = [temporary[place % len(temporary)] for place in range(max(0, count - len(first) - len(last)))]
    return (first + middle + last)[:count]


class FaultInjector(threading.Thread):
    """Runs one fault after the other, each at its time, and logs its beginning, end and errors."""

    def __init__(
        self,
        installation: SoakInstallation,
        faults: list[tuple[str, Fault]],
        every: float,
        lasts: float,
        note: Callable[..., None],
    ) -> None:
        super().__init__(name="faults", daemon=True)
        self.installation, self.faults, self.every, self.lasts, self.note = (
            installation,
            faults,
            every,
            lasts,
            note,
        )

    def run(self) -> None:
        """Run all faults."""
        started = time.monotonic()
        for number, (name, fault) in enumerate(self.faults):
            time.sleep(max(0.0, started + number * self.every - time.monotonic()))
            self.note("fault", name=name, state="begins")
            try:
                fault(self.installation, self.lasts)
            except Exception as error:  # noqa: BLE001 (logged, and evaluated at the end)
                self.note("fault", name=name, state="failed", error=f"{type(error).__name__}: {error}")
            else:
                self.note("fault", name=name, state="ends")
