"""Batch scoring and forecasting: new readings once, and one failing sensor does not affect the others."""

from datetime import timedelta

import pandas as pd
import pytest

from serving.batch import detect_fleet, forecast_fleet
from serving.predictions.store import PredictionStore
from tests.support.workspaces import ingest_readings, make_readings, parse_time
from training.data.sensor_store import add_missing_sensors, load_fleet
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.reasons import load_reasons, render_all

TRAINED_UNTIL = parse_time("2026-01-09T07:00")  # 200 hours from the first of January


@pytest.fixture
def trained_workspace(workspace, plan, training_stub):
    """PT-1 with champions; NEW with readings only; EMPTY with nothing."""
    ingest_readings(workspace, "PT-1")
    train_fleet(workspace, load_fleet(workspace.engine).match(), list(Kind), plan, jobs=1)
    ingest_readings(workspace, "NEW", 30)
    add_missing_sensors(workspace.engine, ["EMPTY"])
    return workspace


def detect(workspace, *names, **how):
    return {o.sensor_id: o for o in detect_fleet(workspace, load_fleet(workspace.engine).match(names), **how)}


def forecast(workspace, *names, **how):
    return {
        o.sensor_id: o for o in forecast_fleet(workspace, load_fleet(workspace.engine).match(names), **how)
    }


def stored(workspace, sensor="PT-1", kind=Kind.DETECTOR):
    return PredictionStore(workspace.engine).between(sensor, model_type=kind.model_type)


def test_without_new_readings_since_training_the_newest_one_is_scored(trained_workspace):
    outcome = detect(trained_workspace, "PT-1")["PT-1"]

    assert (outcome.status, outcome.metrics["readings"]) == ("scored", 1)
    assert stored(trained_workspace)["timestamp"].tolist() == [TRAINED_UNTIL]


def test_readings_since_the_last_score_are_scored_once(trained_workspace):
    ingest_readings(trained_workspace, "PT-1", 205)

    first = detect(trained_workspace, "PT-1")["PT-1"]
    again = detect(trained_workspace, "PT-1")["PT-1"]
    ingest_readings(trained_workspace, "PT-1", 206)
    more = detect(trained_workspace, "PT-1")["PT-1"]

    assert [o.metrics.get("readings") for o in (first, again, more)] == [5, None, 1]
    assert again.status == "nothing new"
    assert len(stored(trained_workspace)) == 6


def test_scoring_the_past_again_changes_nothing(trained_workspace):
    since = TRAINED_UNTIL - timedelta(hours=49)

    detect(trained_workspace, "PT-1", since=since)
    before = stored(trained_workspace)
    outcome = detect(trained_workspace, "PT-1", since=since)["PT-1"]

    assert outcome.metrics["readings"] == len(before) == 50
    assert stored(trained_workspace).drop(columns="made_at").equals(before.drop(columns="made_at"))


def test_a_score_is_the_same_alone_or_in_a_batch(trained_workspace):
    """Both use the same history."""
    ingest_readings(trained_workspace, "PT-1", 203)
    detect(trained_workspace, "PT-1", since=TRAINED_UNTIL - timedelta(days=2))
    batch = stored(trained_workspace).set_index("timestamp")["anomaly_score"]

    alone = detect(trained_workspace, "PT-1", since=parse_time("2026-01-09T10:00"))["PT-1"]

    assert alone.metrics["readings"] == 1
    assert alone.metrics["score"] == pytest.approx(batch.iloc[-1], abs=1e-9)


def test_an_absurd_reading_is_an_anomaly_with_a_reason(trained_workspace):
    ingest_readings(trained_workspace, "PT-1", 201)
    trained_workspace.readings.ingest(row_of("PT-1", parse_time("2026-01-09T09:00"), 900.0))

    outcome = detect(trained_workspace, "PT-1")["PT-1"]

    assert outcome.metrics["anomalies"] >= 1
    assert outcome.detail["is_anomaly"]
    assert outcome.detail["value"] == 900.0
    assert outcome.detail["reason"]
    assert outcome.metrics["max_score"] > 0.9


def test_the_reason_of_a_score_is_stored_as_text_and_as_data(trained_workspace):
    ingest_readings(trained_workspace, "PT-1", 201)
    trained_workspace.readings.ingest(row_of("PT-1", parse_time("2026-01-09T09:00"), 900.0))

    detect(trained_workspace, "PT-1")

    newest = stored(trained_workspace).iloc[-1]
    assert newest["reason"]
    assert render_all(load_reasons(newest["reason_data"])) == newest["reason"]


def row_of(sensor_id, timestamp, value, data_quality=0):
    return pd.DataFrame(
        {"sensor_id": [sensor_id], "timestamp": [timestamp], "value": [value], "data_quality": [data_quality]}
    )


def test_a_reading_marked_bad_is_not_scored(trained_workspace):
    trained_workspace.readings.ingest(row_of("PT-1", parse_time("2026-01-09T08:00"), 900.0, data_quality=1))

    outcome = detect(trained_workspace, "PT-1")["PT-1"]

    assert outcome.detail["timestamp"] == TRAINED_UNTIL
    assert 900.0 not in stored(trained_workspace)["value"].tolist()


def test_sensors_without_a_model_or_readings_do_not_affect_the_others(trained_workspace):
    outcomes = detect(trained_workspace)

    assert {name: o.status for name, o in outcomes.items()} == {
        "PT-1": "scored",
        "NEW": "failed",
        "EMPTY": "failed",
    }
    assert "safeplan train 'NEW' --kind detector" in outcomes["NEW"].error


def test_an_unexpected_error_becomes_the_outcome_of_its_sensor(trained_workspace, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(PredictionStore, "save_scores", broken)

    outcome = detect(trained_workspace, "PT-1")["PT-1"]

    assert outcome.failed
    assert outcome.error == "ZeroDivisionError: oops"


def test_a_forecast_starts_after_the_newest_reading_not_after_training(trained_workspace):
    ingest_readings(trained_workspace, "PT-1", 210)

    outcome = forecast(trained_workspace, "PT-1", horizon=6)["PT-1"]

    rows = stored(trained_workspace, kind=Kind.FORECASTER)
    assert (outcome.status, outcome.version, outcome.metrics["steps"]) == ("forecast", 1, 6)
    assert outcome.detail["from"] == parse_time("2026-01-09T18:00")
    assert rows["timestamp"].tolist() == [parse_time(f"2026-01-09T{hour}:00") for hour in range(18, 24)]
    assert set(rows["origin"]) == {parse_time("2026-01-09T17:00")}
    assert (rows["lower_bound"] <= rows["predicted_value"]).all()


def test_forecasting_again_from_the_same_origin_stores_one_forecast(trained_workspace):
    forecast(trained_workspace, "PT-1")
    forecast(trained_workspace, "PT-1")

    assert len(stored(trained_workspace, kind=Kind.FORECASTER)) == 24


def test_a_sensor_without_a_forecaster_gets_the_naive_forecast_under_its_name(trained_workspace):
    outcome = forecast(trained_workspace, "NEW")["NEW"]

    assert (outcome.status, outcome.model, outcome.version, outcome.alias) == (
        "naive forecast",
        None,
        None,
        None,
    )
    assert outcome.detail["method"] != "prophet"
    assert set(stored(trained_workspace, "NEW", Kind.FORECASTER)["model_version"]) == {
        outcome.detail["method"]
    }


def test_a_sensor_without_a_reading_cannot_be_forecast(trained_workspace):
    assert "safeplan load" in forecast(trained_workspace, "EMPTY")["EMPTY"].error


def test_the_callback_receives_every_outcome(trained_workspace):
    seen = []

    outcomes = detect(trained_workspace, watch=seen.append)

    assert {o.sensor_id for o in seen} == set(outcomes)


def test_a_late_reading_is_scored_at_its_time(trained_workspace):
    """One hour's reading arrives after two newer ones were scored."""
    newest = make_readings("PT-1", 204).tail(4)
    trained_workspace.readings.ingest(newest.drop(newest.index[1]))
    detect(trained_workspace, "PT-1")
    trained_workspace.readings.ingest(newest)

    late = detect(trained_workspace, "PT-1")["PT-1"]
    again = detect(trained_workspace, "PT-1")["PT-1"]

    assert (late.status, late.metrics["readings"], again.status) == ("scored", 1, "nothing new")
    assert stored(trained_workspace)["timestamp"].tolist() == [
        TRAINED_UNTIL + timedelta(hours=h) for h in (1, 2, 3, 4)
    ]


def test_readings_before_a_newer_score_of_the_endpoint_are_scored(trained_workspace):
    ingest_readings(trained_workspace, "PT-1", 203)
    posted = {
        "sensor_id": "PT-1",
        "timestamp": parse_time("2026-01-09T11:00"),
        "value": 20.0,
        "anomaly_score": 0.1,
    }
    PredictionStore(trained_workspace.engine).save_scores(
        pd.DataFrame([posted]), made_at=parse_time("2026-01-09T11:00")
    )

    outcome = detect(trained_workspace, "PT-1")["PT-1"]

    assert outcome.metrics["readings"] == 3
    assert stored(trained_workspace)["timestamp"].tolist() == [
        TRAINED_UNTIL + timedelta(hours=h) for h in (1, 2, 3, 4)
    ]


def test_the_scores_of_many_sensors_are_stored_by_one_write(trained_workspace, monkeypatch):
    """A write costs more than a score: a fleet that is scored each minute would spend its time on writes."""
    writes = []
    save = PredictionStore.save_scores
    monkeypatch.setattr(
        PredictionStore,
        "save_scores",
        lambda store, scores, **more: writes.append(len(scores)) or save(store, scores, **more),
    )
    sensors = load_fleet(trained_workspace.engine).match(["PT-1"]) * 3

    outcomes = detect_fleet(trained_workspace, sensors)

    assert [outcome.status for outcome in outcomes] == ["scored"] * 3
    assert len(writes) == 1
