"""Trainings started on the page: one process each, with requests and progress in the database.

Contains the SQL on `trainings` and `training_outcomes` and starts the process, which continues when page and
server are closed. The process is `background_training`; training itself is in `training.pipeline.fleet`.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, insert, select, update

from training.errors import ConfigurationError, write_errors
from training.kinds import Kind, Promotion
from training.outcomes import Outcome
from training.storage.database import reading, training_outcomes, trainings, writing
from training.storage.leases import Owner

PROJECT_ROOT = Path(__file__).parents[2]
PROCESS_MODULE = "monitoring.dashboard.background_training"


@dataclass(frozen=True)
class TrainingRequest:
    """What to train, and how."""

    sensor_ids: tuple[str, ...]
    kinds: tuple[Kind, ...]
    trials: int | None = None
    promotion: Promotion = Promotion.MANAGED
    fresh: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the database."""
        return {
            "sensor_ids": list(self.sensor_ids),
            "kinds": [kind.value for kind in self.kinds],
            "trials": self.trials,
            "promotion": self.promotion.value,
            "fresh": self.fresh,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "TrainingRequest":
        """The inverse of `as_dict`."""
        return cls(
            sensor_ids=tuple(stored["sensor_ids"]),
            kinds=tuple(Kind(kind) for kind in stored["kinds"]),
            trials=stored["trials"],
            promotion=Promotion(stored["promotion"]),
            fresh=stored["fresh"],
        )


@dataclass(frozen=True)
class Training:
    """One training and its progress. Times are naive UTC."""

    id: int
    request: TrainingRequest
    total: int
    started_at: datetime
    started_by: str
    owner: str | None = None  # the process that runs it; None until it has started
    finished_at: datetime | None = None
    error: str | None = None
    done: int = 0

    def is_running(self, now: datetime, *, start_timeout: float = 60.0) -> bool:
        """Whether it is in progress; False where its process has died, or did not start in time (seconds)."""
        if self.finished_at is not None:
            return False
        if self.owner is None:
            return (now - self.started_at).total_seconds() < start_timeout
        return not Owner.parse(self.owner).is_gone()


class TrainingStore:
    """Store of all trainings started on the page."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add(self, request: TrainingRequest, *, by: str, now: datetime) -> Training:
        """Store a request; the process is started by `start_training`.

        Raises:
            ConfigurationError: the request has no sensor or no kind.
        """
        total = len(request.sensor_ids) * len(request.kinds)
        if not total:
            raise ConfigurationError("no sensor or no kind of model is selected; select at least one of each")
        row = {"asked": request.as_dict(), "total": total, "started_at": now, "started_by": by}
        with writing(self.engine) as connection:
            training_id = connection.execute(
                insert(trainings).values(**row).returning(trainings.c.id)
            ).scalar_one()
        return Training(training_id, request, total, now, by)

    def claim(self, training_id: int, owner: Owner) -> Training:
        """Note which process runs it."""
        with writing(self.engine) as connection:
            connection.execute(_update_training(training_id).values(owner=str(owner)))
        return self.training(training_id)

    def record_outcome(self, training_id: int, outcome: Outcome, *, now: datetime) -> None:
        """Store the outcome of one sensor and kind."""
        row = {
            "training_id": training_id,
            "sensor_id": outcome.sensor_id,
            "kind": outcome.kind.value if outcome.kind else "",
            "status": outcome.status.value,
            "version": outcome.version,
            "gate": str(outcome.detail.get("gate", "")) or None,
            "error": outcome.error,
            "at": now,
        }
        with writing(self.engine) as connection:
            connection.execute(insert(training_outcomes).values(**row))

    def finish(self, training_id: int, *, now: datetime, error: str | None = None) -> None:
        """Note its end; `error` where it failed as a whole."""
        with writing(self.engine) as connection:
            connection.execute(_update_training(training_id).values(finished_at=now, error=error))

    def training(self, training_id: int) -> Training:
        """One training.

        Raises:
            ConfigurationError: the id is unknown.
        """
        matches = self._select(trainings.c.id == training_id)
        if not matches:
            raise ConfigurationError(f"there is no training with the id {training_id}")
        return matches[0]

    def newest(self, limit: int = 10) -> list[Training]:
        """The last trainings, newest first."""
        return self._select(limit=limit)

    def running(self, now: datetime) -> Training | None:
        """The training that is in progress, or None."""
        return next((training for training in self.newest(5) if training.is_running(now)), None)

    def _select(self, *conditions: ColumnElement[bool], limit: int | None = None) -> list[Training]:
        done = (
            select(func.count())
            .where(training_outcomes.c.training_id == trainings.c.id)
            .correlate(trainings)
            .scalar_subquery()
        )
        query = select(trainings, done.label("done")).where(*conditions).order_by(trainings.c.id.desc())
        with reading(self.engine) as connection:
            rows = connection.execute(query.limit(limit)).mappings().all()
        return [
            Training(
                request=TrainingRequest.from_dict(row["asked"]),
                **{k: v for k, v in row.items() if k != "asked"},
            )
            for row in rows
        ]

    def outcomes(self, training_id: int) -> list[dict[str, Any]]:
        """The outcomes so far, oldest first."""
        columns = training_outcomes.c
        query = select(training_outcomes).where(columns.training_id == training_id).order_by(columns.at)
        with reading(self.engine) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def start_training(
    store: TrainingStore, request: TrainingRequest, *, by: str, now: datetime, logs: Path
) -> Training:
    """Start a training in its own process; one at a time.

    Raises:
        ConfigurationError: the request is empty, another training is in progress, or the log cannot be
            written.
    """
    if (other := store.running(now)) is not None:
        raise ConfigurationError(
            f"a training started by {other.started_by} at {other.started_at:%H:%M} UTC is in progress "
            f"({other.done} of {other.total} models); wait until it has finished"
        )
    training = store.add(request, by=by, now=now)
    path = logs / f"training-{training.id}.log"
    command = [sys.executable, "-m", PROCESS_MODULE, str(training.id)]
    with write_errors("the log of the training", path):
        logs.mkdir(parents=True, exist_ok=True)
        log = path.open("wb")
    with log:
        process = subprocess.Popen(  # noqa: S603 (our own program, and a number)
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(by),
        )
    # Wait for its end, or it stays in the process list as a zombie.
    threading.Thread(target=process.wait, name=f"training-{training.id}", daemon=True).start()
    return training


def seconds_left(training: Training, now: datetime) -> float | None:
    """Estimated seconds until it is done, by the mean time per model; None before the first model is done."""
    if not training.done:
        return None
    seconds_per_model = (now - training.started_at).total_seconds() / training.done
    return seconds_per_model * (training.total - training.done)


def _environment(by: str) -> dict[str, str]:
    """Our environment, with the user name for the audit."""
    path = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "SAFEPLAN_USER": by}


def _update_training(training_id: int) -> Any:
    return update(trainings).where(trainings.c.id == training_id)
