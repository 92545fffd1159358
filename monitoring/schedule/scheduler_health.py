"""What the doctor sees of the loop: failing jobs, waiting messages, a slow clock, instruments out of order.

Knows which traces trouble leaves in `job_runs`, `outbox`, `alerts` and the readings, and what to do about
each. Repairs nothing; what an installation needs besides is looked at by `serving.doctor`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pandas as pd
from sqlalchemy import Engine

from monitoring.alerts.kinds import AlertType
from monitoring.alerts.store import AlertStore
from monitoring.notify.outbox import ChannelQueue, Outbox
from monitoring.schedule.job_runs import JobRun, JobRunStore, RunStatus
from serving.doctor import HealthCheck, run_guarded
from training.data.sensors import Fleet, Sensor
from training.storage.leases import Owner
from training.workspace import Workspace

LOOKBACK = timedelta(days=2)  # every job is due at least once in them
MAX_MESSAGE_AGE = timedelta(minutes=30)  # a message that waits longer than a few attempts take
MAX_CLOCK_SKEW = timedelta(minutes=5)  # clocks of one plant differ by seconds
MAX_READING_AGE = timedelta(days=1)
MAX_SENSORS_SHOWN = 3  # of many sensors
DEFAULT_SENSOR = Sensor(id="any")  # what is not described counts
FAILED_STATUSES = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.INTERRUPTED)


def check_scheduler(workspace: Workspace, *, now: datetime) -> list[HealthCheck]:
    """Look at each job's newest run, the messages on their way, the clock and the instruments.

    `now` is naive UTC.
    """
    return run_guarded("schedule", lambda: list(_check_all(workspace, now)))


def _check_all(workspace: Workspace, now: datetime) -> Iterator[HealthCheck]:
    yield from _check_jobs(workspace.engine, now)
    yield from (_check_messages(queue, now) for queue in Outbox(workspace.engine).queues())
    times = workspace.readings.last_times()
    yield from _check_clock(times, now)
    yield from _check_sensors_without_data(times, workspace.fleet)
    yield from _check_instruments(workspace.engine)


def _check_jobs(engine: Engine, now: datetime) -> Iterator[HealthCheck]:
    runs = JobRunStore(engine)
    newest: dict[str, JobRun] = {}
    for run in runs.since(now - LOOKBACK):
        newest.setdefault(run.job, run)
    missed = runs.missed_since(now - LOOKBACK)
    for job, run in sorted(newest.items()):
        is_gone = run.status is RunStatus.RUNNING and Owner.parse(run.owner).is_gone()
        has_failed = is_gone or run.status in FAILED_STATUSES
        status = RunStatus.INTERRUPTED if is_gone else run.status
        times = f", {missed[job]} times missed in two days" if missed.get(job) else ""
        detail = f": {run.detail}" if has_failed and run.detail else ""
        yield HealthCheck(
            f"job {job}",
            has_failed,
            f"{status.value}, begun {run.started_at:%Y-%m-%d %H:%M} UTC{times}{detail}",
            f"See the reason, then run it by hand: safeplan schedule --once {job}" if has_failed else "",
        )


def _check_messages(queue: ChannelQueue, now: datetime) -> HealthCheck:
    is_stuck = bool(queue.given_up) or (queue.oldest is not None and now - queue.oldest > MAX_MESSAGE_AGE)
    since = f", the oldest since {queue.oldest:%Y-%m-%d %H:%M} UTC" if queue.oldest else ""
    error = f": {queue.error}" if queue.error else ""
    return HealthCheck(
        f"messages to {queue.channel}",
        is_stuck,
        f"{queue.waiting} waiting{since}, {queue.given_up} given up{error}",
        "See whether the channel answers, then: safeplan alerts deliver" if is_stuck else "",
    )


def _check_clock(times: pd.Series, now: datetime) -> Iterator[HealthCheck]:
    newest = now if times.empty else times.max()
    if newest > now + MAX_CLOCK_SKEW:
        yield HealthCheck(
            "clock",
            True,
            f"here it is {now:%Y-%m-%d %H:%M} UTC, and the newest reading is of {newest:%Y-%m-%d %H:%M}",
            "Set this machine's clock, or the zone of what sends the readings.",
        )


def _check_sensors_without_data(times: pd.Series, fleet: Fleet) -> Iterator[HealthCheck]:
    """Sensors that stopped while others went on; where all have stopped, nothing is said of each."""
    times = times[[sensor_id for sensor_id in times.index if fleet.get(sensor_id, DEFAULT_SENSOR).enabled]]
    without_data = times[times < times.max() - MAX_READING_AGE].sort_values()
    if len(without_data):
        longest = ", ".join(
            f"{sensor_id} since {last:%Y-%m-%d}"
            for sensor_id, last in without_data.head(MAX_SENSORS_SHOWN).items()
        )
        yield HealthCheck(
            "silent sensors",
            False,  # the plant's trouble, not the installation's
            f"{len(without_data)} sent nothing for a day while others did: {longest}",
            "Look after the instrument or its line; one that is gone for good gets enabled: false.",
        )


def _check_instruments(engine: Engine) -> Iterator[HealthCheck]:
    instrument_alerts = AlertStore(engine).find(alive=True, kinds=[AlertType.INSTRUMENT])
    if instrument_alerts:
        worst = "; ".join(
            f"{one.topic.sensor_id} {one.evidence.reason}" for one in instrument_alerts[:MAX_SENSORS_SHOWN]
        )
        yield HealthCheck(
            "instruments",
            False,
            f"{len(instrument_alerts)} open alerts of instruments: {worst}",
            "See them all: safeplan alerts list",
        )
