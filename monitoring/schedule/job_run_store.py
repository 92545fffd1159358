"""Store of job runs: which job ran for which due time, on which process, and how it ended.

Holds the SQL of `job_runs`; the row that is inserted first claims the due time. Runs are executed by
`job_runner`.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from monitoring.schedule.settings import FORMER_JOB_NAMES, JobName
from training.errors import StoreError
from training.storage.alert_tables import job_runs
from training.storage.database import reading, writing
from training.storage.leases import Owner

COLUMNS = job_runs.c


class RunStatus(StrEnum):
    """The status of a run."""

    RUNNING = "running"
    DONE = "done"
    SOME_FAILED = "some failed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    INTERRUPTED = "cut off"  # quoted: the process that ran it is gone


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
    """All runs of all jobs; rows under a former name of a job count as its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def claim(self, job: JobName, due_at: datetime, *, missed: int, now: datetime) -> bool:
        """Insert the row of a run; False if another process has."""
        row = {
            "job": job.value,
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

    def end(self, job: JobName, due_at: datetime, status: RunStatus, detail: str, *, now: datetime) -> None:
        """Store how a run ended."""
        same = and_(_is_job(job), COLUMNS.due_at == due_at)
        with writing(self.engine) as connection:
            connection.execute(
                update(job_runs).where(same).values(status=status.value, detail=detail, ended_at=now)
            )

    def mark_interrupted(self, job: JobName, *, now: datetime) -> int:
        """Mark the runs whose process is gone as interrupted; their number."""
        running = and_(_is_job(job), COLUMNS.status == RunStatus.RUNNING.value)
        with reading(self.engine) as connection:
            rows = connection.execute(select(job_runs).where(running)).all()
        gone = [row for row in rows if Owner.parse(row.owner).is_gone()]
        for row in gone:
            self.end(job, row.due_at, RunStatus.INTERRUPTED, "the process that ran it is gone", now=now)
        return len(gone)

    def last(self, job: JobName) -> JobRun | None:
        """The run with the newest due time."""
        query = select(job_runs).where(_is_job(job)).order_by(COLUMNS.due_at.desc()).limit(1)
        with reading(self.engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else _to_job_run(row)

    def since(self, start: datetime) -> list[JobRun]:
        """The runs that started after `start`, newest first."""
        query = select(job_runs).where(COLUMNS.started_at > start).order_by(COLUMNS.started_at.desc())
        with reading(self.engine) as connection:
            return [_to_job_run(row) for row in connection.execute(query)]

    def missed_since(self, start: datetime) -> dict[str, int]:
        """How often each job was due after `start` without being run."""
        query = (
            select(COLUMNS.job, func.sum(COLUMNS.missed)).where(COLUMNS.due_at > start).group_by(COLUMNS.job)
        )
        counts: Counter[str] = Counter()
        with reading(self.engine) as connection:
            for job, missed in connection.execute(query):
                counts[_current_name(job)] += int(missed)
        return dict(counts)

    def delete_before(self, end: datetime) -> int:
        """Delete the runs due before `end`; their number."""
        with writing(self.engine) as connection:
            return connection.execute(delete(job_runs).where(COLUMNS.due_at < end)).rowcount


def _is_job(job: JobName) -> ColumnElement[bool]:
    former_names = [name for name, current in FORMER_JOB_NAMES.items() if current is job]
    return COLUMNS.job.in_([job.value, *former_names])


def _current_name(stored: str) -> str:
    return FORMER_JOB_NAMES.get(stored, stored)


def _to_job_run(row: Row[Any]) -> JobRun:
    return JobRun(
        job=_current_name(row.job),
        due_at=row.due_at,
        owner=row.owner,
        started_at=row.started_at,
        ended_at=row.ended_at,
        status=RunStatus(row.status),
        missed=row.missed,
        detail=row.detail or "",
    )
