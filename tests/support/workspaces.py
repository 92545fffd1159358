"""Small installations for tests: readings from a seed, and models that are trained once per session.

Training is replaced by a copy of the session's models; everything after it is real: files, metrics and
charts.
"""

import fcntl
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from training.data.sensor_store import add_missing_sensors
from training.data.sensors import Sensor
from training.evaluation.gate import GateSettings
from training.kinds import Kind
from training.pipeline import fit_detector, fit_forecaster
from training.pipeline.fit import PhaseTimer, TrainingResult, TrainingTask, run_training_task
from training.pipeline.plan import Plan
from training.quality.windows import Window
from training.registry.tracking import TrackingSettings, connect
from training.workspace import Workspace

START = "2026-01-01"

BuildOnce = Callable[[str, Callable[[Path], None]], Path]


def make_readings(
    sensor_id: str = "PT-1", rows: int = 200, *, seed: int = 0, start: str | datetime = START
) -> pd.DataFrame:
    """Hourly readings with a daily cycle, as `ReadingStore.ingest` takes them."""
    times = pd.date_range(start, periods=rows, freq="h")
    noise = np.random.default_rng(seed).normal(0, 0.5, rows)
    values = 20 + 5 * np.sin(2 * np.pi * times.hour.to_numpy() / 24) + noise
    return pd.DataFrame({"sensor_id": sensor_id, "timestamp": times, "value": values.round(2)})


def make_series(rows: int = 200, *, seed: int = 0, start: str = START) -> pd.Series:
    """The same as values by time."""
    result = make_readings(rows=rows, seed=seed, start=start)
    return pd.Series(result["value"].to_numpy(), index=pd.DatetimeIndex(result["timestamp"]))


def ingest_readings(workspace: Workspace, sensor_id: str = "PT-1", rows: int = 200, **options: Any) -> None:
    """Store readings of one sensor and the sensor itself."""
    workspace.readings.ingest(make_readings(sensor_id, rows, **options))
    add_missing_sensors(workspace.engine, [sensor_id])


@dataclass
class TrainingStub:
    """Replaces search and fit: copies a really trained model, and records the tasks.

    `grades` override the real metrics; `failures` holds the errors of sensors whose training fails.
    """

    fitted: dict[Kind, tuple[Path, TrainingResult]]
    grades: dict[str, float] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    tasks: list[TrainingTask] = field(default_factory=list)

    @property
    def trained(self) -> list[tuple[str, str]]:
        """Sensor and kind of the trained models, in order."""
        return [(task.sensor.id, task.kind.value) for task in self.tasks]

    def train(self, task: TrainingTask, _: Window, files: Path, clock: PhaseTimer) -> TrainingResult:
        """Replaces `train_detector` and `train_forecaster`."""
        self.tasks.append(task)
        if task.sensor.id in self.failures:
            raise self.failures[task.sensor.id]
        with clock.phase("fit"):
            folder, result = self.fitted[task.kind]
            shutil.copytree(folder, files, dirs_exist_ok=True)
        incumbent = None if task.incumbent is None else dict(result.metrics)
        return replace(result, metrics={**result.metrics, **self.grades}, incumbent_metrics=incumbent)


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> BuildOnce:
    """A function that fills a folder of the session, which all workers share, in the first that needs it."""
    base = tmp_path_factory.getbasetemp()
    top = base if worker_id == "master" else base.parent

    def build(name: str, fill: Callable[[Path], None]) -> Path:
        folder = top / name
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "ready").exists():
                fill(folder)
                (folder / "ready").touch()
        return folder

    return build


@pytest.fixture(scope="session")
def fitted_models(build_once: BuildOnce) -> dict[Kind, tuple[Path, TrainingResult]]:
    """A detector and a forecaster of one sensor, trained like `safeplan train --trials 2` does."""

    def train(folder: Path) -> None:
        fitted = {}
        for kind in Kind:
            (folder / kind.value).mkdir()
            candidate = run_training_task(make_task(kind, folder / kind.value))
            fitted[kind] = (candidate.files, candidate.result)  # type: ignore[union-attr]
        (folder / "fitted").write_bytes(pickle.dumps(fitted))

    return pickle.loads((build_once("fitted_models", train) / "fitted").read_bytes())


def make_task(kind: Kind, folder: Path, **changes: Any) -> TrainingTask:
    """The training task of one small sensor."""
    arguments: dict[str, Any] = {
        "sensor": Sensor(id="PT-1"),
        "kind": kind,
        "readings": make_readings().drop(columns="sensor_id").assign(data_quality=0),
        "labels": (),
        "plan": with_lenient_gate(Plan.from_conf(trials=2)),
        "folder": folder,
    }
    return TrainingTask(**arguments | changes)


def with_lenient_gate(plan: Plan) -> Plan:
    """The plan with a gate that everything passes; tests of the gate set the metrics themselves."""
    gate = GateSettings(min_skill=-9, min_coverage=0, max_alarm_excess=99, min_recall=0, max_recall_loss=1)
    return replace(plan, gate=gate)


@pytest.fixture
def training_stub(
    fitted_models: dict[Kind, tuple[Path, TrainingResult]], monkeypatch: pytest.MonkeyPatch
) -> TrainingStub:
    """Training takes milliseconds in this process; everything around it is real."""
    stub = TrainingStub(fitted_models)
    monkeypatch.setattr(fit_detector, "train_detector", stub.train)
    monkeypatch.setattr(fit_forecaster, "train_forecaster", stub.train)
    return stub


@pytest.fixture(scope="session")
def empty_mlflow(build_once: BuildOnce) -> Path:
    """An empty mlflow.db; creating its tables takes longer than most tests."""

    def create_tables(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            connect(TrackingSettings(uri=f"sqlite:///{folder / 'mlflow.db'}")).search_experiments()
            mlflow.set_tracking_uri(None)

    return build_once("mlflow", create_tables) / "mlflow.db"


@pytest.fixture
def workspace(empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """An empty installation in the test's folder."""
    for name in ("SAFEPLAN_DATABASE_URL", "SAFEPLAN_CONF", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAFEPLAN_HOME", str(tmp_path))
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    result = Workspace(tmp_path)
    yield result
    if "engine" in vars(result):
        result.engine.dispose()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def plan() -> Plan:
    """Two trials and a lenient gate."""
    return with_lenient_gate(Plan.from_conf(trials=2))


def parse_time(text: str) -> datetime:
    """A naive UTC time."""
    return datetime.fromisoformat(text)
