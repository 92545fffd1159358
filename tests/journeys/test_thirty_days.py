"""Thirty days of real weather, told as if live, with faults put in at known times.

The readings are the demo's; detectors learn until November, and November comes in hour by hour.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd
import pytest

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertChange, AlertType
from monitoring.alerts.store import AlertStore
from monitoring.cli.demo import write_readings
from monitoring.watch.operator_actions import list_alerts
from monitoring.watch.thresholds import allocate_budget
from monitoring.watch.watcher import watch_fleet
from serving.batch import detect_fleet
from tests.monitoring.watch.test_watch_crashes import FreshInstallation, in_a_life, state
from tests.support.workspaces import parse_time, with_lenient_gate
from training.ingest.load_files import load_files
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

pytestmark = pytest.mark.slow

START, END = parse_time("2013-11-01"), parse_time("2013-12-01")
HOUR, DAY, POLL = timedelta(hours=1), timedelta(days=1), timedelta(hours=8)
LEARNED = 90  # days before, of which a detector learns from sixty
SENSORS = ("EWR-TEMP", "EWR-DEWP", "JFK-PRESS", "LGA-TEMP")


@dataclass(frozen=True)
class InjectedFault:
    """What is done to a sensor, and what is to be told of it, at the latest when."""

    sensor_id: str
    start: datetime
    length: timedelta
    type: AlertType
    subject: str
    within: timedelta  # its hold time, and what an instrument needs to be called silent or frozen

    @property
    def end(self) -> datetime:
        return self.start + self.length


# Each begins on a day that was quiet until then, so that no episode of the weather is under way.
FAULTS = (
    InjectedFault(
        "EWR-TEMP", parse_time("2013-11-18T06:00"), 8 * HOUR, AlertType.ANOMALY, "", timedelta(minutes=5)
    ),
    InjectedFault(
        "JFK-PRESS", parse_time("2013-11-13T00:00"), 40 * HOUR, AlertType.INSTRUMENT, "frozen", 30 * HOUR
    ),
    InjectedFault(
        "LGA-TEMP", parse_time("2013-11-18T00:00"), 20 * HOUR, AlertType.INSTRUMENT, "silent", 5 * HOUR
    ),
    InjectedFault(
        "EWR-DEWP", parse_time("2013-11-24T12:00"), 6 * HOUR, AlertType.INSTRUMENT, "out of range", 0 * HOUR
    ),
)


def inject_fault(workspace: Workspace) -> None:
    """Put the faults into what is stored."""
    with workspace.engine.begin() as connection:
        for fault in FAULTS:
            frame = workspace.readings.between(fault.sensor_id, fault.start, fault.end)
            where = f"sensor_id = '{fault.sensor_id}' AND timestamp >= '{fault.start}.000000' "
            where += f"AND timestamp < '{fault.end}.000000'"
            change = {
                "": "UPDATE sensor_readings SET value = value + 45",
                "frozen": f"UPDATE sensor_readings SET value = {frame['value'].iloc[0] + 0.05}",
                "silent": "DELETE FROM sensor_readings",
                "out of range": "UPDATE sensor_readings SET value = 500, data_quality = 1",
            }[fault.subject]
            assert connection.exec_driver_sql(f"{change} WHERE {where}").rowcount > 5


def cut(files):
    """Of each station's year, what these sensors sent since a detector's window began."""
    for file in files:
        frame = pd.read_csv(file, usecols=lambda name: name == "timestamp" or name in SENSORS)
        since = f"{START - timedelta(days=LEARNED):%Y-%m-%d}"
        frame[frame["timestamp"] >= since].to_csv(file, index=False)
    return files


@pytest.fixture(scope="module")
def november_workspace(empty_mlflow, tmp_path_factory):
    """The plant on the last of November: everything read and scored, nothing looked at yet."""
    home = tmp_path_factory.mktemp("november")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SAFEPLAN_DATABASE_URL", "SAFEPLAN_CONF", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("SAFEPLAN_HOME", str(home))
        patch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
        (home / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
        workspace = Workspace(home)
        load_files(cut(write_readings(home)), workspace.readings, now=END + DAY)
        sensors = workspace.fleet.match(SENSORS)
        plan = with_lenient_gate(Plan.from_conf(trials=1))
        train_fleet(workspace, sensors, [Kind.DETECTOR], plan, as_of=START, jobs=1)
        inject_fault(workspace)
        assert not any(outcome.failed for outcome in detect_fleet(workspace, sensors, since=START))
        yield workspace
        workspace.engine.dispose()


def poll_times():
    """Every moment at which somebody looks."""
    return [START + POLL * number for number in range(1, int((END - START) / POLL) + 1)]


def watch(workspace, now):
    """What the schedule does: share the budget out once a night, then look."""
    if now.hour == 0:
        allocate_budget(workspace, now=now)
    watch_fleet(workspace, workspace.fleet.match(SENSORS), now=now)


def forget(workspace):
    """As if nobody had looked yet."""
    with workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches", "outbox", "alert_thresholds"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
        connection.exec_driver_sql("DELETE FROM sqlite_sequence")


@pytest.fixture(scope="module")
def month_alerts(november_workspace):
    """All alerts of the month, and what is kept of them."""
    for now in poll_times():
        watch(november_workspace, now)
    alerts = list_alerts(november_workspace, alive=None)
    return alerts, state(november_workspace)


def of(alerts: list[Alert], fault: InjectedFault) -> list[Alert]:
    """The alerts that began while a fault lasted."""
    return [
        a for a in alerts if a.topic.sensor_id == fault.sensor_id and fault.start <= a.began_at < fault.end
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.subject or "level")
def test_each_fault_opens_one_alert_of_its_type_within_its_hold_time(month_alerts, fault):
    (alert,) = of(month_alerts[0], fault)

    assert (alert.topic.type, alert.topic.subject) == (fault.type, fault.subject)
    assert fault.start <= alert.opened_at <= fault.start + fault.within + HOUR


def test_on_untouched_days_the_control_room_has_fewer_alerts_than_it_can_stand(
    november_workspace, month_alerts
):
    """Four sensors that may call falsely once a day each; the weather itself is odd at times."""
    touched = {(fault.start + n * DAY).date() for fault in FAULTS for n in range(-1, 4)}
    days = 30 - len(touched)
    calls = [
        event.at
        for _, event in AlertStore(november_workspace.engine).changes(start=START, end=END)
        if event.change in (AlertChange.OPENED, AlertChange.REPEATED)
    ]
    untouched = [at for at in calls if at.date() not in touched]

    assert days >= 10
    assert len(untouched) / days <= len(SENSORS)
    assert len(calls) / 30 <= 120


@pytest.mark.fault(
    "kill -9 between any two commits of every look at thirty days",
    "no alert, change or message is lost or there twice",
)
def test_killed_between_any_two_commits_of_each_look_the_month_ends_the_same(
    november_workspace, month_alerts, record_losses
):
    """Each life dies one commit later than the one before it, until one comes to its end.

    What is written between two commits is rolled back with the process: `test_dying_watch` kills there too.
    """
    _, expected = month_alerts
    forget(november_workspace)
    november_workspace.engine.dispose()
    trained_workspace = type(
        "Plant", (), {"workspace": november_workspace, "home": november_workspace.home}
    )()
    died = 0
    for now in poll_times():
        look = FreshInstallation(trained_workspace, lambda workspace, now=now: watch(workspace, now))
        lives = 0
        while not in_a_life(look, die_at=lives + 1, statements=False):
            lives += 1
            assert lives < 50
        died += lives

    result = state(november_workspace)
    lost = sum(row not in after for before, after in zip(expected, result, strict=True) for row in before)
    doubled = sum(row not in before for before, after in zip(expected, result, strict=True) for row in after)
    record_losses(lost=lost, doubled=doubled)
    assert died > 4 * len(poll_times())
