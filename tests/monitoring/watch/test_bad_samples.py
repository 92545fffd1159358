"""Bad samples through the real detector, detect job and watch: faults of the instrument and nothing else."""

import shutil
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from monitoring.alerts.kinds import AlertType
from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from monitoring.watch.operator_actions import alert_history, list_alerts
from tests.support.workspaces import with_lenient_gate
from training.data.sensor_store import load_fleet, save_sensors
from training.data.sensors import Sensor
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

START = pd.Timestamp("2026-03-01")
HISTORY = 2 * 1440  # minutes before the plant is watched
FLOW = Sensor(id="FT-201", unit="L/min", low=0, high=300)
PRESSURE = Sensor(id="PT-201", unit="bar")
NO_MODEL = Sensor(id="TT-202", unit="degC", low=0, high=250, critical_high=95)


def flow(count: int, seed: int) -> np.ndarray:
    """A coarse flow around 126."""
    return np.random.default_rng(seed).normal(126, 0.6, count).round(0)


def pressure(count: int, seed: int) -> np.ndarray:
    """A pressure around zero."""
    return np.random.default_rng(seed).normal(0.05, 0.25, count).round(4)


def temperature(count: int, seed: int) -> np.ndarray:
    """A temperature around 88."""
    return np.random.default_rng(seed).normal(88, 0.3, count).round(2)


@pytest.fixture(scope="module")
def trained_plant(empty_mlflow, tmp_path_factory):
    """Two sensors with a detector each, trained on two days of readings a minute, and one without."""
    folder = tmp_path_factory.mktemp("plant")
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAFEPLAN_HOME", str(folder))
        workspace = Workspace(folder)
        save_sensors(workspace.engine, [FLOW, PRESSURE, NO_MODEL])
        for sensor, signal in ((FLOW, flow), (PRESSURE, pressure), (NO_MODEL, temperature)):
            store(workspace, sensor, 0, signal(HISTORY, seed=1))
        sensors = load_fleet(workspace.engine).match([FLOW.id, PRESSURE.id])
        plan = with_lenient_gate(Plan.from_conf(trials=2))
        for outcome in train_fleet(workspace, sensors, [Kind.DETECTOR], plan, jobs=1):
            assert not outcome.failed, outcome.error
        workspace.engine.dispose()
    return folder


@pytest.fixture
def plant(trained_plant, tmp_path, monkeypatch):
    """A copy of the plant."""
    home = tmp_path / "plant"
    shutil.copytree(trained_plant, home)
    monkeypatch.setenv("SAFEPLAN_HOME", str(home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    workspace = Workspace(home)
    yield workspace
    workspace.engine.dispose()


def at(minute: float) -> datetime:
    """The time this many minutes after the plant is watched."""
    return (START + pd.Timedelta(minutes=HISTORY + minute)).to_pydatetime()


def store(workspace, sensor, first: int, values) -> None:
    """Store readings, one a minute; `first` in minutes after the start of the history."""
    times = START + pd.to_timedelta(first + np.arange(len(values)), unit="min")
    workspace.readings.ingest(pd.DataFrame({"sensor_id": sensor.id, "timestamp": times, "value": values}))


def live(workspace, sensor, values) -> None:
    """Send readings one a minute, and run the detect job each time."""
    for minute, value in enumerate(values):
        store(workspace, sensor, HISTORY + minute, [value])
        run_job(JobName.DETECT, workspace, now=at(minute + 0.5))


def history(workspace, sensor):
    """The alerts of a sensor: type, subject, severity and changes by readings with their minutes."""
    return [
        (
            alert.topic.type,
            alert.topic.subject,
            int(alert.severity),
            [
                (event.change.value, (event.at - at(0)).total_seconds() / 60)
                for event in alert_history(workspace, alert.id)
                if event.change.value != "escalated"
            ],
        )
        for alert in list_alerts(workspace, [sensor.id])
        if alert.topic.type is not AlertType.INSTRUMENT or alert.topic.subject != "silent"
    ]


def test_single_samples_of_ten_bar_more_are_spikes_and_no_anomaly(plant):
    """Each was danger for half an hour, reported five minutes late."""
    values = pressure(25, seed=2)
    values[[3, 15]] += 10

    live(plant, PRESSURE, values)

    assert history(plant, PRESSURE) == [
        (
            AlertType.INSTRUMENT,
            "spike",
            2,
            [("opened", 4), ("returned", 5), ("repeated", 16), ("returned", 17)],
        )
    ]
    (alert,) = list_alerts(plant, [PRESSURE.id])
    assert alert.evidence.reason.startswith("a single reading of ")


def test_one_sample_out_of_range_is_an_instrument_alert_at_once_and_no_anomaly(plant):
    values = flow(15, seed=3)
    values[5] = 350

    live(plant, FLOW, values)

    assert [(kind, subject, severity) for kind, subject, severity, _ in history(plant, FLOW)] == [
        (AlertType.INSTRUMENT, "out of range", 2)
    ]
    assert history(plant, FLOW)[0][3][0] == ("opened", 5)


def test_degrees_fahrenheit_are_a_limit_alert_without_a_model(plant):
    """88 degC sent as 192 degF: reported after 12 minutes, and critical for 13 minutes after it was over."""
    values = temperature(30, seed=4)
    values[5:20] = values[5:20] * 1.8 + 32

    live(plant, NO_MODEL, values)

    assert history(plant, NO_MODEL) == [(AlertType.LIMIT, "high_high", 4, [("opened", 5), ("returned", 21)])]


def test_a_step_that_stays_is_an_anomaly_and_no_spike(plant):
    values = pressure(15, seed=5)
    values[3:] += 10

    live(plant, PRESSURE, values)

    ((kind, _, severity, changes),) = history(plant, PRESSURE)
    assert (kind, severity, changes[0]) == (AlertType.ANOMALY, 3, ("opened", 8))
