"""Whole fleets through the command line, each in a home of its own: time, CPU, memory, and a nightly retune.

Knows how a fleet is prepared and how one command is watched from outside, by /proc. Trains nothing itself.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks.fleet_readings import SensorSeries
from training.data.sensor_store import save_sensors
from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import OutcomeStatus
from training.workspace import Workspace

PROGRAM = (sys.executable, "-m", "safeplan")
WATCH_EVERY = 0.25  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CommandRun:
    """One command, from outside."""

    sensors: int
    wall: float  # seconds
    start: float  # seconds of it until the retraining's first run is open: imports, databases
    cpu: float  # seconds, parent and workers; of each up to WATCH_EVERY too few
    parent_cpu: float  # seconds, the parent alone
    memory_early: float  # MB of the parent after a third of the time
    memory_late: float  # MB of the parent at its end
    statuses: dict[str, int]
    failures: tuple[str, ...]  # of each sensor and kind that failed, why

    def as_row(self) -> dict[str, float | int | str]:
        """What the table shows."""
        return {
            "sensors": self.sensors,
            "wall_s": round(self.wall, 1),
            "start_s": round(self.start, 1),
            "then_s_a_sensor": round((self.wall - self.start) / self.sensors, 3),
            "cpu_s_a_sensor": round(self.cpu / self.sensors, 3),
            "cores_busy": round(self.cpu / self.wall, 2),
            "parent_cpu_s": round(self.parent_cpu, 1),
            "parent_mb_early": round(self.memory_early),
            "parent_mb_late": round(self.memory_late),
            "ended": ", ".join(f"{count} {status}" for status, count in self.statuses.items()),
            **({"failures": "; ".join(self.failures[:3])} if self.failures else {}),
        }


def prepare_home(home: Path, cuts: Sequence[SensorSeries]) -> None:
    """An installation of its own that knows these sensors and holds their readings; its MLflow is set up."""
    os.environ["SAFEPLAN_HOME"] = str(home)
    workspace = Workspace(home)
    for kind in Kind:
        workspace.tracker.experiment(kind.experiment)
    save_sensors(workspace.engine, [Sensor(id=cut.sensor_id, type=cut.type) for cut in cuts])
    ingest_readings(workspace, cuts)
    workspace.engine.dispose()


def ingest_readings(workspace: Workspace, cuts: Sequence[SensorSeries]) -> None:
    """Readings arrive; those already there stay as they are."""
    for first in range(0, len(cuts), 50):
        batch = [cut.as_readings() for cut in cuts[first : first + 50]]
        workspace.readings.ingest(pd.concat(batch, ignore_index=True))


def without_last_day(cut: SensorSeries) -> SensorSeries:
    """The readings that were there yesterday."""
    return replace(cut, values=cut.values[cut.values.index <= cut.values.index[-1] - pd.Timedelta(days=1)])


def run_train(home: Path, sensors: int, *, jobs: int, options: Sequence[str] = ()) -> CommandRun:
    """`safeplan train` over all sensors of a home."""
    environment = {**os.environ, "SAFEPLAN_HOME": str(home)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    started, started_at = time.monotonic(), time.time()
    command = [*PROGRAM, "train", "--json", "--jobs", str(jobs), *options]
    with (
        (home / "train.json").open("w") as out,
        (home / "train.log").open("w") as log_file,
        subprocess.Popen(command, env=environment, stdout=out, stderr=log_file) as process,  # noqa: S603
    ):
        memory, cpu = _watch_process(process)
    wall = time.monotonic() - started
    outcomes = json.loads((home / "train.json").read_text())["sensors"]
    statuses: dict[str, int] = {}
    for outcome in outcomes:
        statuses[outcome["status"]] = statuses.get(outcome["status"], 0) + 1
    return CommandRun(
        sensors=sensors,
        wall=wall,
        start=_first_run_time(home, started_at) - started_at,
        cpu=sum(cpu.values()),
        parent_cpu=cpu[process.pid],
        memory_early=memory[len(memory) // 3] if memory else float("nan"),
        memory_late=memory[-1] if memory else float("nan"),
        statuses=statuses,
        failures=tuple(
            f"{outcome['kind']} of {outcome['sensor_id']}: {outcome['error']}"
            for outcome in outcomes
            if outcome["status"] == OutcomeStatus.FAILED
        ),
    )


def _first_run_time(home: Path, since: float) -> float:
    """When the first run since then was opened, in seconds of the epoch."""
    tracker = Workspace(home).tracker
    runs = tracker.client.search_runs(
        [tracker.experiment(kind.experiment) for kind in Kind],
        filter_string=f"attributes.start_time >= {round(1000 * since)}",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return float(runs[0].info.start_time) / 1000


def _watch_process(process: "subprocess.Popen[bytes]") -> tuple[list[float], dict[int, float]]:
    """Megabytes of the process over its life, and the CPU-seconds of it and of all below it, by process id.

    Workers are children of a process that nobody waits for, so the system adds them up nowhere.
    """
    memory: list[float] = []
    cpu: dict[int, float] = {}
    while process.poll() is None:
        for pid in _process_tree(process.pid):
            try:
                cpu[pid] = _cpu_seconds(pid)
                if pid == process.pid:
                    memory.append(_resident_mb(pid))
            except (FileNotFoundError, ProcessLookupError, IndexError):
                continue  # it ended between two looks
        with suppress(subprocess.TimeoutExpired):
            process.wait(WATCH_EVERY)  # which its end cuts short
    return [megabytes for megabytes in memory if megabytes > 0], cpu


def _process_tree(root: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int(_stat_fields(int(folder.name))[1])
            except (FileNotFoundError, ProcessLookupError, IndexError):
                continue
    family = [root]
    for member in family:
        family += [pid for pid, parent in parents.items() if parent == member]
    return family


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_seconds(pid: int) -> float:
    fields = _stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def _stat_fields(pid: int) -> list[str]:
    """The fields of proc(5) for a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
