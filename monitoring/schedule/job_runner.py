"""Run one job in its own process: claim the due time, enforce the timeout, store the result.

A job that exceeds its timeout is killed with all its child processes, and ends if its scheduler dies. What
jobs do is in `jobs`, when they are due in `settings`.
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

from monitoring.schedule.job_run_store import JobRunStore, RunStatus
from monitoring.schedule.jobs import JobResult, run_job
from monitoring.schedule.settings import JobName, ScheduleSettings, due_times, parse_cron, site_zone
from training.common.gc_tuning import freeze_objects, reduce_gc_frequency
from training.pipeline.worker_pool import end_with_parent
from training.storage.leases import LeaseTaken, lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.schedule")

Clock = Callable[[], datetime]
JobFunction = Callable[[JobName, Workspace, datetime], JobResult]

# Imported once by the fork server, which forks the job processes: MLflow alone takes seconds.
PRELOADED_MODULES = (
    "monitoring.schedule.jobs",
    "monitoring.watch.watcher",
    "monitoring.notify.delivery",
    "serving.batch",
    "training.pipeline.fleet",
)
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL


@dataclass(frozen=True)
class CompletedRun:
    """The result of a run."""

    job: JobName
    due_at: datetime
    status: RunStatus
    detail: str
    missed: int = 0


class JobRunner:
    """Runs jobs; one instance per scheduler."""

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
        self.job_function = work or run_job
        self.runs = JobRunStore(workspace.engine)
        self.processes: set[ForkServerProcess] = set()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED_MODULES))

    def run_due(self, job: JobName) -> CompletedRun | None:
        """Run a job for its newest due time unless another process has; earlier due times count as missed."""
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
                    log.warning("job %s missed %d due times since %s", job, missed, due[0])
                return self._run(job, due[-1], missed)
        except LeaseTaken as error:
            log.info("%s", error)
            return None

    def run_once(self, job: JobName) -> CompletedRun:
        """Run a job now, whether it is due or not.

        Raises:
            LeaseTaken: another process is running it.
        """
        now = self.clock()
        self.runs.mark_interrupted(job, now=now)
        with self._job_lease(job):
            if not self.runs.claim(job, now, missed=0, now=now):
                raise LeaseTaken(f"Job {job} was just started by another process. Try again later.")
            return self._run(job, now, 0)

    def stop(self) -> None:
        """End every running job process."""
        for process in list(self.processes):
            _terminate(process)

    def _job_lease(self, job: JobName) -> AbstractContextManager[None]:
        duration = self.settings.rule(job).timeout + timedelta(seconds=GRACE_SECONDS + 60)
        return lease(self.workspace.engine, f"job {job}", duration=duration)

    def _run(self, job: JobName, due_at: datetime, missed: int) -> CompletedRun:
        try:
            status, detail = self._run_in_process(job, self.settings.rule(job).timeout)
        except BaseException as error:
            self.runs.end(job, due_at, RunStatus.INTERRUPTED, f"{type(error).__name__}", now=self.clock())
            raise
        self.runs.end(job, due_at, status, detail, now=self.clock())
        level = logging.INFO if status is RunStatus.DONE else logging.ERROR
        log.log(level, "job %s due %s: %s; %s", job, f"{due_at:%Y-%m-%d %H:%M:%S}", status, detail)
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
            pass  # the process died; reported below
        finally:
            _terminate(process, GRACE_SECONDS if has_answered else 0.0)
            self.processes.discard(process)
            receiver.close()
        if not has_answered:
            return (
                RunStatus.TIMED_OUT,
                f"exceeded its timeout of {timeout.total_seconds():g} s and was killed",
            )
        if answer is None:
            return RunStatus.FAILED, f"the process died with exit code {process.exitcode}"
        status, detail = answer
        return RunStatus(status), detail


def _run_in_child(
    work: JobFunction,
    job: JobName,
    home: Path,
    environ: dict[str, str],
    now: datetime,
    connection: Connection,
) -> None:
    """Run in the job's process: do the work, then send status and detail."""
    os.setsid()
    # The fork server may have been started long ago, with other settings.
    os.environ.clear()
    os.environ.update(environ)
    reduce_gc_frequency()
    freeze_objects()
    # Together with the job's child processes.
    end_with_parent(lambda: os.killpg(0, signal.SIGKILL))
    try:
        result = work(job, Workspace(home), now)
        message = RunStatus.SOME_FAILED if result.failed else RunStatus.DONE, result.detail
    # An error is the result of the run; the scheduler goes on.
    except Exception as error:
        log.exception("job %s failed", job)
        message = RunStatus.FAILED, f"{type(error).__name__}: {error}"
    connection.send(message)
    connection.close()


def _terminate(process: ForkServerProcess, patience: float = 0.0) -> None:
    """Wait `patience` seconds for a process to end, then kill it with its child processes."""
    process.join(patience)
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if process.is_alive():
            _signal_group(process, signal_number)
            process.join(GRACE_SECONDS)
    # Workers it left behind still belong to its process group.
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: ForkServerProcess, signal_number: signal.Signals) -> None:
    assert process.pid is not None
    try:
        os.killpg(process.pid, signal_number)
    except ProcessLookupError:
        if process.is_alive():  # not yet a process group leader
            process.kill()
