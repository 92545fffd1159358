"""Which job was run when, by whom, and how it ended.

Knows `job_runs` and SQL. A job is run once for each time it is due: by whoever writes its row first.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from training.errors import StoreError
from training.storage.alert_tables import job_runs
from training.storage.database import reading, writing
from training.storage.leases import Owner

COLUMNS = job_runs.c


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    DONE = "done"
    SOME_FAILED = "some failed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    INTERRUPTED = "cut off"  # the process that ran it is gone


@dataclass(frozen=True)
class JobRun:
    """One run of one job."""

    job: str
    due_at: datetime
    owner: str
    started_at: datetime
    ended_at: datetime | None
    status: RunStatus
    missed: int
    detail: str


class JobRunStore:
    """All runs of all jobs."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def claim(self, job: str, due_at: datetime, *, missed: int, now: datetime) -> bool:
        """Write the run's row; False where somebody else has."""
        row = {
            "job": job,
            "due_at": due_at,
            "owner": str(Owner.this_process()),
            "started_at": now,
            "status": RunStatus.RUNNING.value,
            "missed": missed,
        }
        try:
            with writing(self.engine) as connection:
                connection.execute(insert(job_runs).values(**row))
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):
                return False
            raise
        return True

    def end(self, job: str, due_at: datetime, status: RunStatus, detail: str, *, now: datetime) -> None:
        """Say how a run ended."""
        same = and_(COLUMNS.job == job, COLUMNS.due_at == due_at)
        with writing(self.engine) as connection:
            connection.execute(
                update(job_runs).where(same).values(status=status.value, detail=detail, ended_at=now)
            )

    def mark_interrupted(self, job: str, *, now: datetime) -> int:
        """Mark runs whose process is gone as cut off; how many they were."""
        running = and_(COLUMNS.job == job, COLUMNS.status == RunStatus.RUNNING.value)
        with reading(self.engine) as connection:
            rows = connection.execute(select(job_runs).where(running)).all()
        gone = [row for row in rows if Owner.parse(row.owner).is_gone()]
        for row in gone:
            self.end(job, row.due_at, RunStatus.INTERRUPTED, "the process that ran it is gone", now=now)
        return len(gone)

    def last(self, job: str) -> JobRun | None:
        """The run that was due last."""
        query = select(job_runs).where(COLUMNS.job == job).order_by(COLUMNS.due_at.desc()).limit(1)
        with reading(self.engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else _to_job_run(row)

    def since(self, moment: datetime) -> list[JobRun]:
        """Every run that started after a moment, the newest first."""
        query = select(job_runs).where(COLUMNS.started_at > moment).order_by(COLUMNS.started_at.desc())
        with reading(self.engine) as connection:
            return [_to_job_run(row) for row in connection.execute(query)]

    def missed_since(self, moment: datetime) -> dict[str, int]:
        """How often each job was due after a moment, and nobody ran it."""
        query = (
            select(COLUMNS.job, func.sum(COLUMNS.missed)).where(COLUMNS.due_at > moment).group_by(COLUMNS.job)
        )
        with reading(self.engine) as connection:
            return {job: int(missed) for job, missed in connection.execute(query)}

    def delete_before(self, moment: datetime) -> int:
        """Forget runs from before a moment; how many they were."""
        with writing(self.engine) as connection:
            return connection.execute(delete(job_runs).where(COLUMNS.due_at < moment)).rowcount


def _to_job_run(row: Row[Any]) -> JobRun:
    return JobRun(
        job=row.job,
        due_at=row.due_at,
        owner=row.owner,
        started_at=row.started_at,
        ended_at=row.ended_at,
        status=RunStatus(row.status),
        missed=row.missed,
        detail=row.detail or "",
    )
