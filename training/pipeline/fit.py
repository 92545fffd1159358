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
from training.evaluation.gate import Verdict, judge
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
RECIPE = 9
PARAMETERS = "parameters.json"  # among a version's files: what the next search starts from


@dataclass(frozen=True)
class Incumbent:
    """The champion a challenger is compared with: its files, and the newest reading it has seen."""

    files: Path
    train_end: datetime
    judged: tuple[int, int] | None = None  # of its alarms, how many people confirmed, and called false

    def loaded(self, load: Callable[[Path], Model]) -> Model | None:
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
            return read_json(self.files / PARAMETERS)
        except UntrustedModel as error:
            log.warning("the search does not start from the champion: %s", error)
            return {}


@dataclass(frozen=True)
class Sibling:
    """A champion of a sensor of the same type."""

    sensor_id: str
    parameters: Mapping[str, Any]
    threshold: float | None


@dataclass(frozen=True)
class Assignment:
    """All that one worker needs to train one kind of model for one sensor."""

    sensor: Sensor
    kind: Kind
    readings: pd.DataFrame = field(repr=False)  # timestamp, value, data_quality
    labels: "tuple[Label, ...]"
    plan: Plan
    folder: Path  # where the files may be written
    incumbent: Incumbent | None = None
    known: str | None = None  # fingerprint of the newest version; the same again is not trained anew
    siblings: tuple[Sibling, ...] = ()  # champions of sensors of the same type, the best first
    fingerprint: str = ""  # of what is learned from; a stored study of other readings is not gone on with

    @property
    def study(self) -> StudyPlan:
        """How long to search, and the name the study is stored under."""
        tuning = self.plan.tuning
        known = self.incumbent is not None and bool(self.incumbent.parameters)
        return StudyPlan(
            trials=min(tuning.retrials, tuning.trials) if known else tuning.trials,
            seed=tuning.seed,
            budget_seconds=tuning.budget_seconds,
            storage=tuning.storage,
            name=f"{self.sensor.id}/{self.kind}/{self.fingerprint[:12]}",
        )

    def lender(self, window: Window) -> Sibling | None:
        """The sibling whose parameters are taken where the sensor's own readings are too few to search by."""
        if self.siblings and len(window) < self.plan.tuning.borrow_below:
            return self.siblings[0]
        return None


@dataclass(frozen=True)
class Unchanged:
    """The newest version was learned from these very readings with this very plan."""

    fingerprint: str


@dataclass(frozen=True)
class Lesson:
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
    grade_reasons: tuple[str, ...]
    lesson: Lesson
    verdict: Verdict
    seconds: Mapping[str, float]

    @property
    def files(self) -> Path:
        """The model's own files."""
        return self.package / DATA / MODEL_FOLDER


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


Learn = Callable[[Assignment, Window, Path, Clock], Lesson]


def fit(assignment: Assignment) -> Candidate | Unchanged:
    """Learn one model and judge it.

    Raises:
        NotTrainable: too few good readings, with the reason.
    """
    # Each kind brings its libraries; a worker that learns only one kind loads only those.
    if assignment.kind is Kind.DETECTOR:
        from training.pipeline.fit_detector import learn_detector  # noqa: PLC0415

        return fit_with(learn_detector, assignment)
    from training.pipeline.fit_forecaster import learn_forecaster  # noqa: PLC0415

    return fit_with(learn_forecaster, assignment)


def fit_with(learn: Learn, assignment: Assignment) -> Candidate | Unchanged:
    """The part that both kinds share."""
    clock = Clock()
    with clock.phase("window"):
        quality, window = training_window(
            assignment.readings,
            assignment.sensor,
            assignment.kind,
            assignment.plan.window,
            quality_settings=assignment.plan.quality,
        )
        fingerprint = fingerprint_of(assignment, window)
    if fingerprint == assignment.known:
        return Unchanged(fingerprint)
    package = Path(tempfile.mkdtemp(dir=assignment.folder))
    files = package / DATA / MODEL_FOLDER
    files.mkdir(parents=True)
    lesson = learn(replace(assignment, fingerprint=fingerprint), window, files, clock)
    verdict = judge(assignment.kind, lesson.metrics, lesson.incumbent_metrics, assignment.plan.gate)
    return Candidate(
        sensor=assignment.sensor,
        kind=assignment.kind,
        package=package,
        fingerprint=fingerprint,
        window=window,
        grade=quality.grade,
        grade_reasons=quality.reasons,
        lesson=lesson,
        verdict=verdict,
        seconds=clock.seconds,
    )


def fingerprint_of(assignment: Assignment, window: Window) -> str:
    """Equal where the same program would learn from the same readings, labels and plan again."""
    learned_from = [
        RECIPE,
        window.digest,
        assignment.kind.value,
        assignment.plan.digest,
        [[str(label.start), str(label.end), label.anomalous] for label in assignment.labels],
    ]
    return hashlib.sha256(json.dumps(learned_from).encode()).hexdigest()[:32]


def split(window: Window, judged_share: float) -> tuple[pd.Series, pd.Series]:
    """The older readings, to learn from, and the newest, to be judged on."""
    cut = int(len(window.values) * (1 - judged_share))
    return window.values.iloc[:cut], window.values.iloc[cut:]
