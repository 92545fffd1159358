"""What each scheduled job does: the same functions as the commands, for the whole fleet.

Knows which sensors a job is for, and how its result is summed up. When and where jobs run is `running`'s.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import Field

from monitoring.schedule.settings import JobName
from training.common.formatting import format_count
from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import Outcome, summary
from training.settings import Settings, load_settings
from training.workspace import Workspace


class DataRetentionSettings(Settings, file="monitoring", section="retention", former_section="tidy"):
    """How long rows are kept. Alerts, verdicts and labels are kept forever."""

    predictions: timedelta = Field(timedelta(days=90), gt=timedelta(0))
    messages: timedelta = Field(timedelta(days=30), gt=timedelta(0))
    runs: timedelta = Field(timedelta(days=30), gt=timedelta(0))
    drift_checks: timedelta = Field(timedelta(days=400), gt=timedelta(0))


@dataclass(frozen=True)
class JobResult:
    """What a job came to."""

    failed: bool
    detail: str


def run_job(name: JobName, workspace: Workspace, *, now: datetime) -> JobResult:
    """Do one job as of a moment (naive UTC)."""
    return JOB_FUNCTIONS[name](workspace, now)


def detect(workspace: Workspace, now: datetime) -> JobResult:
    """Score what came in since the last time, then look for alerts."""
    from serving.batch import detect_fleet  # noqa: PLC0415 (MLflow takes seconds)

    outcomes = detect_fleet(workspace, _served_sensors(workspace, Kind.DETECTOR))
    return _to_result(outcomes, _watch_alerts(workspace, now))


def forecast(workspace: Workspace, now: datetime) -> JobResult:
    """Forecast every sensor that has readings, then look for alerts."""
    from serving.batch import forecast_fleet  # noqa: PLC0415

    sensors_with_readings = workspace.readings.last_times().index
    sensors = [sensor for sensor in workspace.fleet.match(()) if sensor.id in sensors_with_readings]
    return _to_result(forecast_fleet(workspace, sensors), _watch_alerts(workspace, now))


def deliver(workspace: Workspace, now: datetime) -> JobResult:
    """Send what waits for its channel; time goes on from `now` while it is sent."""
    from monitoring.notify.delivery import deliver as deliver_all  # noqa: PLC0415

    started = datetime.now(UTC)
    results = deliver_all(workspace, clock=lambda: now + (datetime.now(UTC) - started))
    lines = [f"{one.channel}: {one.sent} sent, {one.failed} failed, {one.waiting} waiting" for one in results]
    lines += [f"{one.channel}: {one.error}" for one in results if one.error]
    return JobResult(any(one.error for one in results), "; ".join(lines) or "nothing waits")


def allocate_alarm_budget(workspace: Workspace, now: datetime) -> JobResult:
    """Share the alarm budget out over the fleet."""
    from monitoring.watch.thresholds import allocate_budget  # noqa: PLC0415

    return JobResult(False, str(allocate_budget(workspace, now=now)))


def drift(workspace: Workspace, now: datetime) -> JobResult:
    """Compare every champion's readings with the window it was trained on, then look for alerts."""
    from monitoring.drift.fleet import check_fleet  # noqa: PLC0415

    return _to_result(
        check_fleet(workspace, _served_sensors(workspace, *Kind), now=now), _watch_alerts(workspace, now)
    )


def retrain(workspace: Workspace, now: datetime) -> JobResult:
    """Learn anew what needs it most, as far as the night's budget goes."""
    from monitoring.retraining.need import retrain as retrain_by_need  # noqa: PLC0415

    return _to_result(retrain_by_need(workspace, workspace.fleet.match(()), now=now))


def apply_retention(workspace: Workspace, now: datetime) -> JobResult:
    """Forget what was kept long enough."""
    from monitoring.drift.store import DriftCheckStore  # noqa: PLC0415
    from monitoring.notify.outbox import Outbox  # noqa: PLC0415
    from monitoring.schedule.job_runs import JobRunStore  # noqa: PLC0415
    from serving.predictions.store import PredictionStore  # noqa: PLC0415

    retention, engine = load_settings(DataRetentionSettings), workspace.engine
    deleted = {
        "prediction": PredictionStore(engine).delete_before(now - retention.predictions),
        "message": Outbox(engine).delete_sent_before(now - retention.messages),
        "run": JobRunStore(engine).delete_before(now - retention.runs),
        "drift check": DriftCheckStore(engine).delete_before(now - retention.drift_checks),
    }
    return JobResult(
        False, "forgot " + ", ".join(format_count(count, thing) for thing, count in deleted.items())
    )


JOB_FUNCTIONS: dict[JobName, Callable[[Workspace, datetime], JobResult]] = {
    JobName.DETECT: detect,
    JobName.FORECAST: forecast,
    JobName.DELIVER: deliver,
    JobName.ALLOCATE_BUDGET: allocate_alarm_budget,
    JobName.DRIFT: drift,
    JobName.RETRAIN: retrain,
    JobName.RETENTION: apply_retention,
}


def _served_sensors(workspace: Workspace, *kinds: Kind) -> list[Sensor]:
    """The sensors that a champion of such a kind serves; one that was never trained is no failure."""
    from training.registry.model_registry import CHAMPION  # noqa: PLC0415

    listings = workspace.registry.listings()
    return [
        sensor
        for sensor in workspace.fleet.match(())
        if any((found := listings.get((sensor.id, kind))) and CHAMPION in found.aliases for kind in kinds)
    ]


def _watch_alerts(workspace: Workspace, now: datetime) -> list[Outcome]:
    """Look for alerts; where another job is at it, the next look sees what we have written."""
    from monitoring.watch.watcher import watch_fleet  # noqa: PLC0415
    from training.storage.leases import LeaseTaken  # noqa: PLC0415

    try:
        return watch_fleet(workspace, workspace.fleet.match(()), now=now)
    except LeaseTaken:
        return []


def _to_result(*parts: Iterable[Outcome]) -> JobResult:
    outcomes = [outcome for part in parts for outcome in part]
    detail = ", ".join(f"{count} {status}" for status, count in summary(outcomes).items()) or "nothing to do"
    failed = [outcome for outcome in outcomes if outcome.failed]
    # The first reasons are enough to know where to look; the commands show all.
    detail += "".join(f"; {outcome.sensor_id}: {outcome.error}" for outcome in failed[:3])
    return JobResult(bool(failed), detail)
