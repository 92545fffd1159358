"""What the doctor sees of the loop: jobs that fail, messages that do not leave, a clock behind its readings.

Knows which traces trouble leaves in `job_runs`, `outbox` and the readings, and what to do about each. Repairs
nothing; what an installation needs besides is looked at by `serving.doctor`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Engine

from monitoring.job_runs import JobRun, JobRuns, RunStatus
from monitoring.outbox import Outbox, Queue
from serving.doctor import Finding, guarded
from training.leases import Owner
from training.workspace import Workspace

LOOKED_BACK = timedelta(days=2)  # every job is due at least once in them
LONG = timedelta(minutes=30)  # a message that waits longer than a few attempts take
AHEAD = timedelta(minutes=5)  # clocks of one plant differ by seconds
WRONG = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CUT_OFF)


def examine_loop(workspace: Workspace, *, now: datetime) -> list[Finding]:
    """Look at the newest run of each job, the messages on their way, and the clock; `now` is naive UTC."""
    return [
        *guarded("jobs", lambda: list(_jobs(workspace.engine, now))),
        *guarded("messages", lambda: [_messages(queue, now) for queue in Outbox(workspace.engine).queues()]),
        *guarded("clock", lambda: list(_clock(workspace, now))),
    ]


def _jobs(engine: Engine, now: datetime) -> Iterator[Finding]:
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
        yield Finding(
            f"job {job}",
            bad,
            f"{status.value}, begun {run.started_at:%Y-%m-%d %H:%M} UTC{times}{detail}",
            f"See the reason, then run it by hand: safeplan schedule --once {job}" if bad else "",
        )


def _messages(queue: Queue, now: datetime) -> Finding:
    bad = bool(queue.given_up) or (queue.oldest is not None and now - queue.oldest > LONG)
    since = f", the oldest since {queue.oldest:%Y-%m-%d %H:%M} UTC" if queue.oldest else ""
    error = f": {queue.error}" if queue.error else ""
    return Finding(
        f"messages to {queue.channel}",
        bad,
        f"{queue.waiting} waiting{since}, {queue.given_up} given up{error}",
        "See whether the channel answers, then: safeplan alerts deliver" if bad else "",
    )


def _clock(workspace: Workspace, now: datetime) -> Iterator[Finding]:
    times = workspace.readings.last_times()
    newest = now if times.empty else times.max()
    if newest > now + AHEAD:
        yield Finding(
            "clock",
            True,
            f"here it is {now:%Y-%m-%d %H:%M} UTC, and the newest reading is of {newest:%Y-%m-%d %H:%M}",
            "Set this machine's clock, or the zone of what sends the readings.",
        )
