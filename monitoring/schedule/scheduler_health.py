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
from monitoring.notify.outbox import Outbox, Queue
from monitoring.schedule.job_runs import JobRun, JobRuns, RunStatus
from serving.doctor import HealthCheck, run_guarded
from training.data.sensors import Fleet, Sensor
from training.storage.leases import Owner
from training.workspace import Workspace

LOOKED_BACK = timedelta(days=2)  # every job is due at least once in them
LONG = timedelta(minutes=30)  # a message that waits longer than a few attempts take
AHEAD = timedelta(minutes=5)  # clocks of one plant differ by seconds
SILENT = timedelta(days=1)
SHOWN = 3  # of many sensors
ENABLED = Sensor(id="any")  # what is not described counts
WRONG = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CUT_OFF)


def examine_loop(workspace: Workspace, *, now: datetime) -> list[HealthCheck]:
    """Look at each job's newest run, the messages on their way, the clock and the instruments.

    `now` is naive UTC.
    """
    return run_guarded("schedule", lambda: list(_loop(workspace, now)))


def _loop(workspace: Workspace, now: datetime) -> Iterator[HealthCheck]:
    yield from _jobs(workspace.engine, now)
    yield from (_messages(queue, now) for queue in Outbox(workspace.engine).queues())
    times = workspace.readings.last_times()
    yield from _clock(times, now)
    yield from _silent(times, workspace.fleet)
    yield from _instruments(workspace.engine)


def _jobs(engine: Engine, now: datetime) -> Iterator[HealthCheck]:
    runs = JobRuns(engine)
    newest: dict[str, JobRun] = {}
    for run in runs.since(now - LOOKED_BACK):
        newest.setdefault(run.job, run)
    missed = runs.missed_since(now - LOOKED_BACK)
    for job, run in sorted(newest.items()):
        gone = run.status is RunStatus.RUNNING and Owner.parse(run.owner).is_gone()
        bad = gone or run.status in WRONG
        status = RunStatus.CUT_OFF if gone else run.status
        times = f", {missed[job]} times missed in two days" if missed.get(job) else ""
        detail = f": {run.detail}" if bad and run.detail else ""
        yield HealthCheck(
            f"job {job}",
            bad,
            f"{status.value}, begun {run.started_at:%Y-%m-%d %H:%M} UTC{times}{detail}",
            f"See the reason, then run it by hand: safeplan schedule --once {job}" if bad else "",
        )


def _messages(queue: Queue, now: datetime) -> HealthCheck:
    bad = bool(queue.given_up) or (queue.oldest is not None and now - queue.oldest > LONG)
    since = f", the oldest since {queue.oldest:%Y-%m-%d %H:%M} UTC" if queue.oldest else ""
    error = f": {queue.error}" if queue.error else ""
    return HealthCheck(
        f"messages to {queue.channel}",
        bad,
        f"{queue.waiting} waiting{since}, {queue.given_up} given up{error}",
        "See whether the channel answers, then: safeplan alerts deliver" if bad else "",
    )


def _clock(times: pd.Series, now: datetime) -> Iterator[HealthCheck]:
    newest = now if times.empty else times.max()
    if newest > now + AHEAD:
        yield HealthCheck(
            "clock",
            True,
            f"here it is {now:%Y-%m-%d %H:%M} UTC, and the newest reading is of {newest:%Y-%m-%d %H:%M}",
            "Set this machine's clock, or the zone of what sends the readings.",
        )


def _silent(times: pd.Series, fleet: Fleet) -> Iterator[HealthCheck]:
    """Sensors that stopped while others went on; where all have stopped, nothing is said of each."""
    times = times[[sensor_id for sensor_id in times.index if fleet.get(sensor_id, ENABLED).enabled]]
    late = times[times < times.max() - SILENT].sort_values()
    if len(late):
        longest = ", ".join(
            f"{sensor_id} since {last:%Y-%m-%d}" for sensor_id, last in late.head(SHOWN).items()
        )
        yield HealthCheck(
            "silent sensors",
            False,  # the plant's trouble, not the installation's
            f"{len(late)} sent nothing for a day while others did: {longest}",
            "Look after the instrument or its line; one that is gone for good gets enabled: false.",
        )


def _instruments(engine: Engine) -> Iterator[HealthCheck]:
    found = AlertStore(engine).find(alive=True, kinds=[AlertType.INSTRUMENT])
    if found:
        worst = "; ".join(f"{one.topic.sensor_id} {one.evidence.reason}" for one in found[:SHOWN])
        yield HealthCheck(
            "instruments",
            False,
            f"{len(found)} open alerts of instruments: {worst}",
            "See them all: safeplan alerts list",
        )
