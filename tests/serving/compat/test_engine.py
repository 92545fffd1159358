"""The original's Python API: its methods, their results, and that nothing stored is lost."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import yaml

from serving.compat.engine import MLEngine, create_ml_engine
from serving.compat.sensor_manager import create_sensor_manager
from serving.predictions.store import PredictionStore
from tests.support.workspaces import ingest_readings, parse_time, with_lenient_gate
from training.errors import DataError, UnknownSensor
from training.kinds import Kind
from training.operations.promotion import roll_back
from training.pipeline.plan import Plan

NEWEST = parse_time("2026-01-09T07:00")  # 200 hours from the first of January
NOW = datetime(2026, 1, 9, 8, tzinfo=UTC)


@pytest.fixture
def engine(trained_workspace):
    """PT-1 and TT-1 with champions, NEW-1 with readings only."""
    return MLEngine(
        trained_workspace, plan=lambda: with_lenient_gate(Plan.from_conf(trials=2)), clock=lambda: NOW
    )


@pytest.fixture
def new_engine(workspace, training_stub):
    """An installation without any model."""
    return MLEngine(workspace, plan=lambda: with_lenient_gate(Plan.from_conf(trials=2)), clock=lambda: NOW)


def add_reading(workspace, sensor_id="PT-1", value=900.0, when=NEWEST + timedelta(hours=1), quality=0):
    row = {"sensor_id": [sensor_id], "timestamp": [when], "value": [value], "data_quality": [quality]}
    workspace.readings.ingest(pd.DataFrame(row))


def test_the_history_is_two_lists_counted_back_from_the_newest_reading(engine):
    times, values = engine.get_sensor_history("PT-1", hours=24)

    assert (times[0], times[-1], len(times), len(values)) == (NEWEST - timedelta(hours=24), NEWEST, 25, 25)
    assert all(isinstance(value, float) for value in values)


def test_a_history_excludes_readings_marked_bad(engine):
    add_reading(engine.workspace, quality=1)

    assert 900.0 not in engine.get_sensor_history("PT-1", hours=5)[1]


def test_an_unknown_sensor_has_an_empty_history(engine):
    assert engine.get_sensor_history("PT-9") == ([], [])


def test_a_detection_has_the_fields_of_the_original(engine):
    result = engine.detect_anomalies("PT-1")

    assert {
        "is_anomaly",
        "anomaly_score",
        "value",
        "historical_average",
        "historical_std",
        "timestamp",
    } <= set(result)
    assert result["timestamp"] == NEWEST
    assert result["is_anomaly"] is False
    assert 0 <= result["anomaly_score"] <= 1
    assert result["historical_average"] == pytest.approx(20, abs=6)
    assert result["historical_std"] > 0
    assert result["recent_trend"] in {"increasing", "decreasing"}


def test_an_absurd_reading_is_an_anomaly_with_a_reason(engine):
    add_reading(engine.workspace)

    result = engine.detect_anomalies("PT-1")

    assert result["is_anomaly"]
    assert result["value"] == 900.0
    assert result["reason"]
    assert result["recent_trend"] == "increasing"


def test_detecting_again_returns_the_same_result(engine):
    first = engine.detect_anomalies("PT-1")

    assert engine.detect_anomalies("PT-1") == first


def test_detecting_scores_every_reading_since_the_last_score(engine):
    engine.detect_anomalies("PT-1")
    ingest_readings(engine.workspace, "PT-1", 205)

    engine.detect_anomalies("PT-1")

    assert len(PredictionStore(engine.workspace.engine).by_sensor("PT-1", "ANOMALY_DETECTOR")) == 6


def test_integer_ids_are_accepted(new_engine):
    ingest_readings(new_engine.workspace, "7")

    assert new_engine.train_anomaly_detector(7)
    assert new_engine.detect_anomalies(7)["sensor_id"] == "7"
    assert new_engine.forecast_sensor(7, periods=3)["forecast"]["forecasted_values"]


def test_a_sensor_without_a_detector_is_trained_first(new_engine):
    ingest_readings(new_engine.workspace, "PT-1")

    result = new_engine.detect_anomalies("PT-1")

    assert result["model_version"] == 1
    assert new_engine.workspace.registry.champion("PT-1", Kind.DETECTOR).number == 1


def test_a_failed_call_returns_an_error_instead_of_raising(new_engine):
    ingest_readings(new_engine.workspace, "PT-1", 12)

    assert "12 good readings" in new_engine.detect_anomalies("PT-1")["error"]
    assert "There is no sensor" in new_engine.detect_anomalies("PT-9")["error"]
    assert "There is no sensor" in new_engine.forecast_sensor("PT-9")["error"]
    assert not new_engine.train_anomaly_detector("PT-1")
    assert not new_engine.train_forecaster("PT-1")
    assert not new_engine.train_forecaster("PT-9")


def test_a_detector_is_trained_from_the_requested_hours(new_engine, training_stub):
    ingest_readings(new_engine.workspace, "PT-1")

    assert new_engine.train_anomaly_detector("PT-1", hours=48, contamination=0.05)

    [task] = training_stub.tasks
    assert task.plan.window.detector_days == 2
    assert task.plan.detector.contamination == 0.05
    assert task.readings["timestamp"].min() == NEWEST - timedelta(hours=48)


def test_contamination_reaches_the_registered_detector(workspace):
    """Trained for real and read back from the run."""
    ingest_readings(workspace, "PT-1", 60)
    engine = MLEngine(workspace, plan=lambda: with_lenient_gate(Plan.from_conf(trials=1)))

    assert engine.train_anomaly_detector("PT-1", contamination=0.02)

    version = workspace.registry.champion("PT-1", Kind.DETECTOR)
    params = workspace.mlflow.get_run(version.run_id).data.params
    assert params["contamination"] == "0.02"


def test_an_invalid_contamination_is_refused_without_training(new_engine, training_stub):
    ingest_readings(new_engine.workspace, "PT-1")

    with pytest.raises(ValueError, match="contamination"):
        new_engine.train_anomaly_detector("PT-1", contamination=2)
    assert not training_stub.tasks


def test_a_forecast_has_the_fields_of_the_original(engine):
    result = engine.forecast_sensor("PT-1", periods=6)

    lists = result["forecast"]
    assert set(lists) == {"timestamps", "forecasted_values", "lower_bound", "upper_bound", "trend"}
    assert {len(values) for values in lists.values()} == {6}
    assert lists["timestamps"][0] == NEWEST + timedelta(hours=1)
    assert all(
        low <= value <= high
        for low, value, high in zip(
            lists["lower_bound"], lists["forecasted_values"], lists["upper_bound"], strict=True
        )
    )
    assert result["metrics"]["mape"] > 0
    assert result["metrics"]["rmse"] >= result["metrics"]["mae"] > 0
    summary = result["summary"]
    assert summary["trend_direction"] in {"rising", "falling", "stable"}
    assert summary["min_forecast"] <= summary["average_forecast"] <= summary["max_forecast"]
    assert summary["volatility"] > 0


def test_a_forecast_stores_nothing(engine):
    engine.forecast_sensor("PT-1")

    assert engine.get_predictions("PT-1") == []


def test_a_forecaster_refused_by_the_gate_is_replaced_by_the_naive_forecast(new_engine, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_SKILL", "0.999")
    new_engine.plan = lambda: Plan.from_conf(trials=2)
    ingest_readings(new_engine.workspace, "PT-1")

    result = new_engine.forecast_sensor("PT-1", periods=4)

    assert result["model_version"] == result["summary"]["method"]
    assert "naive" in result["model_version"] or result["model_version"] == "last value"
    assert result["metrics"]["mape"] is None
    assert result["forecast"]["trend"] == result["forecast"]["forecasted_values"]


def test_a_promotion_by_another_process_takes_effect(engine):
    clock = [NOW]
    engine.clock = lambda: clock[0]
    assert engine.detect_anomalies("PT-1")["model_version"] == 1

    roll_back(engine.workspace, engine.workspace.fleet.sensor("PT-1"), Kind.DETECTOR)
    clock[0] = datetime.now(UTC) + timedelta(minutes=1)

    assert engine.detect_anomalies("PT-1")["model_version"] == 2


def test_a_saved_prediction_comes_back(engine):
    number = engine.save_prediction(
        sensor_id="PT-1",
        model_type="FORECASTER",
        prediction_timestamp=NEWEST + timedelta(hours=3),
        forecasted_value=21.5,
        confidence_low=20.0,
        confidence_high=23.0,
    )

    [stored] = engine.get_predictions("PT-1", "FORECASTER", limit=10)
    assert stored["prediction_id"] == number
    assert stored["timestamp"] == NEWEST + timedelta(hours=3)
    assert (stored["forecasted_value"], stored["confidence_low"], stored["confidence_high"]) == (
        21.5,
        20.0,
        23.0,
    )
    assert (stored["anomaly_score"], stored["is_anomaly"]) == (None, None)
    assert stored["created_at"] == NOW.replace(tzinfo=None)


def test_saving_a_detection_again_stores_it_once(engine):
    """The original's scripts detect and then save; here detecting has saved the result already."""
    add_reading(engine.workspace)
    result = engine.detect_anomalies("PT-1")

    for _ in range(2):
        engine.save_prediction(
            "PT-1",
            "ANOMALY_DETECTOR",
            result["timestamp"],
            anomaly_score=result["anomaly_score"],
            is_anomaly=True,
        )

    [stored] = engine.records.anomalies("PT-1")
    assert stored["reason"] == result["reason"]
    assert stored["anomaly_score"] == result["anomaly_score"]


def test_an_unknown_model_type_is_refused(engine):
    with pytest.raises(DataError, match="FORECASTER"):
        engine.save_prediction("PT-1", "ORACLE", NEWEST)


def test_retraining_returns_counts_and_the_failed_models(new_engine, training_stub):
    ingest_readings(new_engine.workspace, "PT-1")
    ingest_readings(new_engine.workspace, "NEW-1", 35)

    result = new_engine.retrain_all_models()

    assert (result["anomaly_trained"], result["forecaster_trained"], result["total_sensors"]) == (2, 1, 2)
    assert result["timestamp"] == NOW.replace(tzinfo=None)
    assert any(line.startswith("NEW-1 forecaster: ") for line in result["failed"])


def test_retraining_an_empty_installation_returns_an_error(new_engine):
    assert "no sensors yet" in new_engine.retrain_all_models()["error"]


def test_the_status_counts_the_served_sensors(engine):
    status = engine.get_ml_status()

    assert (status["anomaly_detectors_trained"], status["forecasters_trained"]) == (2, 2)
    assert status["total_sensors"] == 3
    assert status["coverage_anomaly"] == "66.7%"


def test_the_status_of_an_empty_installation_is_zero(new_engine):
    assert new_engine.get_ml_status()["coverage_forecaster"] == "0%"


def test_predictions_are_found_by_sensor_time_and_kind(engine):
    add_reading(engine.workspace)
    engine.detect_anomalies("PT-1")
    engine.save_prediction("PT-1", "FORECASTER", NEWEST - timedelta(days=3), 1.0)
    engine.save_prediction("PT-1", "FORECASTER", NEWEST, 2.0)
    records = engine.records

    assert len(engine.get_predictions("PT-1", None)) == 3
    assert [row["forecasted_value"] for row in engine.get_predictions("PT-1")] == [2.0, 1.0]
    assert [row["forecasted_value"] for row in records.recent_predictions("PT-1", "FORECASTER")] == [2.0]
    assert records.latest_prediction("PT-1", "ANOMALY_DETECTOR")["is_anomaly"] is True
    assert records.latest_prediction("TT-1", "ANOMALY_DETECTOR") is None
    assert len(records.anomalies()) == 1
    assert records.prediction_statistics("PT-1") == {
        "sensor_id": "PT-1",
        "total_forecasts": 2,
        "total_anomalies": 1,
        "recent_anomalies_24h": 1,
    }


def test_old_predictions_are_deleted(engine):
    engine.save_prediction("PT-1", "FORECASTER", NEWEST - timedelta(days=40), 1.0)
    engine.save_prediction("PT-1", "FORECASTER", NEWEST, 2.0)

    assert engine.records.delete_old_predictions(days=30) == 1
    assert [row["forecasted_value"] for row in engine.get_predictions("PT-1")] == [2.0]


def test_readings_have_statistics_and_are_found_by_quality(engine):
    add_reading(engine.workspace, quality=1)
    records = engine.records

    assert len(records.readings("PT-1", 10)) == 10
    assert len(records.readings("PT-1", 10, quality=None)) == 11
    assert records.readings("PT-1", 10, quality=1)["value"].tolist() == [900.0]
    statistics = records.reading_statistics("PT-1", 10)
    assert (statistics["total_readings"], statistics["bad_readings"]) == (10, 1)
    assert statistics["min_value"] <= statistics["mean_value"] <= statistics["max_value"] < 900
    assert statistics["last_timestamp"] == NEWEST
    assert "no good readings" in records.reading_statistics("PT-9")["error"]


def test_trainable_sensors_have_enough_good_readings(new_engine):
    ingest_readings(new_engine.workspace, "PT-1")
    ingest_readings(new_engine.workspace, "FEW-1", 35)
    ingest_readings(new_engine.workspace, "NEW-1", 5)
    records = new_engine.records

    assert [sensor.id for sensor in records.trainable_sensors()] == ["PT-1"]
    assert {sensor.id for sensor in records.trainable_sensors(Kind.DETECTOR)} == {"PT-1", "FEW-1"}


def test_engine_and_manager_use_this_installation(trained_workspace):
    engine, manager = create_ml_engine(), create_sensor_manager()

    try:
        assert engine.get_ml_status()["total_sensors"] == 3
        assert [sensor.sensor_id for sensor in manager.get_enabled_sensors()] == ["NEW-1", "PT-1", "TT-1"]
        assert manager.get_sensor("PT-1").display_name == "PT-1"
        with pytest.raises(UnknownSensor):
            manager.get_sensor("PT-9")
    finally:
        engine.workspace.engine.dispose()
        manager.workspace.engine.dispose()


def test_the_manager_returns_names_limits_and_enabled_sensors(trained_workspace, tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    described = {
        "PT-1": {"name": "Wellhead", "platform": "P-48", "critical_high": 310},
        "TT-1": {"enabled": False},
    }
    (tmp_path / "conf" / "sensors.yaml").write_text(yaml.safe_dump({"sensors": described}))
    monkeypatch.setenv("SAFEPLAN_CONF", str(tmp_path / "conf"))
    manager = create_sensor_manager()

    try:
        wellhead = manager.get_sensor("PT-1")
        assert (wellhead.display_name, wellhead.platform, wellhead.upper_critical_limit) == (
            "Wellhead",
            "P-48",
            310,
        )
        assert "TT-1" not in {sensor.sensor_id for sensor in manager.get_enabled_sensors()}
    finally:
        manager.workspace.engine.dispose()
