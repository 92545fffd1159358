"""The schedule: every job at its time, one at a time each, on APScheduler.

Knows threads and signals. Several schedulers may run on one database; each due time is run by one of them.
What a run is, is `running`'s.
"""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from monitoring.schedule.job_process import CompletedRun, JobRunner
from monitoring.schedule.settings import JobName, ScheduleSettings, parse_cron, site_zone

log = logging.getLogger("safeplan.schedule")


class JobScheduler:
    """All enabled jobs of one installation; `told` hears of every run."""

    def __init__(
        self,
        runner: JobRunner,
        settings: ScheduleSettings,
        *,
        told: Callable[[CompletedRun], None] = lambda _: None,
    ) -> None:
        self.runner = runner
        self.on_run = told
        self.stopped = threading.Event()
        self.scheduler = BackgroundScheduler(
            # A thread a job: none waits for another's.
            executors={"default": ThreadPoolExecutor(len(JobName))},
            # A time that passed while the last run went on, or while we slept, is counted by the next run.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=site_zone(),
        )
        for job in JobName:
            rule = settings.rule(job)
            if rule.enabled:
                self.scheduler.add_job(self._run_due, parse_cron(rule.cron, site_zone()), [job], id=job.value)

    def run(self) -> None:
        """Run until somebody asks us to stop."""
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, self._on_signal)
        self.start()
        self.stopped.wait()
        self.stop()

    def start(self) -> None:
        """Begin; what was missed meanwhile is counted by each job's first run."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self.scheduler.start()

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        self.scheduler.pause()
        self.runner.stop()
        self.scheduler.shutdown(wait=True)

    def _run_due(self, job: JobName) -> None:
        # What goes wrong with one run must not take the job out of the schedule.
        try:
            completed = self.runner.run_due(job)
        except Exception:
            log.exception("%s could not be run", job)
            return
        if completed is not None:
            self.on_run(completed)

    def _on_signal(self, signal_number: int, _: FrameType | None) -> None:
        log.info("asked to stop by %s", signal.Signals(signal_number).name)
        self.stopped.set()
