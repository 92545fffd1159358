"""Train the models of many sensors: in parallel, resumable, and without one failure stopping the others.

Passes tasks to workers and records their candidates one after the other; each ends in one outcome. Training
is in `training.pipeline.fit`, writing in `training.pipeline.recording`, parent runs in
`training.pipeline.parent_run`.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from training.common.clock import utc_now
from training.common.times import read_iso
from training.common.users import current_user
from training.data.maintenance_filter import exclude_intervals, maintenance_intervals
from training.data.sensors import Sensor
from training.errors import NotTrainable, StoreError, UntrustedModel
from training.kinds import Engine, Kind
from training.outcomes import Outcome, OutcomeStatus, failed_outcome
from training.pipeline.fit import Candidate, Incumbent, TrainingTask, Unchanged, run_training_task
from training.pipeline.parent_run import Retraining, finish_retraining, resume_or_start
from training.pipeline.peer_models import PeerModels
from training.pipeline.plan import Plan
from training.pipeline.ray_cluster import fit_on_cluster
from training.pipeline.recording import Recorder, unchanged_outcome
from training.pipeline.worker_pool import run_all
from training.registry.audit import PROMOTED, AuditEntry, record_entry
from training.registry.model_registry import ValidationStatus, Version
from training.registry.registry_snapshot import ModelKey, ModelSnapshot, RegistrySnapshot
from training.registry.version_files import fetch_files
from training.storage.alert_verdicts import count_verdicts
from training.storage.database import reading
from training.storage.leases import lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.training")

OutcomeCallback = Callable[[Outcome], None]

SENSOR_BATCH = 20  # sensors whose models are read and leased together


def train_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    kinds: Sequence[Kind],
    plan: Plan,
    *,
    as_of: datetime | None = None,
    jobs: int = 0,
    engine: Engine = Engine.LOCAL,
    fresh: bool = False,
    watch: OutcomeCallback = lambda _: None,
) -> list[Outcome]:
    """Train every sensor and kind; each ends in exactly one outcome, also if it fails.

    Readings after `as_of` (naive UTC; default: now) are not used. If a retraining of the same sensors and
    plan was interrupted, it is resumed with its own `as_of`. `fresh` also trains models whose input has not
    changed. `jobs` is the number of local workers, 0 for one per core; on a cluster all cores are used.
    `watch` is called with each outcome.
    """
    retrainings = {
        kind: resume_or_start(workspace, sensors, kind, plan, as_of=as_of, fresh=fresh)
        for kind in dict.fromkeys(kinds)
    }
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="safeplan-train-") as folder:
        trainer = FleetTrainer(workspace, plan, retrainings, Path(folder), fresh=fresh)
        for outcome in trainer.outcomes(sensors, engine, jobs or os.cpu_count() or 1):
            outcomes.append(outcome)
            if outcome.status in {OutcomeStatus.PROMOTED, OutcomeStatus.FALLBACK}:
                _audit_promotion(workspace, outcome)
            watch(outcome)
    for kind, retraining in retrainings.items():
        finish_retraining(workspace, retraining, [outcome for outcome in outcomes if outcome.kind is kind])
    return outcomes


def training_readings(
    workspace: Workspace, sensor: Sensor, kind: Kind, plan: Plan, *, end: datetime
) -> pd.DataFrame:
    """The readings up to `end` that a model may be trained on, without those during maintenance."""
    # Twice the rows, because some are faults; limited, because a sensor may send a reading each second.
    read = workspace.readings.latest(
        sensor.id,
        2 * plan.window.rows(kind),
        start=end - plan.window.history(kind),
        end=end + timedelta.resolution,
    )
    return exclude_intervals(read, maintenance_intervals(workspace.engine, sensor))


def _audit_promotion(workspace: Workspace, outcome: Outcome) -> None:
    author = f"{current_user()}, by the gate"
    detail = {name: outcome.detail[name] for name in ("gate", "gate_reasons")}
    entry = AuditEntry(
        utc_now(), author, PROMOTED, outcome.sensor_id, outcome.model or "", outcome.version, detail
    )
    record_entry(workspace.engine, entry)


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
        self.snapshots: dict[ModelKey, ModelSnapshot] = {}  # of the tasks in progress
        self.leases: dict[ModelKey, ExitStack] = {}
        with reading(workspace.engine) as connection:
            self.verdicts = count_verdicts(connection)
        self.refused: list[Outcome] = []  # sensors that never reached a worker

    def outcomes(self, sensors: Sequence[Sensor], engine: Engine, jobs: int) -> Iterator[Outcome]:
        """Train and record; yields outcomes as they are known."""
        tasks = self._tasks(sensors)
        on_cluster = engine is Engine.RAY
        results = fit_on_cluster(tasks) if on_cluster else run_all(run_training_task, tasks, jobs=jobs)
        try:
            for task, result in results:
                yield self._record_safely(task, result)
                yield from self._drain_refused()
            yield from self._drain_refused()
        finally:
            for stack in self.leases.values():
                stack.close()

    def _tasks(self, sensors: Sequence[Sensor]) -> Iterator[TrainingTask]:
        spans = self.workspace.readings.spans()
        costliest = sorted(sensors, key=lambda sensor: -self._rows(spans, sensor))
        registry_snapshot = RegistrySnapshot.take(self.workspace.registry, self.workspace.tracker)
        peers = PeerModels(registry_snapshot, self.workspace.fleet.values(), self.workspace.model_cache)
        kinds = list(self.retrainings)
        for first in range(0, len(costliest), SENSOR_BATCH):
            chunk = costliest[first : first + SENSOR_BATCH]
            leased = [(sensor, kind) for sensor in chunk for kind in kinds if self._leased(sensor.id, kind)]
            # Read after the lease is taken: its former owner may have registered a version.
            snapshots = registry_snapshot.of([sensor.id for sensor in chunk], kinds)
            for sensor, kind in leased:
                try:
                    task = self._task(sensor, kind, spans, snapshots[sensor.id, kind])
                    task = replace(task, peers=peers.of(sensor, kind))
                # A tag that was edited in the MLflow UI can cause any error; see `_record_safely`.
                except Exception as error:  # noqa: BLE001
                    self._release(sensor.id, kind)
                    self.refused.append(_failed(sensor.id, kind, error))
                else:
                    yield task

    def _leased(self, sensor_id: str, kind: Kind) -> bool:
        stack = ExitStack()
        try:
            stack.enter_context(lease(self.workspace.engine, f"train {kind} {sensor_id}"))
        except StoreError as error:
            self.refused.append(_failed(sensor_id, kind, error))
            return False
        self.leases[sensor_id, kind] = stack
        return True

    def _rows(self, spans: pd.DataFrame, sensor: Sensor) -> int:
        """The number of readings a sensor's models are trained on, which determines the cost."""
        stored = int(spans["good"].get(sensor.id, 0))
        return sum(min(stored, self.plan.window.rows(kind)) for kind in self.retrainings)

    def _task(self, sensor: Sensor, kind: Kind, spans: pd.DataFrame, snapshot: ModelSnapshot) -> TrainingTask:
        if sensor.id not in spans.index:
            raise NotTrainable(f"{sensor.id} has no readings. Load them: safeplan load FILE")
        newest = snapshot.newest
        fingerprint = newest.tags.get("fingerprint") if newest and self._is_reusable(newest) else None
        if fingerprint:
            self.snapshots[sensor.id, kind] = snapshot
        try:
            incumbent = self._incumbent(snapshot.champion)
        except UntrustedModel as error:
            # It cannot serve, so a new one is trained even if its input has not changed.
            log.warning("%s", error)
            incumbent = fingerprint = None
        return TrainingTask(
            sensor=sensor,
            kind=kind,
            readings=training_readings(
                self.workspace,
                sensor,
                kind,
                self.plan,
                end=min(spans["last"][sensor.id], self.retrainings[kind].as_of),
            ),
            labels=self.workspace.labels.of(sensor.id),
            plan=self.plan,
            folder=self.folder,
            incumbent=incumbent,
            known_fingerprint=fingerprint,
        )

    def _incumbent(self, champion: Version | None) -> Incumbent | None:
        if champion is None:
            return None
        files = fetch_files(champion, self.workspace.model_cache)
        counts = self.verdicts.get(champion.sensor_id, {}).get(str(champion.number))
        judged = counts if champion.kind is Kind.DETECTOR else None
        verdict_counts = None if judged is None else (judged.confirmed, judged.false)
        return Incumbent(files, read_iso(champion.tags["train_end"]), verdict_counts)

    def _is_reusable(self, version: Version) -> bool:
        """Whether this version makes training again unnecessary if its fingerprint is the same."""
        retraining = self.retrainings[version.kind]
        return not self.fresh or self.workspace.tracker.parent(version.run_id) == retraining.run_id

    def _record(self, task: TrainingTask, result: Candidate | Unchanged | Exception) -> Outcome:
        sensor_id, kind = task.sensor.id, task.kind
        if isinstance(result, Exception):
            raise result
        if isinstance(result, Candidate):
            parent, keep = self.retrainings[kind].run_id, self.plan.retention.keep_versions
            outcome = self.recorder.record(result, parent, self.plan.promotion, keep=keep)
            for candidate in filter(None, (result, result.fallback)):
                shutil.rmtree(candidate.package)
            return outcome
        snapshot = self.snapshots[sensor_id, kind]
        version = snapshot.versions[0]
        if version.validation_status is ValidationStatus.PENDING:
            return self.recorder.complete(version, self.plan.promotion, metrics=snapshot.metrics)
        return unchanged_outcome(version, snapshot)

    def _record_safely(self, task: TrainingTask, result: Candidate | Unchanged | Exception) -> Outcome:
        try:
            return self._record(task, result)
        # An error of one sensor must not stop the others.
        except Exception as error:  # noqa: BLE001
            return _failed(task.sensor.id, task.kind, error)
        finally:
            self._release(task.sensor.id, task.kind)

    def _release(self, sensor_id: str, kind: Kind) -> None:
        self.snapshots.pop((sensor_id, kind), None)
        stack = self.leases.pop((sensor_id, kind), None)
        if stack is not None:
            stack.close()

    def _drain_refused(self) -> Iterator[Outcome]:
        while self.refused:
            yield self.refused.pop(0)


def _failed(sensor_id: str, kind: Kind, error: Exception) -> Outcome:
    return failed_outcome(sensor_id, kind, error, task="training", log=log)
