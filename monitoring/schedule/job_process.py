"""One run of one job: claimed, done in a process of its own, ended in time, written down.

Knows leases, due times and processes. A job that is stuck is killed with all it started, and its place is
free again; one whose scheduler dies ends with it. What jobs do is in `jobs`, when they are due in
`schedule_settings`.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from monitoring.schedule.job_runs import JobRunStore, RunStatus
from monitoring.schedule.jobs import JobResult, run_job
from monitoring.schedule.settings import JobName, ScheduleSettings, due_times, parse_cron, site_zone
from training.common.gc_tuning import freeze_objects, reduce_gc_frequency
from training.pipeline.worker_pool import end_with_parent
from training.storage.leases import LeaseTaken, lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.schedule")

Clock = Callable[[], datetime]
JobFunction = Callable[[JobName, Workspace, datetime], JobResult]

# Imported once by the server that forks each job's process: MLflow alone takes seconds.
PRELOADED_MODULES = (
    "monitoring.schedule.jobs",
    "monitoring.watch.watcher",
    "monitoring.notify.delivery",
    "serving.batch",
    "training.pipeline.fleet",
)
GRACE_SECONDS = 5.0  # between asking a stuck job to end and ending it


@dataclass(frozen=True)
class CompletedRun:
    """How a run ended."""

    job: JobName
    due_at: datetime
    status: RunStatus
    detail: str
    missed: int = 0


class JobRunner:
    """Runs jobs; one for each scheduler."""

    def __init__(
        self,
        workspace: Workspace,
        settings: ScheduleSettings,
        *,
        clock: Clock,
        work: JobFunction | None = None,
    ) -> None:
        self.workspace = workspace
        self.settings = settings
        self.clock = clock
        self.job_function = work or _default_job_function
        self.runs = JobRunStore(workspace.engine)
        self.processes: set[ForkServerProcess] = set()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED_MODULES))

    def run_due(self, job: JobName) -> CompletedRun | None:
        """Run a job for the newest time it is due, if nobody has; earlier ones that nobody ran are missed."""
        now = self.clock()
        self.runs.mark_interrupted(job, now=now)
        last_run = self.runs.last(job)
        trigger = parse_cron(self.settings.rule(job).cron, site_zone())
        due = due_times(trigger, last_run.due_at if last_run else None, now)
        if not due:
            return None
        try:
            with self._job_lease(job):
                missed = len(due) - 1
                if not self.runs.claim(job, due[-1], missed=missed, now=now):
                    return None
                if missed:
                    log.warning("%s was due %d times more since %s, and nobody ran it", job, missed, due[0])
                return self._run(job, due[-1], missed)
        except LeaseTaken as error:
            log.info("%s", error)
            return None

    def run_once(self, job: JobName) -> CompletedRun:
        """Run a job now, whenever it is due.

        Raises:
            LeaseTaken: another process is at it.
        """
        now = self.clock()
        self.runs.mark_interrupted(job, now=now)
        with self._job_lease(job):
            if not self.runs.claim(job, now, missed=0, now=now):
                raise LeaseTaken(f"{job} was begun by another process this moment. Run this again later.")
            return self._run(job, now, 0)

    def stop(self) -> None:
        """End every process that still runs."""
        for process in list(self.processes):
            _terminate(process)

    def _job_lease(self, job: JobName) -> AbstractContextManager[None]:
        lasts = self.settings.rule(job).timeout + timedelta(seconds=GRACE_SECONDS + 60)
        return lease(self.workspace.engine, f"job {job}", duration=lasts)

    def _run(self, job: JobName, due_at: datetime, missed: int) -> CompletedRun:
        try:
            status, detail = self._run_in_process(job, self.settings.rule(job).timeout)
        except BaseException as error:
            self.runs.end(job, due_at, RunStatus.INTERRUPTED, f"{type(error).__name__}", now=self.clock())
            raise
        self.runs.end(job, due_at, status, detail, now=self.clock())
        level = logging.INFO if status is RunStatus.DONE else logging.ERROR
        log.log(level, "%s of %s: %s; %s", job, f"{due_at:%Y-%m-%d %H:%M:%S}", status, detail)
        return CompletedRun(job, due_at, status, detail, missed)

    def _run_in_process(self, job: JobName, timeout: timedelta) -> tuple[RunStatus, str]:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_run_in_child,
            args=(self.job_function, job, self.workspace.home, dict(os.environ), self.clock(), sender),
            name=f"job {job}",
        )
        process.start()
        sender.close()
        self.processes.add(process)
        has_answered, answer = True, None
        try:
            has_answered = receiver.poll(timeout.total_seconds())
            answer = receiver.recv() if has_answered else None
        except EOFError:
            pass  # it died; told below
        finally:
            _terminate(process, GRACE_SECONDS if has_answered else 0.0)
            self.processes.discard(process)
            receiver.close()
        if not has_answered:
            return RunStatus.TIMED_OUT, f"stuck for {timeout.total_seconds():g} s; it was ended"
        if answer is None:
            return RunStatus.FAILED, f"its process died with {process.exitcode}"
        status, detail = answer
        return RunStatus(status), detail


def _default_job_function(job: JobName, workspace: Workspace, now: datetime) -> JobResult:
    return run_job(job, workspace, now=now)


def _run_in_child(
    work: JobFunction,
    job: JobName,
    home: Path,
    environ: dict[str, str],
    now: datetime,
    connection: Connection,
) -> None:
    """What a job's process does: its work, then one word about it."""
    os.setsid()
    # The server that forks it may have been started long ago, with other settings.
    os.environ.clear()
    os.environ.update(environ)
    reduce_gc_frequency()
    freeze_objects()
    # With all that the job has started.
    end_with_parent(lambda: os.killpg(0, signal.SIGKILL))
    try:
        result = work(job, Workspace(home), now)
        message = RunStatus.SOME_FAILED if result.failed else RunStatus.DONE, result.detail
    # Whatever a job raises is its result; the schedule goes on.
    except Exception as error:
        log.exception("%s failed", job)
        message = RunStatus.FAILED, f"{type(error).__name__}: {error}"
    connection.send(message)
    connection.close()


def _terminate(process: ForkServerProcess, patience: float = 0.0) -> None:
    """Let a process end by itself for so many seconds, then end it, with all it started."""
    process.join(patience)
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if process.is_alive():
            _signal_group(process, signal_number)
            process.join(GRACE_SECONDS)
    # Workers that it left behind are still of its group.
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: ForkServerProcess, signal_number: signal.Signals) -> None:
    assert process.pid is not None
    try:
        os.killpg(process.pid, signal_number)
    except ProcessLookupError:
        if process.is_alive():  # not yet the head of a group
            process.kill()
