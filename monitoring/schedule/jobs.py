"""The scheduled jobs: call the same functions as the commands, for the whole fleet.

When jobs are due is in `settings`; their processes are in `job_runner`.
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
    """The result of a job."""

    failed: bool
    detail: str


def run_job(name: JobName, workspace: Workspace, now: datetime) -> JobResult:
    """Run one job as of `now` (naive UTC)."""
    return JOB_FUNCTIONS[name](workspace, now)


def detect(workspace: Workspace, now: datetime) -> JobResult:
    """Score the readings since the last run, then update alerts."""
    from serving.batch import detect_fleet  # noqa: PLC0415 (MLflow takes seconds)

    outcomes = detect_fleet(workspace, _served_sensors(workspace, Kind.DETECTOR))
    return _to_result(outcomes, _watch_alerts(workspace, now))


def forecast(workspace: Workspace, now: datetime) -> JobResult:
    """Forecast every sensor that has readings, then update alerts."""
    from serving.batch import forecast_fleet  # noqa: PLC0415

    sensors_with_readings = workspace.readings.last_times().index
    sensors = [sensor for sensor in workspace.fleet.match(()) if sensor.id in sensors_with_readings]
    return _to_result(forecast_fleet(workspace, sensors), _watch_alerts(workspace, now))


def deliver(workspace: Workspace, now: datetime) -> JobResult:
    """Deliver the waiting messages; `now` is the start of a running clock."""
    from monitoring.notify.delivery import deliver as deliver_all  # noqa: PLC0415

    started = datetime.now(UTC)
    results = deliver_all(workspace, clock=lambda: now + (datetime.now(UTC) - started))
    lines = [f"{one.channel}: {one.sent} sent, {one.failed} failed, {one.waiting} waiting" for one in results]
    lines += [f"{one.channel}: {one.error}" for one in results if one.error]
    return JobResult(any(one.error for one in results), "; ".join(lines) or "no messages waiting")


def allocate_alarm_budget(workspace: Workspace, now: datetime) -> JobResult:
    """Divide the alarm budget among the sensors."""
    from monitoring.watch.thresholds import allocate_budget  # noqa: PLC0415

    return JobResult(False, str(allocate_budget(workspace, now=now)))


def drift(workspace: Workspace, now: datetime) -> JobResult:
    """Check every champion for drift, then update alerts."""
    from monitoring.drift.fleet import check_fleet  # noqa: PLC0415

    return _to_result(
        check_fleet(workspace, _served_sensors(workspace, *Kind), now=now), _watch_alerts(workspace, now)
    )


def retrain(workspace: Workspace, now: datetime) -> JobResult:
    """Retrain the models that need it most, within the night's CPU budget."""
    from monitoring.retraining.need import retrain as retrain_by_need  # noqa: PLC0415

    return _to_result(retrain_by_need(workspace, workspace.fleet.match(()), now=now))


def apply_retention(workspace: Workspace, now: datetime) -> JobResult:
    """Delete rows older than the retention settings."""
    from monitoring.drift.store import DriftCheckStore  # noqa: PLC0415
    from monitoring.notify.outbox import Outbox  # noqa: PLC0415
    from monitoring.schedule.job_run_store import JobRunStore  # noqa: PLC0415
    from serving.predictions.store import PredictionStore  # noqa: PLC0415

    retention, engine = load_settings(DataRetentionSettings), workspace.engine
    deleted = {
        "prediction": PredictionStore(engine).delete_before(now - retention.predictions),
        "message": Outbox(engine).delete_sent_before(now - retention.messages),
        "run": JobRunStore(engine).delete_before(now - retention.runs),
        "drift check": DriftCheckStore(engine).delete_before(now - retention.drift_checks),
    }
    return JobResult(
        False, "deleted " + ", ".join(format_count(count, thing) for thing, count in deleted.items())
    )


def report(workspace: Workspace, now: datetime) -> JobResult:
    """Write the shift report and queue it for its channels."""
    from monitoring.reports.scheduled_report import write_scheduled_report  # noqa: PLC0415

    return JobResult(False, f"wrote {write_scheduled_report(workspace, now=now)}")


JOB_FUNCTIONS: dict[JobName, Callable[[Workspace, datetime], JobResult]] = {
    JobName.DETECT: detect,
    JobName.FORECAST: forecast,
    JobName.DELIVER: deliver,
    JobName.ALLOCATE_BUDGET: allocate_alarm_budget,
    JobName.DRIFT: drift,
    JobName.RETRAIN: retrain,
    JobName.RETENTION: apply_retention,
    JobName.REPORT: report,
}


def _served_sensors(workspace: Workspace, *kinds: Kind) -> list[Sensor]:
    """The sensors with a champion of one of these kinds; sensors without a model are no failure."""
    from training.registry.model_registry import CHAMPION  # noqa: PLC0415

    listings = workspace.registry.listings()
    return [
        sensor
        for sensor in workspace.fleet.match(())
        if any((found := listings.get((sensor.id, kind))) and CHAMPION in found.aliases for kind in kinds)
    ]


def _watch_alerts(workspace: Workspace, now: datetime) -> list[Outcome]:
    """Update alerts; if another job is doing so, the next update includes our rows."""
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
    # The first errors show where to look; the commands show all.
    detail += "".join(f"; {outcome.sensor_id}: {outcome.error}" for outcome in failed[:3])
    return JobResult(bool(failed), detail)
