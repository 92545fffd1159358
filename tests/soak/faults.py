"""What is done to the plant, a fault a minute: each begins, lasts and is taken back.

Knows how to break things from outside. What must hold meanwhile and after is `verdict`'s.
"""

import os
import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from tests.soak.plant import Plant, alive, kill
from tests.soak.proxy import Wire

LOCKED = "sensor_readings, ml_predictions, alerts, job_runs, leases, outbox"
TINY_FILE = 4096  # bytes; what a process may write into one file while the disk is full

Fault = Callable[[Plant, float], None]


def kill_endpoint(plant: Plant, _: float) -> None:
    """Kill -9 of the endpoint."""
    plant.services["endpoint"].kill()


def kill_page(plant: Plant, _: float) -> None:
    """Kill -9 of the page."""
    plant.services["page"].kill()


def kill_mlflow(plant: Plant, _: float) -> None:
    """Kill -9 of the MLflow server with its workers."""
    for pid in plant.of("mlflow"):
        kill(pid)


def kill_scheduler(plant: Plant, _: float) -> None:
    """Kill -9 of the scheduler, in the middle of a job if there is one; its jobs must end with it."""
    _wait_for_job(plant)
    others = plant.of("scheduler")[1:]
    plant.services["scheduler"].kill()
    until = time.monotonic() + 20
    while any(alive(pid) for pid in others) and time.monotonic() < until:
        time.sleep(0.2)
    left = [pid for pid in others if alive(pid)]
    assert not left, f"{len(left)} processes of a killed scheduler live on"


def kill_job(plant: Plant, _: float) -> None:
    """Kill -9 of the process that runs a job."""
    for pid in _wait_for_job(plant):
        kill(pid)


def _wait_for_job(plant: Plant, patience: float = 25) -> list[int]:
    """The processes that run a job, each the head of its own group, as soon as there is one."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if found := [pid for pid in plant.of("scheduler")[1:] if _heads_a_group(pid)]:
            return found
        time.sleep(0.1)
    return []


def _heads_a_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def lock_database(plant: Plant, seconds: float) -> None:
    """Somebody holds a lock on our tables."""
    with _held(plant):
        time.sleep(seconds)


def lock_mlflow(plant: Plant, seconds: float) -> None:
    """Somebody holds a lock on MLflow's SQLite file."""
    connection = sqlite3.connect(plant.mlflow_file, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(seconds)
    connection.rollback()
    connection.close()


@contextmanager
def _held(plant: Plant) -> Iterator[None]:
    if plant.database.startswith("sqlite"):
        sqlite = sqlite3.connect(plant.house.home / "safeplan.db", timeout=30, isolation_level=None)
        sqlite.execute("BEGIN EXCLUSIVE")
        yield
        sqlite.execute("ROLLBACK")
        sqlite.close()
        return
    with psycopg.connect(plant.database) as connection:
        connection.execute(f"LOCK TABLE {LOCKED} IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def fill_disk(plant: Plant, seconds: float) -> None:
    """No process may write a file beyond 4 KB: database, cache, temporary files and logs alike."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    full = (TINY_FILE, resource.RLIM_INFINITY)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _limit(plant, full)
        time.sleep(0.5)
    _limit(plant, unlimited)


def _limit(plant: Plant, limits: tuple[int, int]) -> None:
    for role in plant.services:
        for pid in plant.of(role):
            try:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            except (ProcessLookupError, PermissionError):
                continue


def _wire(name: str, wire: Wire) -> Fault:
    def fault(plant: Plant, seconds: float) -> None:
        plant.proxies[name].become(wire)
        time.sleep(seconds)
        plant.proxies[name].become(Wire.WHOLE)

    return fault


# Those that end a process for good come first and last: in between, each lives long enough to show a leak.
KILLS: dict[str, Fault] = {
    "kill -9 of the endpoint": kill_endpoint,
    "kill -9 of the scheduler in a job": kill_scheduler,
    "kill -9 of the page": kill_page,
}
WOUNDS: dict[str, Fault] = {
    "kill -9 of a job": kill_job,
    "the database locked": lock_database,
    "a full disk": fill_disk,
}
WITH_SERVERS: dict[str, Fault] = {
    "the database away": _wire("database", Wire.CUT),
    "MLflow away": _wire("mlflow", Wire.CUT),
    "the database slow": _wire("database", Wire.SLOW),
    "MLflow answers 500": _wire("mlflow", Wire.FAILS),
    "the database stalls": _wire("database", Wire.STALLED),
    "MLflow's own database locked": lock_mlflow,
    "MLflow stalls": _wire("mlflow", Wire.STALLED),
    "kill -9 of the MLflow server": kill_mlflow,
}


def course(plant: Plant, count: int) -> list[tuple[str, Fault]]:
    """So many faults in their order: kills at both ends, the others in between, in turn."""
    wounds = list((WOUNDS | (WITH_SERVERS if plant.proxies else {})).items())
    kills = list(KILLS.items())
    ends = max(len(kills), count // 6)
    first = [kills[place % len(kills)] for place in range(ends)]
    last = first[: len(kills)] if count > 3 * ends else []
    middle = [wounds[place % len(wounds)] for place in range(max(0, count - len(first) - len(last)))]
    return (first + middle + last)[:count]


class Injector(threading.Thread):
    """Does one fault after the other, each at its time; notes what it did and what went wrong with it."""

    def __init__(
        self,
        plant: Plant,
        faults: list[tuple[str, Fault]],
        every: float,
        lasts: float,
        note: Callable[..., None],
    ) -> None:
        super().__init__(name="faults", daemon=True)
        self.plant, self.faults, self.every, self.lasts, self.note = plant, faults, every, lasts, note

    def run(self) -> None:
        """Until all are done."""
        begun = time.monotonic()
        for number, (name, fault) in enumerate(self.faults):
            time.sleep(max(0.0, begun + number * self.every - time.monotonic()))
            self.note("fault", name=name, state="begins")
            try:
                fault(self.plant, self.lasts)
            except Exception as error:  # noqa: BLE001 (told, and judged at the end)
                self.note("fault", name=name, state="failed", error=f"{type(error).__name__}: {error}")
            else:
                self.note("fault", name=name, state="ends")
