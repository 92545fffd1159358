"""Cost of checking a whole fleet: CPU time of `safeplan drift`, and bytes stored for each sensor.

Real weather, cut and shifted into sensors of 28 hourly days and two days since. One detector and one
forecaster are learned of each quantity and registered for all of its sensors: loading, scoring and
forecasting cost what they would anyway. The first check makes room in the databases; the second is measured.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.fleet_readings import END, SensorSeries, make_fleet
from benchmarks.fleet_runs import prepare_home
from benchmarks.serving_fleet import Upload, register, upload
from training.common.times import iso
from training.data.sensors import Sensor
from training.evaluation.gate import GateSettings
from training.kinds import Kind
from training.pipeline.fit import Candidate, TrainingTask, run_training_task
from training.pipeline.plan import Plan
from training.workspace import Workspace

WINDOW, CHECKED_SPAN = timedelta(days=28), timedelta(days=2)
REPORT_SUFFIXES = ("-detector.html", "-forecaster.html")  # pages of what drifted
COMMAND = (sys.executable, "-m", "safeplan", "drift", "--json")


def check_cost(sensors: int) -> dict[str, Any]:
    """Build a fleet, check it twice, and measure the cost of the second check."""
    with tempfile.TemporaryDirectory(prefix="safeplan-drift-") as folder:
        home = Path(folder)
        _build(home, sensors)
        _check(home)
        before = _sizes(home)
        started = _children_cpu_seconds()
        checked = _check(home)
        cpu = _children_cpu_seconds() - started
        growth = {name: size - before.get(name, 0) for name, size in _sizes(home).items()}
    verdicts = pd.Series([row["status"] for row in checked]).value_counts()
    reports = [size for name, size in growth.items() if name.endswith(REPORT_SUFFIXES)]
    kept_bytes = sum(growth.values()) - sum(reports)
    return {
        "sensors": sensors,
        "models": len(checked),
        "verdicts": {str(name): int(count) for name, count in verdicts.items()},
        "cpu_s": round(cpu, 1),
        "kept_kb_a_sensor": round(kept_bytes / 1024 / sensors, 2),
        "kept_kb_a_report": round(sum(reports) / 1024 / max(len(reports), 1), 1),
        "kept_kb_by_place": {name: round(size / 1024, 1) for name, size in _by_place(growth).items()},
    }


def show_cost(found: dict[str, Any]) -> None:
    """Print it."""
    verdicts = ", ".join(f"{count} {name}" for name, count in found["verdicts"].items())
    print(
        f"{found['sensors']} sensors, {found['models']} models of 28-day hourly windows: {found['cpu_s']} "
        f"CPU-seconds a check; {found['kept_kb_a_sensor']} KB kept a sensor, {found['kept_kb_a_report']} KB "
        f"a report of what drifted besides ({verdicts})\n"
    )


def _build(home: Path, sensors: int) -> None:
    cuts = [_shift_to_end(cut) for cut in make_fleet(sensors, days=(WINDOW + CHECKED_SPAN).days)]
    prepare_home(home, cuts)
    (home / "learned").mkdir()
    workspace = Workspace(home)
    uploads: dict[tuple[str, Kind], Upload] = {}
    for cut in cuts:
        window = cut.values[cut.values.index <= END - CHECKED_SPAN]
        tags = {"train_start": iso(window.index[0]), "train_end": iso(window.index[-1])}
        for kind in Kind:
            if (cut.type, kind) not in uploads:
                uploads[cut.type, kind] = upload(
                    workspace, _fit_candidate(replace(cut, values=window), kind, home)
                )
            version = register(workspace.registry, cut.sensor_id, uploads[cut.type, kind], tags=tags)
            workspace.registry.promote(version)
    workspace.engine.dispose()


def _shift_to_end(cut: SensorSeries) -> SensorSeries:
    """The same, moved by whole hours: sensors that are days behind the others would have no data."""
    return replace(cut, values=cut.values.shift(freq=(END - cut.values.index[-1]).floor("h")))


def _fit_candidate(cut: SensorSeries, kind: Kind, home: Path) -> Candidate:
    plan = Plan.from_conf(trials=2)
    gate = GateSettings(min_skill=-9, min_coverage=0, max_alarm_excess=99, min_recall=0, max_recall_loss=1)
    readings = cut.as_readings().drop(columns="sensor_id").assign(data_quality=0)
    found = run_training_task(
        TrainingTask(Sensor(id=cut.sensor_id), kind, readings, (), replace(plan, gate=gate), home / "learned")
    )
    assert isinstance(found, Candidate)
    return found


def _check(home: Path) -> list[dict[str, Any]]:
    environment = {**os.environ, "SAFEPLAN_HOME": str(home)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(COMMAND, env=environment, capture_output=True, check=True)  # noqa: S603
    rows: list[dict[str, Any]] = json.loads(done.stdout)["sensors"]
    return rows


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sizes(home: Path) -> dict[str, int]:
    """Bytes of each file, a database with what waits to be written into it."""
    return {str(path.relative_to(home)): path.stat().st_size for path in home.rglob("*") if path.is_file()}


def _by_place(growth: dict[str, int]) -> dict[str, int]:
    places: dict[str, int] = {}
    for name, size in growth.items():
        parts = Path(name).parts
        place = parts[-1] if parts[0] == "mlartifacts" else parts[0]
        places[place] = places.get(place, 0) + size
    largest = sorted(places.items(), key=lambda item: -item[1])
    return dict(largest[:8])
