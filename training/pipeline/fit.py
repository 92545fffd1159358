"""One sensor, one kind: from raw readings to a candidate with its grades, and the files to register.

Knows the order: window, tune on the older part, grade on the newest, then fit to everything. Touches no
database and no registry, so that it runs in any process. Leaves registration to `recording`.
"""

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from training.artifacts.model_files import DATA, MODEL_FOLDER, read_json
from training.data.sensors import Sensor
from training.errors import UntrustedModel
from training.evaluation.gate import GateDecision, evaluate_gate
from training.kinds import Kind
from training.pipeline.plan import Plan
from training.quality.windows import Window, training_window
from training.tuning.study import StudyPlan

# The labels' store brings SQLAlchemy, which no worker needs.
if TYPE_CHECKING:
    from training.storage.labels import Label

log = logging.getLogger("safeplan.training")

Model = TypeVar("Model")

# Raised when the program learns something else from the same readings, so that all are learned anew.
RECIPE_VERSION = 10
PARAMETERS_FILE = "parameters.json"  # among a version's files: what the next search starts from


@dataclass(frozen=True)
class Incumbent:
    """The champion a challenger is compared with: its files, and the newest reading it has seen."""

    files: Path
    train_end: datetime
    verdict_counts: tuple[int, int] | None = (
        None  # of its alarms, how many people confirmed, and called false
    )

    def load_model(self, load: Callable[[Path], Model]) -> Model | None:
        """The champion's model, or None where this version of the program cannot read it.

        Then the challenger is judged as a first version is: what cannot be loaded serves nobody.
        """
        try:
            return load(self.files)
        except UntrustedModel as error:
            log.warning("the champion in %s is not compared with: %s", self.files, error)
            return None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What it was learned with; empty where that cannot be read any more."""
        try:
            return read_json(self.files / PARAMETERS_FILE)
        except UntrustedModel as error:
            log.warning("the search does not start from the champion: %s", error)
            return {}


@dataclass(frozen=True)
class PeerModel:
    """A champion of a sensor of the same type."""

    sensor_id: str
    parameters: Mapping[str, Any]
    threshold: float | None


@dataclass(frozen=True)
class TrainingTask:
    """All that one worker needs to train one kind of model for one sensor."""

    sensor: Sensor
    kind: Kind
    readings: pd.DataFrame = field(repr=False)  # timestamp, value, data_quality
    labels: "tuple[Label, ...]"
    plan: Plan
    folder: Path  # where the files may be written
    incumbent: Incumbent | None = None
    known_fingerprint: str | None = (
        None  # fingerprint of the newest version; the same again is not trained anew
    )
    peers: tuple[PeerModel, ...] = ()  # champions of sensors of the same type, the best first
    fingerprint: str = ""  # of what is learned from; a stored study of other readings is not gone on with

    @property
    def study(self) -> StudyPlan:
        """How long to search, and the name the study is stored under."""
        tuning = self.plan.tuning
        has_parameters = self.incumbent is not None and bool(self.incumbent.parameters)
        return StudyPlan(
            trials=min(tuning.retrials, tuning.trials) if has_parameters else tuning.trials,
            seed=tuning.seed,
            budget_seconds=tuning.budget_seconds,
            storage=tuning.storage,
            name=f"{self.sensor.id}/{self.kind}/{self.fingerprint[:12]}",
        )

    def donor(self, window: Window) -> PeerModel | None:
        """The sibling whose parameters are taken where the sensor's own readings are too few to search by."""
        if self.peers and len(window) < self.plan.tuning.borrow_below:
            return self.peers[0]
        return None


@dataclass(frozen=True)
class Unchanged:
    """The newest version was learned from these very readings with this very plan."""

    fingerprint: str


@dataclass(frozen=True)
class TrainingResult:
    """What tuning, grading and fitting one kind of model came to."""

    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]  # the challenger's grades on the newest readings
    incumbent_metrics: Mapping[str, float] | None
    trials: pd.DataFrame
    pictures: Mapping[str, bytes]
    threshold: float | None = None
    borrowed_from: str | None = None  # the sibling whose parameters these are


@dataclass(frozen=True)
class Candidate:
    """A fitted model with all that is to be logged about it."""

    sensor: Sensor
    kind: Kind
    package: Path  # what is uploaded; the model's own files are in `data/model` below it
    fingerprint: str
    window: Window
    grade: str
    result: TrainingResult
    gate_decision: GateDecision
    seconds: Mapping[str, float]

    @property
    def files(self) -> Path:
        """The model's own files."""
        return self.package / DATA / MODEL_FOLDER


class PhaseTimer:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


TrainFunction = Callable[[TrainingTask, Window, Path, PhaseTimer], TrainingResult]


def run_training_task(task: TrainingTask) -> Candidate | Unchanged:
    """Learn one model and judge it.

    Raises:
        NotTrainable: too few good readings, with the reason.
    """
    # Each kind brings its libraries; a worker that learns only one kind loads only those.
    if task.kind is Kind.DETECTOR:
        from training.pipeline.fit_detector import train_detector  # noqa: PLC0415

        return run_with(train_detector, task)
    from training.pipeline.fit_forecaster import train_forecaster  # noqa: PLC0415

    return run_with(train_forecaster, task)


def run_with(learn: TrainFunction, task: TrainingTask) -> Candidate | Unchanged:
    """The part that both kinds share."""
    clock = PhaseTimer()
    with clock.phase("window"):
        quality, window = training_window(
            task.readings,
            task.sensor,
            task.kind,
            task.plan.window,
            quality_settings=task.plan.quality,
        )
        fingerprint = compute_fingerprint(task, window)
    if fingerprint == task.known_fingerprint:
        return Unchanged(fingerprint)
    package = Path(tempfile.mkdtemp(dir=task.folder))
    files = package / DATA / MODEL_FOLDER
    files.mkdir(parents=True)
    result = learn(replace(task, fingerprint=fingerprint), window, files, clock)
    verdict = evaluate_gate(task.kind, result.metrics, result.incumbent_metrics, task.plan.gate)
    return Candidate(
        sensor=task.sensor,
        kind=task.kind,
        package=package,
        fingerprint=fingerprint,
        window=window,
        grade=quality.grade,
        result=result,
        gate_decision=verdict,
        seconds=clock.seconds,
    )


def compute_fingerprint(task: TrainingTask, window: Window) -> str:
    """Equal where the same program would learn from the same readings, labels and plan again."""
    learned_from = [
        RECIPE_VERSION,
        window.digest,
        task.kind.value,
        task.plan.digest,
        [[str(label.start), str(label.end), label.anomalous] for label in task.labels],
    ]
    return hashlib.sha256(json.dumps(learned_from).encode()).hexdigest()[:32]


def split_window(window: Window, judged_share: float) -> tuple[pd.Series, pd.Series]:
    """The older readings, to learn from, and the newest, to be judged on."""
    cut = int(len(window.values) * (1 - judged_share))
    return window.values.iloc[:cut], window.values.iloc[cut:]
