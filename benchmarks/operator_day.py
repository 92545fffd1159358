"""Run the platform through a day with faults, minute by minute, and report what the operator got to know.

The clock is simulated: readings are inserted until `now`, then the scheduler's jobs run in this process as of
`now`. Store, registry, detectors, watch and delivery are the real ones. Faults are in `operator_faults`.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.cpu import CpuClock
from benchmarks.operator_faults import FAULTS, STOPS, PlantFault, PumpStop, plant_day_readings
from benchmarks.operator_messages import MessageSink, ReceivedMessage
from benchmarks.operator_plant import MINUTES_PER_DAY, PUMP, SENSORS, Signal, as_readings, sensors_file
from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.kinds import AlertChange
from monitoring.alerts.maintenance import MaintenanceWindow, add_maintenance
from monitoring.alerts.sensor_status import SensorStatus
from monitoring.alerts.status_loader import DetectorOutcomes, detectors_of, load_statuses
from monitoring.alerts.store import FLOOD_SUBJECT, AlertStore
from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from monitoring.watch.operator_actions import acknowledge, list_alerts
from training.kinds import Kind
from training.operations.overview import describe_models
from training.outcomes import Outcome
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

MINUTE = timedelta(minutes=1)
MIDNIGHT = datetime(2026, 3, 9)  # noqa: DTZ001 (naive UTC, as everywhere inside)
HISTORY_MINUTES = 6 * MINUTES_PER_DAY
CHANNEL = "SAFEPLAN_CHANNEL_ROOM"
ENVIRONMENT = ("SAFEPLAN_DATABASE_URL", "SAFEPLAN_CONF", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
CALLS = frozenset({AlertChange.OPENED, AlertChange.REPEATED, AlertChange.WORSENED})
BEFORE, AFTER = 2, 12  # minutes around a fault that are run one by one
LONG_MINUTES = 40  # of a longer event only the beginning and the end are
COARSE_MINUTES = 30  # between two runs of the rest of the day
ANNOUNCED_MINUTES = 10  # before a stop, and after the restart
FORECAST_MINUTE = 2  # of each hour
ALLOCATE_MINUTE = 90  # of the day
OPERATOR_DELAY = 5 * MINUTE  # until an alert is acknowledged
QUIET_MINUTES = 180  # after a fault, in which what happens to its sensor is due to the fault


@dataclass(frozen=True)
class FaultReport:
    """What the operator got to know of one fault; minutes count from its begin or from its end."""

    name: str
    sensor_id: str
    within: int
    alert_type: str
    reported_after: float | None
    severity: int | None
    type: str | None
    sentence: str
    alerts: tuple[str, ...]  # type and severity of every alert that the fault raised
    normal_minutes: int  # in which the status was "normal" though the fault was due to be known
    statuses: Mapping[str, int]  # minutes by status, from then on to the end of the fault
    returned_early: bool  # an alert returned to normal before the fault was over
    cleared_after: float | None  # all alerts returned; None: not within three hours
    messages: tuple[str, ...]  # changes in the order of arrival, without the operator's own acknowledgement

    @property
    def detected(self) -> bool:
        """Whether an alert of any type reported it in time."""
        return self.reported_after is not None and self.reported_after <= self.within


@dataclass
class DayRecord:
    """The day as it happened."""

    alerts: Sequence[Alert]
    changes: Sequence[tuple[int, AlertEvent]]
    messages: Sequence[ReceivedMessage]
    statuses: Mapping[int, Mapping[str, SensorStatus]]  # by minute of the day and sensor
    trained: Sequence[Outcome]
    cpu_seconds: Mapping[str, float]
    runs: int


@contextmanager
def plant_workspace(home: Path, sink: MessageSink, *, with_sensors: bool = True) -> Iterator[Workspace]:
    """An installation in an empty folder whose notifications go to the sink."""
    saved = dict(os.environ)
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    os.environ |= {"SAFEPLAN_HOME": str(home), CHANNEL: sink.address}
    (home / "conf").mkdir(parents=True, exist_ok=True)
    if with_sensors:
        (home / "conf" / "sensors.yaml").write_text(yaml.safe_dump(sensors_file()), "utf-8")
    workspace = Workspace(home)
    try:
        yield workspace
    finally:
        workspace.engine.dispose()
        os.environ.clear()
        os.environ |= saved


def run_plant_day(
    workspace: Workspace,
    sink: MessageSink,
    plant: Mapping[str, Signal],
    *,
    trials: int,
    kinds: Sequence[Kind] = (Kind.DETECTOR,),
    every_minute: bool = False,
) -> DayRecord:
    """Train on the readings before the last day, then live through that day."""
    minutes = len(next(iter(plant.values())).level)
    start = pd.Timestamp(MIDNIGHT) - (minutes - MINUTES_PER_DAY) * pd.Timedelta(minutes=1)
    readings = as_readings(plant_day_readings(plant), start)
    clock = CpuClock()
    past = readings["timestamp"] < MIDNIGHT
    workspace.readings.ingest(readings[past])
    with clock.phase("training"):
        sensors = workspace.fleet.match()
        trained = train_fleet(
            workspace, sensors, list(kinds), Plan.from_conf(trials=trials), as_of=MIDNIGHT, jobs=1
        )
    detectors = detectors_of(describe_models(workspace, sensors, now=MIDNIGHT))
    day = SimulatedDay(workspace, sink, readings[~past], clock, detectors)
    run_at = range(MINUTES_PER_DAY) if every_minute else run_minutes()
    for minute in run_at:
        day.run_minute(minute)
    store = AlertStore(workspace.engine)
    return DayRecord(
        alerts=store.find(),
        changes=store.changes(),
        messages=sink.messages,
        statuses=day.statuses,
        trained=trained,
        cpu_seconds=clock.seconds,
        runs=len(run_at),
    )


def run_minutes() -> list[int]:
    """The minutes at which the jobs run: each one around what happens, every half hour elsewhere.

    Alerts change at the times of readings, so that fewer runs find the same changes; the status is recorded
    at each run.
    """
    minutes = set(range(0, MINUTES_PER_DAY, COARSE_MINUTES)) | {MINUTES_PER_DAY - 1, ALLOCATE_MINUTE}
    minutes |= set(range(FORECAST_MINUTE, MINUTES_PER_DAY, 60))
    for event in (*FAULTS, *STOPS):
        minutes.add(event.start - ANNOUNCED_MINUTES)
        spans = [(event.start, event.end)]
        if event.minutes > LONG_MINUTES:
            spans = [(event.start, event.start), (event.end, event.end)]
        for start, end in spans:
            minutes |= set(range(start - BEFORE, end + AFTER))
    return sorted(minute for minute in minutes if minute < MINUTES_PER_DAY)


@dataclass
class SimulatedDay:
    """The platform in operation under a simulated clock."""

    workspace: Workspace
    sink: MessageSink
    readings: pd.DataFrame  # of the day, in order of time
    clock: CpuClock
    detectors: DetectorOutcomes
    statuses: dict[int, dict[str, SensorStatus]] = field(default_factory=dict)
    _inserted: int = 0

    def run_minute(self, minute: int) -> None:
        """Insert what has arrived, and run the jobs that are due."""
        now = self.sink.now = MIDNIGHT + minute * MINUTE
        self._insert_until(now)
        self._announce_stops(minute, now)
        if minute == ALLOCATE_MINUTE:
            self._run(JobName.ALLOCATE_BUDGET, now)
        self._run(JobName.DETECT, now)
        if minute % 60 == FORECAST_MINUTE:
            self._run(JobName.FORECAST, now)
        self._run(JobName.DELIVER, now)
        self._acknowledge(now)
        with self.clock.phase("status"):
            sensors = self.workspace.fleet.match()
            conditions = load_statuses(self.workspace.engine, sensors, self.detectors, now=now)
            self.statuses[minute] = {name: condition.status for name, condition in conditions.items()}

    def _insert_until(self, now: datetime) -> None:
        end = int(self.readings["timestamp"].searchsorted(pd.Timestamp(now), side="right"))
        if end > self._inserted:
            with self.clock.phase("insert"):
                self.workspace.readings.ingest(self.readings.iloc[self._inserted : end])
            self._inserted = end

    def _announce_stops(self, minute: int, now: datetime) -> None:
        """Enter an announced stop ten minutes before it, until ten minutes after the restart."""
        for stop in STOPS:
            if stop.announced and minute == stop.start - ANNOUNCED_MINUTES:
                until = MIDNIGHT + (stop.end + ANNOUNCED_MINUTES) * MINUTE
                window = MaintenanceWindow(now, until, "planned stop", "control room", platform=PUMP)
                add_maintenance(self.workspace, window, now=now)

    def _acknowledge(self, now: datetime) -> None:
        """The operator acknowledges what was reported some minutes ago."""
        for alert in list_alerts(self.workspace):
            if alert.acknowledged_at is None and alert.changed_at <= now - OPERATOR_DELAY and alert.id:
                acknowledge(self.workspace, alert.id, by="control room", now=now)

    def _run(self, job: JobName, now: datetime) -> None:
        with self.clock.phase(job.value):
            result = run_job(job, self.workspace, now=now)
        if result.failed:
            raise RuntimeError(f"job {job} failed at {now}: {result.detail}")


def report_faults(record: DayRecord) -> list[FaultReport]:
    """One report for each fault, in order of time."""
    return [report_fault(record, fault) for fault in sorted(FAULTS, key=lambda fault: fault.start)]


def report_fault(record: DayRecord, fault: PlantFault) -> FaultReport:
    """What the operator got to know of one fault."""
    start, end = MIDNIGHT + fault.start * MINUTE, MIDNIGHT + fault.end * MINUTE
    until = MIDNIGHT + last_minute(fault) * MINUTE
    by_id = {alert.id: alert for alert in record.alerts if alert.topic.sensor_id == fault.sensor_id}
    events = [(by_id[i], event) for i, event in record.changes if i in by_id and start <= event.at < until]
    calls = [(alert, event) for alert, event in events if event.change in CALLS]
    first = calls[0] if calls else None
    returns = [event.at for _, event in events if event.change is AlertChange.RETURNED]
    raised = {alert.id: (alert, event) for alert, event in calls}
    cleared = bool(returns) and len(
        {alert.id for alert, e in events if e.change is AlertChange.RETURNED}
    ) >= len(raised)
    received = [
        message
        for message in record.messages
        if message.sensor_id == fault.sensor_id
        and start <= message.at < until
        and message.change != AlertChange.ACKNOWLEDGED
    ]
    due = start + fault.within * MINUTE
    statuses = Counter(
        shown[fault.sensor_id]
        for minute, shown in record.statuses.items()
        if due <= MIDNIGHT + minute * MINUTE < end
    )
    reported_at = None if first is None else first[1].at
    return FaultReport(
        name=fault.name,
        sensor_id=fault.sensor_id,
        within=fault.within,
        alert_type=fault.alert_type,
        reported_after=None if reported_at is None else (reported_at - start) / MINUTE,
        severity=None if first is None else int(first[1].severity),
        type=None if first is None else alert_label(first[0]),
        sentence=" | ".join([received[0].title, received[0].body.partition("\n")[0]]) if received else "",
        alerts=tuple(f"{alert_label(alert)} {int(event.severity)}" for alert, event in raised.values()),
        normal_minutes=statuses[SensorStatus.NORMAL],
        statuses={str(status): minutes for status, minutes in statuses.items()},
        returned_early=any(at < end for at in returns),
        cleared_after=(max(returns) - end) / MINUTE if cleared else None,
        messages=tuple(message.change for message in received),
    )


def last_minute(fault: PlantFault) -> int:
    """The minute until which what happens to the sensor is due to the fault: others may begin before."""
    starts = [other.start for other in FAULTS if other.sensor_id == fault.sensor_id]
    if SENSORS[fault.sensor_id].stop is not None:
        starts += [stop.start for stop in STOPS]
    return min([fault.end + QUIET_MINUTES, *(start for start in starts if start >= fault.end)])


def alert_label(alert: Alert) -> str:
    """The type of an alert, with its subject."""
    return f"{alert.topic.type.value} {alert.topic.subject}".strip()


def stop_messages(record: DayRecord, stop: PumpStop) -> list[ReceivedMessage]:
    """The messages about the pump's sensors from a stop until three hours after the restart."""
    start = MIDNIGHT + (stop.start - ANNOUNCED_MINUTES) * MINUTE
    until = MIDNIGHT + (stop.end + QUIET_MINUTES) * MINUTE
    pump_sensors = {name for name, sensor in SENSORS.items() if sensor.stop is not None}
    return [
        message
        for message in record.messages
        if message.sensor_id in pump_sensors
        and start <= message.at < until
        and message.change != AlertChange.ACKNOWLEDGED
    ]


def unexplained_calls(record: DayRecord) -> list[tuple[Alert, AlertEvent]]:
    """Calls about a sensor at a time at which neither it nor the pump had anything."""
    by_id = {alert.id: alert for alert in record.alerts if alert.topic.subject != FLOOD_SUBJECT}
    return [
        (by_id[i], event)
        for i, event in record.changes
        if i in by_id and event.change in CALLS and not _is_explained(by_id[i].topic.sensor_id, event.at)
    ]


def _is_explained(sensor_id: str, at: datetime) -> bool:
    minute = (at - MIDNIGHT) / MINUTE
    spans = [(fault.start, fault.end) for fault in FAULTS if fault.sensor_id == sensor_id]
    if SENSORS[sensor_id].stop is not None:
        spans += [(stop.start, stop.end) for stop in STOPS]
    return any(start <= minute < end + QUIET_MINUTES for start, end in spans)


def to_rows(reports: Iterable[FaultReport]) -> list[dict[str, Any]]:
    """The reports as plain values."""
    return [{**vars(report), "detected": report.detected} for report in reports]
