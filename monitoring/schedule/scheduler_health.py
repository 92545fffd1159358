"""Checks of `safeplan doctor` on the running platform: jobs, messages, clock, sensors and instruments.

Reads `job_runs`, `outbox`, `alerts` and the readings, and repairs nothing. The installation itself is checked
by `serving.doctor`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pandas as pd
from sqlalchemy import Engine

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertType
from monitoring.alerts.sensor_status import SensorStatus, count_monitored
from monitoring.alerts.status_loader import detectors_of, load_statuses
from monitoring.alerts.store import AlertStore
from monitoring.notify.outbox import ChannelQueue, Outbox
from monitoring.schedule.job_run_store import JobRun, JobRunStore, RunStatus
from serving.doctor import MAX_NAMES_SHOWN, HealthCheck, HealthStatus, run_guarded
from training.data.sensors import Fleet, Sensor
from training.operations.overview import describe_models
from training.reasons import Reason, ReasonCode
from training.storage.leases import Owner
from training.workspace import Workspace

LOOKBACK = timedelta(days=2)  # every job is due at least once in two days
MAX_MESSAGE_AGE = timedelta(minutes=30)  # a few delivery attempts take less
MAX_CLOCK_SKEW = timedelta(minutes=5)  # clocks within a plant differ by seconds
MAX_READING_AGE = timedelta(days=1)
MAX_SENSORS_SHOWN = 3
DEFAULT_SENSOR = Sensor(id="any")  # a sensor without a description is enabled
FAILED_STATUSES = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.INTERRUPTED)


def check_scheduler(workspace: Workspace, *, now: datetime) -> list[HealthCheck]:
    """Check each job's newest run, the waiting messages, the clock, and the instruments.

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
    yield from _check_monitoring(workspace, now)


def _check_jobs(engine: Engine, now: datetime) -> Iterator[HealthCheck]:
    runs = JobRunStore(engine)
    newest: dict[str, JobRun] = {}
    for run in runs.since(now - LOOKBACK):
        newest.setdefault(run.job, run)
    missed = runs.missed_since(now - LOOKBACK)
    for job, run in sorted(newest.items()):
        is_gone = run.status is RunStatus.RUNNING and Owner.parse(run.owner).is_gone()
        status = RunStatus.INTERRUPTED if is_gone else run.status
        has_failed = status in FAILED_STATUSES
        reasons = [Reason(ReasonCode.DOCTOR_JOB, {"status": status.value, "start": run.started_at})]
        if missed.get(run.job):
            reasons.append(Reason(ReasonCode.DOCTOR_JOB_MISSED, {"count": missed[run.job]}))
        if has_failed and run.detail:
            reasons.append(Reason(ReasonCode.TEXT, {"text": run.detail}))
        yield HealthCheck(
            f"job {job}",
            HealthStatus.PROBLEM if has_failed else HealthStatus.OK,
            tuple(reasons),
            Reason(ReasonCode.DOCTOR_RUN_JOB, {"job": job}) if has_failed else None,
        )


def _check_messages(queue: ChannelQueue, now: datetime) -> HealthCheck:
    is_stuck = bool(queue.given_up) or (queue.oldest is not None and now - queue.oldest > MAX_MESSAGE_AGE)
    counts = {"waiting": queue.waiting, "given_up": queue.given_up}
    reasons = [
        Reason(ReasonCode.DOCTOR_MESSAGES_OLDEST, {**counts, "oldest": queue.oldest})
        if queue.oldest
        else Reason(ReasonCode.DOCTOR_MESSAGES, counts)
    ]
    if queue.error:
        reasons.append(Reason(ReasonCode.TEXT, {"text": queue.error}))
    return HealthCheck(
        f"messages to {queue.channel}",
        HealthStatus.PROBLEM if is_stuck else HealthStatus.OK,
        tuple(reasons),
        Reason(ReasonCode.DOCTOR_DELIVER) if is_stuck else None,
    )


def _check_clock(times: pd.Series, now: datetime) -> Iterator[HealthCheck]:
    newest = now if times.empty else times.max().to_pydatetime()
    if newest > now + MAX_CLOCK_SKEW:
        yield HealthCheck(
            "clock",
            HealthStatus.PROBLEM,
            (Reason(ReasonCode.DOCTOR_CLOCK, {"now": now, "newest": newest}),),
            Reason(ReasonCode.DOCTOR_SET_CLOCK),
        )


def _check_sensors_without_data(times: pd.Series, fleet: Fleet) -> Iterator[HealthCheck]:
    """Sensors that stopped sending while others went on; if all stopped, none is reported."""
    times = times[[sensor_id for sensor_id in times.index if fleet.get(sensor_id, DEFAULT_SENSOR).enabled]]
    without_data = times[times < times.max() - MAX_READING_AGE].sort_values()
    if len(without_data):
        longest = [
            Reason(ReasonCode.DOCTOR_SENSOR_LAST, {"sensor": sensor_id, "last": last.to_pydatetime()})
            for sensor_id, last in without_data.head(MAX_SENSORS_SHOWN).items()
        ]
        values = {"count": len(without_data), "sensors": longest}
        yield HealthCheck(
            "sensors without data",
            HealthStatus.ATTENTION,  # a problem of the plant, not of the installation
            (Reason(ReasonCode.DOCTOR_SENSORS_WITHOUT_DATA, values),),
            Reason(ReasonCode.DOCTOR_CHECK_SENSOR),
        )


def _check_instruments(engine: Engine) -> Iterator[HealthCheck]:
    instrument_alerts = AlertStore(engine).find(alive=True, kinds=[AlertType.INSTRUMENT])
    if instrument_alerts:
        shown = [_instrument_reason(alert) for alert in instrument_alerts[:MAX_SENSORS_SHOWN]]
        values = {"count": len(instrument_alerts), "alerts": shown}
        yield HealthCheck(
            "instruments",
            HealthStatus.ATTENTION,
            (Reason(ReasonCode.DOCTOR_INSTRUMENTS, values),),
            Reason(ReasonCode.DOCTOR_LIST_ALERTS),
        )


def _check_monitoring(workspace: Workspace, now: datetime) -> Iterator[HealthCheck]:
    """Sensors that nothing watches, or something that finds little."""
    sensors = workspace.fleet.match() if workspace.fleet else []
    detectors = detectors_of(describe_models(workspace, sensors, now=now))
    conditions = load_statuses(workspace.engine, sensors, detectors, now=now)
    poorly_monitored = {
        sensor_id: condition
        for sensor_id, condition in conditions.items()
        if condition.monitoring is not SensorStatus.NORMAL
    }
    named = list(poorly_monitored)[:MAX_NAMES_SHOWN]
    values = {"monitored": count_monitored(conditions.values()), "sensors": len(conditions)}
    reasons = [Reason(ReasonCode.DOCTOR_MONITORED, values)]
    if named:
        reasons.append(Reason(ReasonCode.DOCTOR_NOT_MONITORED, {"sensors": named}))
    yield HealthCheck(
        "monitoring",
        HealthStatus.ATTENTION if poorly_monitored else HealthStatus.OK,
        tuple(reasons),
        Reason(ReasonCode.DOCTOR_SHOW_STATUS) if poorly_monitored else None,
    )


def _instrument_reason(alert: Alert) -> Reason:
    evidence = alert.evidence
    detail = evidence.reasons or [Reason(ReasonCode.TEXT, {"text": evidence.reason})]
    return Reason(ReasonCode.DOCTOR_INSTRUMENT, {"sensor": alert.topic.sensor_id, "detail": detail})
