"""Many sensors: parallel, resumable, and one bad sensor never stops the rest.

Knows the order of a retraining: hand sensors to workers, record their candidates one after the other, each
ending in one outcome. Learning is `fit`'s, writing is `recording`'s, parent runs are `retraining`'s.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from training.audit import PROMOTED, Deed, record
from training.errors import NotTrainable, SafePlanError, UntrustedModel
from training.fit import Assignment, Candidate, Incumbent, Unchanged, fit
from training.kinds import Kind
from training.leases import lease
from training.outcomes import FAILED, Outcome
from training.plan import Plan
from training.pool import run_all
from training.recording import PENDING, Recorder, read_iso
from training.registry import CHAMPION, Registry, Version
from training.retraining import Retraining, adopt_or_open, close
from training.sensors import Sensor
from training.users import user
from training.workspace import Workspace

log = logging.getLogger("safeplan.training")

Watcher = Callable[[Outcome], None]
Key = tuple[str, Kind]


def train_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    kinds: Sequence[Kind],
    plan: Plan,
    *,
    as_of: datetime | None = None,
    jobs: int = 0,
    fresh: bool = False,
    watch: Watcher = lambda _: None,
) -> list[Outcome]:
    """Train every sensor and kind; each ends in exactly one outcome, whatever happened to it.

    `as_of` (naive UTC) is the moment to train as of: later readings are not seen. An interrupted retraining
    of the same sensors with the same plan goes on as of its own moment and trains what is missing. `fresh`
    trains also what has not changed. `jobs` 0 uses every core.
    """
    retrainings = {
        kind: adopt_or_open(workspace, sensors, kind, plan, as_of=as_of, fresh=fresh)
        for kind in dict.fromkeys(kinds)
    }
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="safeplan-train-") as folder:
        trainer = FleetTrainer(workspace, plan, retrainings, Path(folder), fresh=fresh)
        for outcome in trainer.outcomes(sensors, jobs or os.cpu_count() or 1):
            outcomes.append(outcome)
            if outcome.status == PROMOTED:
                _write_down(workspace, outcome)
            watch(outcome)
    for kind, retraining in retrainings.items():
        close(workspace, retraining, [outcome for outcome in outcomes if outcome.kind is kind])
    return outcomes


def _write_down(workspace: Workspace, outcome: Outcome) -> None:
    who = f"{user()}, by the gate"
    detail = {"gate": outcome.detail["gate"]}
    deed = Deed(
        datetime.now(UTC), who, PROMOTED, outcome.sensor_id, outcome.model or "", outcome.version, detail
    )
    record(workspace.engine, deed)


class FleetTrainer:
    """The state of one retraining while it runs."""

    def __init__(
        self,
        workspace: Workspace,
        plan: Plan,
        retrainings: dict[Kind, Retraining],
        folder: Path,
        *,
        fresh: bool,
    ) -> None:
        self.workspace = workspace
        self.plan = plan
        self.retrainings = retrainings
        self.folder = folder
        self.fresh = fresh
        self.recorder = Recorder(workspace.tracker, workspace.registry)
        self.newest: dict[Key, Version] = {}
        self.leases: dict[Key, ExitStack] = {}
        self.refused: list[Outcome] = []  # those that never reached a worker

    def outcomes(self, sensors: Sequence[Sensor], jobs: int) -> Iterator[Outcome]:
        """Train and record; outcomes come in the order they are known."""
        try:
            for assignment, result in run_all(fit, self._assignments(sensors), jobs=jobs):
                yield self._recorded(assignment, result)
                yield from self._take_refused()
            yield from self._take_refused()
        finally:
            for held in self.leases.values():
                held.close()

    def _assignments(self, sensors: Sequence[Sensor]) -> Iterator[Assignment]:
        last = self.workspace.readings.last_times().to_dict()
        for sensor in sensors:
            for kind in self.retrainings:
                try:
                    assignment = self._assignment(sensor, kind, last.get(sensor.id))
                # A tag that was edited in the UI can make reading it raise anything; see `_recorded`.
                except Exception as error:  # noqa: BLE001
                    self._release(sensor.id, kind)
                    self.refused.append(self._failed(sensor.id, kind, error))
                else:
                    yield assignment

    def _assignment(self, sensor: Sensor, kind: Kind, last: datetime | None) -> Assignment:
        if last is None:
            raise NotTrainable(f"{sensor.id} has no readings. Load some: safeplan load FILE")
        held = ExitStack()
        held.enter_context(lease(self.workspace.engine, f"train {kind} {sensor.id}"))
        self.leases[sensor.id, kind] = held
        registry, end = self.workspace.registry, min(last, self.retrainings[kind].as_of)
        newest = next(iter(registry.versions(sensor.id, kind)), None)
        if newest is not None:
            self.newest[sensor.id, kind] = newest
        known = newest.tags.get("fingerprint") if newest and self._counts(newest) else None
        try:
            incumbent = self._incumbent(registry, sensor.id, kind)
        except UntrustedModel as error:
            # It serves nobody as it is: a new one is learned, whether or not the readings have changed.
            log.warning("%s", error)
            incumbent = known = None
        return Assignment(
            sensor=sensor,
            kind=kind,
            readings=self._readings(sensor, kind, end),
            labels=self.workspace.labels.of(sensor.id),
            plan=self.plan,
            folder=self.folder,
            incumbent=incumbent,
            known=known,
        )

    def _readings(self, sensor: Sensor, kind: Kind, end: datetime) -> pd.DataFrame:
        window = self.plan.window
        # Some of them will turn out to be faults; of a sensor that speaks each second, years are not read.
        return self.workspace.readings.latest(
            sensor.id,
            2 * window.rows(kind),
            start=end - window.history(kind),
            end=end + timedelta.resolution,
        )

    def _incumbent(self, registry: Registry, sensor_id: str, kind: Kind) -> Incumbent | None:
        champion = registry.find(sensor_id, kind, CHAMPION)
        if champion is None:
            return None
        return Incumbent(
            registry.fetch(champion, self.workspace.model_cache), read_iso(champion.tags["train_end"])
        )

    def _counts(self, version: Version) -> bool:
        """Whether a version that was learned from the same readings spares us learning again."""
        retraining = self.retrainings[version.kind]
        return not self.fresh or self.workspace.tracker.parent(version.run_id) == retraining.run_id

    def _record(self, assignment: Assignment, result: Candidate | Unchanged | Exception) -> Outcome:
        sensor_id, kind = assignment.sensor.id, assignment.kind
        if isinstance(result, Exception):
            raise result
        if isinstance(result, Candidate):
            parent, keep = self.retrainings[kind].run_id, self.plan.retention.keep_versions
            outcome = self.recorder.record(result, parent, self.plan.promotion, keep=keep)
            shutil.rmtree(result.package)
            return outcome
        version = self.newest[sensor_id, kind]
        if version.tags.get("validation_status") == PENDING:
            return self.recorder.complete(version, self.plan.promotion)
        return self.recorder.unchanged(version)

    def _recorded(self, assignment: Assignment, result: Candidate | Unchanged | Exception) -> Outcome:
        sensor_id, kind = assignment.sensor.id, assignment.kind
        try:
            return self._record(assignment, result)
        # Whatever one sensor's training raises must not cost the others theirs; the outcome names it, and the
        # log has the trace of what was not foreseen.
        except Exception as error:  # noqa: BLE001
            return self._failed(sensor_id, kind, error)
        finally:
            self._release(sensor_id, kind)

    def _failed(self, sensor_id: str, kind: Kind, error: Exception) -> Outcome:
        words = str(error)
        if not isinstance(error, SafePlanError):
            log.error("training %s %s failed", kind, sensor_id, exc_info=error)
            words = f"{type(error).__name__}: {error}"
        return Outcome(sensor_id=sensor_id, kind=kind, status=FAILED, error=words)

    def _release(self, sensor_id: str, kind: Kind) -> None:
        held = self.leases.pop((sensor_id, kind), None)
        if held is not None:
            held.close()

    def _take_refused(self) -> Iterator[Outcome]:
        while self.refused:
            yield self.refused.pop(0)
