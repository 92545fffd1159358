"""Alerts of thirty days of real weather, replayed as if live, with faults injected at known times.

The readings are those of the demo; detectors are trained on data until November, which is then replayed.
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
from tests.support.killed_process import run_killed
from tests.support.monitored_fleet import stored_state
from tests.support.workspaces import parse_time, with_lenient_gate
from training.ingest.load_files import load_files
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

pytestmark = pytest.mark.slow

START, END = parse_time("2013-11-01"), parse_time("2013-12-01")
HOUR, DAY, POLL = timedelta(hours=1), timedelta(days=1), timedelta(hours=8)
LEARNED = 90  # days before November; a detector is trained on sixty of them
SENSORS = ("EWR-TEMP", "EWR-DEWP", "JFK-PRESS", "LGA-TEMP")


@dataclass(frozen=True)
class InjectedFault:
    """A fault of a sensor, the alert that it must raise, and the latest time of it."""

    sensor_id: str
    start: datetime
    length: timedelta
    type: AlertType
    subject: str
    within: timedelta  # the hold time, and the time until an instrument counts as silent or frozen

    @property
    def end(self) -> datetime:
        return self.start + self.length


# Each begins on a quiet day, so that no alert about the weather is open.
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


def inject_faults(workspace: Workspace) -> None:
    """Change the stored readings."""
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


def keep_needed(files):
    """Reduce the files to the sensors used here, from the beginning of the training window."""
    for file in files:
        frame = pd.read_csv(file, usecols=lambda name: name == "timestamp" or name in SENSORS)
        since = f"{START - timedelta(days=LEARNED):%Y-%m-%d}"
        frame[frame["timestamp"] >= since].to_csv(file, index=False)
    return files


@pytest.fixture(scope="module")
def november_workspace(empty_mlflow, tmp_path_factory):
    """The installation at the end of November: everything loaded and scored, nothing watched yet."""
    home = tmp_path_factory.mktemp("november")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SAFEPLAN_DATABASE_URL", "SAFEPLAN_CONF", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("SAFEPLAN_HOME", str(home))
        patch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
        (home / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
        workspace = Workspace(home)
        load_files(keep_needed(write_readings(home)), workspace.readings, now=END + DAY)
        sensors = workspace.fleet.match(SENSORS)
        plan = with_lenient_gate(Plan.from_conf(trials=1))
        train_fleet(workspace, sensors, [Kind.DETECTOR], plan, as_of=START, jobs=1)
        inject_faults(workspace)
        assert not any(outcome.failed for outcome in detect_fleet(workspace, sensors, since=START))
        yield workspace
        workspace.engine.dispose()


def poll_times():
    """The times at which alerts are watched."""
    return [START + POLL * number for number in range(1, int((END - START) / POLL) + 1)]


def watch(workspace, now):
    """Allocate the alarm budget once a night, then watch, like the scheduler does."""
    if now.hour == 0:
        allocate_budget(workspace, now=now)
    watch_fleet(workspace, workspace.fleet.match(SENSORS), now=now)


def delete_alerts(workspace):
    """Return to the state before the first watch."""
    with workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches", "outbox", "alert_thresholds"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
        connection.exec_driver_sql("DELETE FROM sqlite_sequence")


@pytest.fixture(scope="module")
def month_alerts(november_workspace):
    """All alerts of the month, and the stored state."""
    for now in poll_times():
        watch(november_workspace, now)
    alerts = list_alerts(november_workspace, alive=None)
    return alerts, stored_state(november_workspace)


def alerts_during(alerts: list[Alert], fault: InjectedFault) -> list[Alert]:
    """The alerts that began during a fault."""
    return [
        alert
        for alert in alerts
        if alert.topic.sensor_id == fault.sensor_id and fault.start <= alert.began_at < fault.end
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.subject or "level")
def test_each_fault_opens_one_alert_of_its_type_within_its_hold_time(month_alerts, fault):
    (alert,) = alerts_during(month_alerts[0], fault)

    assert (alert.topic.type, alert.topic.subject) == (fault.type, fault.subject)
    assert fault.start <= alert.opened_at <= fault.start + fault.within + HOUR


def test_days_without_injected_faults_have_at_most_one_alert_per_sensor(november_workspace, month_alerts):
    """Four sensors with one accepted false alarm a day each; the weather itself is anomalous at times."""
    changed = {(fault.start + n * DAY).date() for fault in FAULTS for n in range(-1, 4)}
    days = 30 - len(changed)
    raised = [
        event.at
        for _, event in AlertStore(november_workspace.engine).changes(start=START, end=END)
        if event.change in (AlertChange.OPENED, AlertChange.REPEATED)
    ]
    other = [at for at in raised if at.date() not in changed]

    assert days >= 10
    assert len(other) / days <= len(SENSORS)
    assert len(raised) / 30 <= 120


@pytest.mark.long
@pytest.mark.fault(
    "kill -9 between any two commits of the watches of thirty days (a sample of the watches at each change, "
    "all of them by `make test-long`)",
    "no alert, change or message is lost or stored twice",
)
def test_kills_between_any_two_commits_of_a_watch_change_no_result(
    november_workspace, month_alerts, record_losses, sample
):
    """Each process dies one commit later than the one before, until one completes.

    Writes between two commits are rolled back with the process; `test_watch_crashes` kills there too.
    """
    _, expected = month_alerts
    delete_alerts(november_workspace)
    interrupted = sample(poll_times(), 15)
    killed = 0
    for now in poll_times():
        if now not in interrupted:
            watch(november_workspace, now)
            continue
        count = 0
        while not run_killed(
            november_workspace,
            lambda workspace, now=now: watch(workspace, now),
            kill_at=count + 1,
            writes=False,
        ):
            count += 1
            assert count < 50
        killed += count

    result = stored_state(november_workspace)
    lost = sum(row not in after for before, after in zip(expected, result, strict=True) for row in before)
    doubled = sum(row not in before for before, after in zip(expected, result, strict=True) for row in after)
    record_losses(lost=lost, doubled=doubled)
    assert killed > 4 * len(interrupted)
