"""Train one model of one sensor: from raw readings to a candidate with its metrics and files.

Tunes on the older part of the window, grades on the newest, then fits to all of it. Uses no database and no
registry, so it runs in any process. Registration is in `training.pipeline.recording`.
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

from training.anomaly.rule_based_detector import RULES_FILE
from training.artifacts.model_files import DATA, MODEL_FOLDER, read_json
from training.data.sensors import Sensor
from training.errors import UntrustedModel
from training.evaluation.gate import GateDecision, evaluate_gate
from training.kinds import Kind
from training.pipeline.plan import Plan
from training.quality.windows import Window, training_window
from training.tuning.study import StudyPlan

# The label store imports SQLAlchemy, which workers do not need.
if TYPE_CHECKING:
    from training.storage.labels import Label

log = logging.getLogger("safeplan.training")

Model = TypeVar("Model")
Parameters = TypeVar("Parameters")

# Increase this when the program trains a different model from the same readings; all sensors are then
# retrained.
RECIPE_VERSION = 11
PARAMETERS_FILE = "parameters.json"  # one of a version's files; the next search starts from it


@dataclass(frozen=True)
class Incumbent:
    """The champion that a challenger is compared with: its files, and its newest training reading."""

    files: Path
    train_end: datetime
    verdict_counts: tuple[int, int] | None = None  # confirmed and dismissed alarms of this version

    def load_model(self, load: Callable[[Path], Model]) -> Model | None:
        """The champion's model, or None if this version of the program cannot read it.

        The challenger is then graded like a first version, because a model that cannot be loaded cannot
        serve.
        """
        try:
            return load(self.files)
        except UntrustedModel as error:
            log.warning("comparison with the champion in %s skipped: %s", self.files, error)
            return None

    @property
    def is_fallback(self) -> bool:
        """Whether the champion is a rule-based fallback."""
        return (self.files / RULES_FILE).exists()

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The champion's parameters; empty if they cannot be read."""
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
    known_fingerprint: str | None = None  # of the newest version; equal input is not trained again
    peers: tuple[PeerModel, ...] = ()  # champions of sensors of the same type, the best first
    fingerprint: str = ""  # of the input; a stored study of other input is not resumed

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

    def starting_points(self, parse: Callable[[Mapping[str, Any]], Parameters]) -> list[Parameters]:
        """Where a search starts: the champion's parameters, then the peers'."""
        incumbent = self.incumbent
        stored = [incumbent.parameters] if incumbent and incumbent.parameters else []
        stored += [peer.parameters for peer in self.peers]
        parsed = (parse_stored(parameters, parse) for parameters in stored)
        return [parameters for parameters in parsed if parameters is not None]

    def donor(self, window: Window, parse: Callable[[Mapping[str, Any]], object]) -> PeerModel | None:
        """The peer whose parameters are used if the sensor has too few readings for a search."""
        if not self.peers or len(window) >= self.plan.tuning.borrow_below:
            return None
        return self.peers[0] if parse_stored(self.peers[0].parameters, parse) is not None else None


@dataclass(frozen=True)
class Unchanged:
    """The newest version was trained on the same readings with the same plan."""

    fingerprint: str


@dataclass(frozen=True)
class TrainingResult:
    """The result of tuning, grading and fitting one model."""

    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]  # of the challenger, on the newest readings
    incumbent_metrics: Mapping[str, float] | None
    trials: pd.DataFrame
    pictures: Mapping[str, bytes]
    threshold: float | None = None
    borrowed_from: str | None = None  # the peer whose parameters these are
    recipe: str | None = None  # how the model was made, where not as usual


@dataclass(frozen=True)
class Candidate:
    """A fitted model with everything that is logged about it."""

    sensor: Sensor
    kind: Kind
    package: Path  # the folder that is uploaded; the model's own files are in `data/model`
    fingerprint: str
    window: Window
    grade: str
    result: TrainingResult
    gate_decision: GateDecision
    seconds: Mapping[str, float]
    fallback: "Candidate | None" = None  # what serves instead of a refused detector

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
    """Train one model and pass it through the gate.

    Raises:
        NotTrainable: the sensor has too few good readings; the message gives the reason.
    """
    # Each kind imports its own libraries; a worker that trains one kind loads only those.
    if task.kind is Kind.DETECTOR:
        from training.pipeline.fit_detector import train_detector  # noqa: PLC0415

        return run_with(train_detector, task)
    from training.pipeline.fit_forecaster import train_forecaster  # noqa: PLC0415

    return run_with(train_forecaster, task)


def run_with(train: TrainFunction, task: TrainingTask) -> Candidate | Unchanged:
    """The steps that both kinds share."""
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
    result = train(replace(task, fingerprint=fingerprint), window, files, clock)
    decision = evaluate_gate(task.kind, result.metrics, result.incumbent_metrics, task.plan.gate)
    candidate = Candidate(
        sensor=task.sensor,
        kind=task.kind,
        package=package,
        fingerprint=fingerprint,
        window=window,
        grade=quality.grade,
        result=result,
        gate_decision=decision,
        seconds=clock.seconds,
    )
    if decision.passed or task.kind is not Kind.DETECTOR:
        return candidate
    from training.pipeline.fit_fallback import train_fallback  # noqa: PLC0415

    return replace(candidate, fallback=train_fallback(task, candidate))


def parse_stored(
    stored: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], Parameters]
) -> Parameters | None:
    """The parameters, or None if another version of the program wrote them in another form."""
    try:
        return parse(stored)
    except (KeyError, TypeError, ValueError) as error:
        log.warning("stored parameters are not used: %s", error)
        return None


def compute_fingerprint(task: TrainingTask, window: Window) -> str:
    """A digest of the program's recipe, readings, labels and plan: equal input trains an equal model."""
    inputs = [
        RECIPE_VERSION,
        window.digest,
        task.kind.value,
        task.plan.digest,
        [[str(label.start), str(label.end), label.anomalous] for label in task.labels],
    ]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


def split_window(window: Window, judged_share: float) -> tuple[pd.Series, pd.Series]:
    """The older readings, for tuning, and the newest, for grading."""
    cut = int(len(window.values) * (1 - judged_share))
    return window.values.iloc[:cut], window.values.iloc[cut:]
