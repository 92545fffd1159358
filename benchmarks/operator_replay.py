"""Replay months of a real water plant as if live: are its events called, and how often is the operator?

Five sensors of `gecco_train.csv.gz` (`series_id,timestamp,value,label`; medians of five minutes) are trained
on the first 30 % and watched over the rest, with the nightly allocation of the alarm budget. A call is a
notification that an alert opened, repeated or worsened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.operator_day import CALLS
from benchmarks.operator_messages import MessageSink
from benchmarks.operator_plant import to_long
from monitoring.alerts.kinds import AlertChange
from monitoring.alerts.store import FLOOD_SUBJECT, AlertStore
from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from training.common.arrays import Floats, true_runs
from training.data.sensor_store import add_missing_sensors
from training.kinds import Kind
from training.outcomes import Outcome
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

FILE = "gecco_train.csv.gz"
SENSORS = ("Cl", "Cl_2", "Redox", "Tp", "pH")
STEP, TRAINING_SHARE = "5min", 0.3
EARLY, LATE = timedelta(minutes=10), timedelta(minutes=30)  # of a call, around the beginning of an event
NIGHT = timedelta(hours=1, minutes=30)  # when the alarm budget is allocated
POLL = timedelta(hours=8)
DAY = timedelta(days=1)
SHIFTS = 500
END_OF_ALERT = frozenset({"returned", "closed", "accepted"})


@dataclass(frozen=True)
class WaterPlant:
    """The readings, and the events of the plant after the training."""

    readings: pd.DataFrame
    split: datetime
    end: datetime
    events: tuple[tuple[datetime, datetime], ...]

    @property
    def days(self) -> float:
        """The days watched."""
        return (self.end - self.split) / DAY


@dataclass(frozen=True)
class ReplayResult:
    """What the operator got to know of the events, and at what price."""

    days: float
    events: int
    called: int  # events with a call from 10 min before until 30 min after their beginning
    called_by_chance: float  # mean of the same calls at random times
    called_by_chance_95: float  # reached by 5 % of the shifts
    alerts: int
    calls: int
    messages: int
    calls_per_day: float
    alert_share: dict[str, float]  # of the time, by sensor
    gates: dict[str, str]


def read_water_plant(data: Path) -> WaterPlant:
    """The plant as the source has it, in steps of five minutes."""
    table = pd.read_csv(data / FILE, parse_dates=["timestamp"])
    table = table[table["series_id"].isin(SENSORS)]
    values = table.pivot_table(index="timestamp", columns="series_id", values="value")
    values = values.resample(STEP).median().dropna(how="all")
    labels = table.groupby("timestamp")["label"].max().resample(STEP).max().reindex(values.index) == 1
    split = int(TRAINING_SHARE * len(values))
    runs = true_runs(labels.to_numpy())
    events = tuple(
        (values.index[run.start].to_pydatetime(), values.index[run.stop - 1].to_pydatetime())
        for run in runs.slices()
        if run.start >= split
    )
    return WaterPlant(
        to_long(values),
        values.index[split].to_pydatetime(),
        values.index[-1].to_pydatetime(),
        events,
    )


def replay(workspace: Workspace, sink: MessageSink, plant: WaterPlant, *, trials: int) -> ReplayResult:
    """Train until the split, then run the jobs until the end."""
    past = plant.readings["timestamp"] < plant.split
    workspace.readings.ingest(plant.readings[past])
    add_missing_sensors(workspace.engine, SENSORS)
    plan = Plan.from_conf(trials=trials)
    trained = train_fleet(
        workspace, workspace.fleet.match(), [Kind.DETECTOR], plan, as_of=plant.split, jobs=1
    )
    last = pd.Timestamp(plant.split) - pd.Timedelta(microseconds=1)
    for now in poll_times(plant.split, plant.end):
        times = plant.readings["timestamp"]
        workspace.readings.ingest(plant.readings[(times > last) & (times <= now)])
        last, sink.now = pd.Timestamp(now), now
        if now - now.replace(hour=0, minute=0) == NIGHT:
            run_job(JobName.ALLOCATE_BUDGET, workspace, now=now)
        for job in (JobName.DETECT, JobName.DELIVER):
            result = run_job(job, workspace, now=now)
            if result.failed:
                raise RuntimeError(f"job {job} failed at {now}: {result.detail}")
    return summarise(workspace, sink, plant, trained)


def poll_times(start: datetime, end: datetime) -> list[datetime]:
    """Every eight hours from the first night on, and the end."""
    first = start.replace(hour=0, minute=0) + NIGHT
    count = int((end - first) / POLL) + 1
    polls = [first + number * POLL for number in range(count)]
    return [start, *(poll for poll in polls if start < poll < end), end]


def summarise(
    workspace: Workspace, sink: MessageSink, plant: WaterPlant, trained: Sequence[Outcome]
) -> ReplayResult:
    """Count calls, and compare them with the events."""
    calls = sorted(
        datetime.fromisoformat(message.alert["at"]).replace(tzinfo=None)
        for message in sink.messages
        if AlertChange(message.change) in CALLS
    )
    starts = [start for start, _ in plant.events]
    hits = shifted_hits(starts, calls, plant)
    alerts = [a for a in AlertStore(workspace.engine).find() if a.topic.subject != FLOOD_SUBJECT]
    return ReplayResult(
        days=plant.days,
        events=len(starts),
        called=count_called(starts, calls),
        called_by_chance=float(hits.mean()),
        called_by_chance_95=float(np.quantile(hits, 0.95)),
        alerts=len(alerts),
        calls=len(calls),
        messages=len(sink.messages),
        calls_per_day=len(calls) / plant.days,
        alert_share=alert_shares(workspace, plant),
        gates={
            outcome.sensor_id: f"{outcome.status}: {outcome.detail.get('gate', '')}" for outcome in trained
        },
    )


def count_called(starts: Sequence[datetime], calls: Sequence[datetime]) -> int:
    """The number of events with a call close to their beginning.

    >>> noon = datetime(2026, 1, 1, 12)
    >>> count_called([noon, noon + timedelta(hours=5)], [noon + timedelta(minutes=30)])
    1
    """
    times = np.array(calls, "datetime64[us]")
    begins = np.array(starts, "datetime64[us]")
    first = np.searchsorted(times, begins - np.timedelta64(EARLY))
    last = np.searchsorted(times, begins + np.timedelta64(LATE), side="right")
    return int((last > first).sum())


def shifted_hits(starts: Sequence[datetime], calls: Sequence[datetime], plant: WaterPlant) -> Floats:
    """The number of events called if the same calls are moved by a random time, around the end."""
    rng = np.random.default_rng(0)
    length = plant.end - plant.split
    hits = []
    for shift in rng.uniform(0, 1, SHIFTS):
        moved = sorted(plant.split + (call - plant.split + shift * length) % length for call in calls)
        hits.append(count_called(starts, moved))
    return np.array(hits, float)


def alert_shares(workspace: Workspace, plant: WaterPlant) -> dict[str, float]:
    """The share of the time during which each sensor has an open alert."""
    store = AlertStore(workspace.engine)
    by_id = {alert.id: alert.topic.sensor_id for alert in store.find()}
    opened: dict[int, datetime] = {}
    spans: dict[str, list[tuple[datetime, datetime]]] = {sensor_id: [] for sensor_id in SENSORS}
    for alert_id, event in store.changes():
        if event.change in CALLS:
            opened.setdefault(alert_id, event.at)
        elif event.change.value in END_OF_ALERT and alert_id in opened:
            spans.setdefault(by_id[alert_id], []).append((opened.pop(alert_id), event.at))
    for alert_id, begin in opened.items():
        spans.setdefault(by_id[alert_id], []).append((begin, plant.end))
    return {
        sensor_id: _covered(parts) / (plant.end - plant.split)
        for sensor_id, parts in spans.items()
        if sensor_id in SENSORS
    }


def _covered(spans: Sequence[tuple[datetime, datetime]]) -> timedelta:
    """The length of the union of spans."""
    total = timedelta(0)
    end: datetime | None = None
    for start, stop in sorted(spans):
        begin = start if end is None else max(start, end)
        total += max(timedelta(0), stop - begin)
        end = stop if end is None else max(end, stop)
    return total
