"""The four typical scripts for the original system run with the same calls."""

import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from monitoring.compat.alert_engine import create_alert_engine
from serving.compat.engine import MLEngine, create_ml_engine
from serving.compat.sensor_manager import create_sensor_manager
from tests.support.installation import ROOT
from tests.support.workspaces import ingest_readings, parse_time, with_lenient_gate
from training.pipeline.plan import Plan

NEWEST = parse_time("2026-01-09T07:00")


@pytest.fixture
def ml_engine(trained_workspace, training_stub, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_TUNING_TRIALS", "2")
    engine = create_ml_engine()
    yield engine
    engine.workspace.engine.dispose()


@pytest.fixture
def alert_engine(trained_workspace):
    engine = create_alert_engine()
    yield engine
    engine.workspace.engine.dispose()


def test_watching_all_sensors_in_a_loop(trained_workspace, ml_engine):
    """Each minute every sensor is checked, and anomalies are printed and saved."""
    row = {"sensor_id": ["PT-1"], "timestamp": [NEWEST + timedelta(hours=1)], "value": [900.0]}
    trained_workspace.readings.ingest(pd.DataFrame(row))
    manager = create_sensor_manager()
    printed = []

    for _ in range(2):
        for sensor in manager.get_enabled_sensors():
            result = ml_engine.detect_anomalies(sensor.sensor_id)
            if result.get("is_anomaly"):
                printed.append(f"{sensor.display_name}: {result['anomaly_score']:.4f}")
                ml_engine.save_prediction(
                    sensor_id=sensor.sensor_id,
                    model_type="ANOMALY_DETECTOR",
                    prediction_timestamp=result["timestamp"],
                    anomaly_score=result["anomaly_score"],
                    is_anomaly=True,
                )
    manager.workspace.engine.dispose()

    lines = [line for line in printed if line.startswith("PT-1")]
    assert len(lines) == 2
    assert lines[0].startswith("PT-1: 0.9")
    [stored] = [row for row in ml_engine.get_predictions("PT-1", "ANOMALY_DETECTOR") if row["is_anomaly"]]
    assert stored["timestamp"] == NEWEST + timedelta(hours=1)


def test_a_forecast_above_a_limit_raises_a_warning(ml_engine, alert_engine):
    for threshold in (22.0, 100.0):
        result = ml_engine.forecast_sensor(sensor_id="PT-1", periods=24)
        highest = max(result["forecast"]["forecasted_values"])
        if highest > threshold:
            alert_engine.create_alert(
                sensor_id="PT-1", severity_level=2, notes=f"forecast {highest:.2f} > {threshold}"
            )

    [alert] = alert_engine.get_active_alerts()
    assert (alert.sensor_id, alert.severity_level) == ("PT-1", 2)
    assert alert.notes.endswith("> 22.0")


def test_retraining_every_night_at_two(workspace, training_stub):
    """The scheduled job runs once, in the scheduler's thread."""
    ingest_readings(workspace, "PT-1")
    engine = MLEngine(workspace, plan=lambda: with_lenient_gate(Plan.from_conf(trials=2)))
    results = []

    def retrain_daily():
        results.append(engine.retrain_all_models())

    scheduler = BackgroundScheduler(timezone=UTC)
    job = scheduler.add_job(retrain_daily, "cron", hour=2, minute=0)
    scheduler.start()
    try:
        assert (job.next_run_time.hour, job.next_run_time.minute) == (2, 0)
        job.modify(next_run_time=datetime.now(UTC))
    finally:
        while not results:
            assert scheduler.running
        scheduler.shutdown(wait=True)

    assert (results[0]["anomaly_trained"], results[0]["forecaster_trained"]) == (1, 1)
    assert not results[0]["failed"]


def test_alerts_from_anomalies_and_forecasts(trained_workspace, ml_engine, alert_engine):
    """A score above 0.8 is a danger; a forecast above the critical limit is critical."""
    row = {"sensor_id": ["PT-1"], "timestamp": [NEWEST + timedelta(hours=1)], "value": [900.0]}
    trained_workspace.readings.ingest(pd.DataFrame(row))
    upper_critical_limit = 22.0

    for sensor_id in ("PT-1", "TT-1"):
        anomaly_result = ml_engine.detect_anomalies(sensor_id)
        if anomaly_result["is_anomaly"] and anomaly_result["anomaly_score"] > 0.8:
            alert_engine.create_alert(
                sensor_id=sensor_id,
                severity_level=3,
                alert_type="ANOMALY",
                notes=f"score {anomaly_result['anomaly_score']:.4f}",
            )
    forecast_data = ml_engine.forecast_sensor("TT-1", periods=24)
    highest = max(forecast_data["forecast"]["forecasted_values"])
    if highest > upper_critical_limit:
        alert_engine.create_alert(
            sensor_id="TT-1", severity_level=4, alert_type="FORECAST_WARNING", notes=f"reaches {highest:.2f}"
        )

    raised = alert_engine.get_active_alerts()
    assert [(alert.sensor_id, alert.severity_level, alert.alert_type) for alert in raised] == [
        ("TT-1", 4, "FORECAST_WARNING"),
        ("PT-1", 3, "ANOMALY"),
    ]


def test_the_example_of_the_documentation_runs_as_printed(trained_workspace, ml_engine, monkeypatch, capsys):
    text = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setattr("serving.engine.create_ml_engine", lambda: ml_engine)

    exec(compile(example, "docs/engine.md", "exec"), {})

    *_anomalies, ahead = capsys.readouterr().out.splitlines()
    assert ahead.split()[0] in {"rising", "falling", "stable"}
