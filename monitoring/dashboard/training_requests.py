"""Trainings that were started on the page: in a process of their own, their progress in the database.

Knows the tables `trainings` and `training_outcomes` and how the process is started; page and server may be
closed meanwhile. The training itself is `training.pipeline.fleet`'s.
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

from sqlalchemy import Engine, func, insert, select, update

from training.errors import ConfigurationError
from training.kinds import Kind, Promotion
from training.outcomes import Outcome
from training.storage.database import reading, training_outcomes, trainings, writing
from training.storage.leases import Owner

PROJECT_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class TrainingRequest:
    """What is to be trained, and how."""

    sensor_ids: tuple[str, ...]
    kinds: tuple[Kind, ...]
    trials: int | None = None
    promotion: Promotion = Promotion.MANAGED
    fresh: bool = False

    def as_dict(self) -> dict[str, Any]:
        """What is kept."""
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
    """One training, as far as it has come. Times are naive UTC."""

    id: int
    request: TrainingRequest
    total: int
    started_at: datetime
    started_by: str
    owner: str | None = None  # the process that does it; None until it has begun
    finished_at: datetime | None = None
    error: str | None = None
    done: int = 0

    def is_running(self, now: datetime, patience: float = 60.0) -> bool:
        """Whether it goes on; one whose process is gone, or never came, does not."""
        if self.finished_at is not None:
            return False
        if self.owner is None:
            return (now - self.started_at).total_seconds() < patience
        return not Owner.parse(self.owner).is_gone()


class TrainingStore:
    """All trainings that were started on the page."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add(self, request: TrainingRequest, *, by: str, now: datetime) -> Training:
        """Keep a wish; nothing begins yet.

        Raises:
            ConfigurationError: nothing is to be trained.
        """
        total = len(request.sensor_ids) * len(request.kinds)
        if not total:
            raise ConfigurationError("Choose at least one sensor and one kind of model to train.")
        row = {"asked": request.as_dict(), "total": total, "started_at": now, "started_by": by}
        with writing(self.engine) as connection:
            training_id = connection.execute(
                insert(trainings).values(**row).returning(trainings.c.id)
            ).scalar_one()
        return Training(training_id, request, total, now, by)

    def claim(self, training_id: int, owner: Owner) -> Training:
        """Say which process does it."""
        with writing(self.engine) as connection:
            connection.execute(_update_training(training_id).values(owner=str(owner)))
        return self.training(training_id)

    def record_outcome(self, training_id: int, outcome: Outcome, *, now: datetime) -> None:
        """Keep what became of one sensor and kind."""
        row = {
            "training_id": training_id,
            "sensor_id": outcome.sensor_id,
            "kind": outcome.kind.value if outcome.kind else "",
            "status": outcome.status,
            "version": outcome.version,
            "gate": str(outcome.detail.get("gate", "")) or None,
            "error": outcome.error,
            "at": now,
        }
        with writing(self.engine) as connection:
            connection.execute(insert(training_outcomes).values(**row))

    def finish(self, training_id: int, *, now: datetime, error: str | None = None) -> None:
        """It is over; `error` where it could not be done as a whole."""
        with writing(self.engine) as connection:
            connection.execute(_update_training(training_id).values(finished_at=now, error=error))

    def training(self, training_id: int) -> Training:
        """One training.

        Raises:
            ConfigurationError: there is none with that id.
        """
        matches = [one for one in self.newest(limit=None) if one.id == training_id]
        if not matches:
            raise ConfigurationError(f"No training has the id {training_id}.")
        return matches[0]

    def newest(self, limit: int | None = 10) -> list[Training]:
        """The last trainings, the newest first."""
        done = (
            select(func.count())
            .where(training_outcomes.c.training_id == trainings.c.id)
            .correlate(trainings)
            .scalar_subquery()
        )
        query = select(trainings, done.label("done")).order_by(trainings.c.id.desc()).limit(limit)
        with reading(self.engine) as connection:
            rows = connection.execute(query).mappings().all()
        return [
            Training(
                request=TrainingRequest.from_dict(row["asked"]),
                **{k: v for k, v in row.items() if k != "asked"},
            )
            for row in rows
        ]

    def outcomes(self, training_id: int) -> list[dict[str, Any]]:
        """What became of each sensor and kind so far, in that order."""
        columns = training_outcomes.c
        query = select(training_outcomes).where(columns.training_id == training_id).order_by(columns.at)
        with reading(self.engine) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def start_training(
    store: TrainingStore, request: TrainingRequest, *, by: str, now: datetime, logs: Path
) -> Training:
    """Begin a training in a process of its own; one at a time.

    Raises:
        ConfigurationError: nothing is to be trained, or another training has not ended yet.
    """
    for other in store.newest(limit=5):
        if other.is_running(now):
            raise ConfigurationError(
                f"{other.started_by} started a training at {other.started_at:%H:%M} UTC, and it goes on "
                f"({other.done} of {other.total}). Wait for its end."
            )
    training = store.add(request, by=by, now=now)
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"training-{training.id}.log"
    command = [sys.executable, "-m", "monitoring.dashboard.background_training", str(training.id)]
    with path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (our own program, and a number)
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(by),
        )
    # Somebody must take note of its end, or it stays in the list of processes.
    threading.Thread(target=process.wait, name=f"training-{training.id}", daemon=True).start()
    return training


def seconds_left(training: Training, now: datetime) -> float | None:
    """How long the rest will take, by how long the part done took; None until something is done."""
    if not training.done:
        return None
    each = (now - training.started_at).total_seconds() / training.done
    return each * (training.total - training.done)


def _environment(by: str) -> dict[str, str]:
    """Ours, with the name that the audit writes down."""
    path = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "SAFEPLAN_USER": by}


def _update_training(training_id: int) -> Any:
    return update(trainings).where(trainings.c.id == training_id)
