"""Scheduler: start each job when it is due, on APScheduler, until the process is stopped.

Several schedulers may share one database; each due time is run by one of them. A single run is in
`job_runner`.
"""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from monitoring.schedule.job_runner import CompletedRun, JobRunner
from monitoring.schedule.settings import JobName, ScheduleSettings, parse_cron, site_zone

log = logging.getLogger("safeplan.schedule")


class JobScheduler:
    """Schedules the enabled jobs of one installation; `on_run` is called after each run."""

    def __init__(
        self,
        runner: JobRunner,
        settings: ScheduleSettings,
        *,
        on_run: Callable[[CompletedRun], None] = lambda _: None,
    ) -> None:
        self.runner = runner
        self.on_run = on_run
        self.stopped = threading.Event()
        self.scheduler = BackgroundScheduler(
            # One thread per job, so that no job waits for another.
            executors={"default": ThreadPoolExecutor(len(JobName))},
            # Due times that pass during a run or a standby are counted as missed by the next run.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=site_zone(),
        )
        for job in JobName:
            rule = settings.rule(job)
            if rule.enabled:
                self.scheduler.add_job(self._run_due, parse_cron(rule.cron, site_zone()), [job], id=job.value)

    def run(self) -> None:
        """Run until SIGINT or SIGTERM."""
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, self._on_signal)
        self.start()
        self.stopped.wait()
        self.stop()

    def start(self) -> None:
        """Start; each job's first run counts the due times missed before."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self.scheduler.start()

    def stop(self) -> None:
        """Kill running jobs and start no more."""
        self.scheduler.pause()
        self.runner.stop()
        self.scheduler.shutdown(wait=True)

    def _run_due(self, job: JobName) -> None:
        # An error in one run must not remove the job from the schedule.
        try:
            completed = self.runner.run_due(job)
        except Exception:
            log.exception("job %s could not be run", job)
            return
        if completed is not None:
            self.on_run(completed)

    def _on_signal(self, signal_number: int, _: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(signal_number).name)
        self.stopped.set()
