"""Scoring and forecasting what is stored: once, since the last time, and one bad sensor costs no other."""

from datetime import timedelta

import pandas as pd
import pytest

from serving.batch import detect_fleet, forecast_fleet
from serving.predictions.store import PredictionStore
from tests.plant import at, readings, send
from training.data.sensor_sources import add_missing
from training.data.sensors import Fleet
from training.kinds import Kind
from training.pipeline.fleet import train_fleet

TRAINED_UNTIL = at("2026-01-09T07:00")  # 200 hours from the first of January


@pytest.fixture
def plant(workspace, plan, learning):
    """PT-1 with champions; NEW with readings only; EMPTY with nothing."""
    send(workspace, "PT-1")
    train_fleet(workspace, Fleet.of(workspace.engine).match(), list(Kind), plan, jobs=1)
    send(workspace, "NEW", 30)
    add_missing(workspace.engine, ["EMPTY"])
    return workspace


def detect(plant, *names, **how):
    return {o.sensor_id: o for o in detect_fleet(plant, Fleet.of(plant.engine).match(names), **how)}


def forecast(plant, *names, **how):
    return {o.sensor_id: o for o in forecast_fleet(plant, Fleet.of(plant.engine).match(names), **how)}


def kept(plant, sensor="PT-1", kind=Kind.DETECTOR):
    return PredictionStore(plant.engine).between(sensor, model_type=kind.model_type)


def test_the_newest_reading_is_scored_even_where_nothing_came_since_training(plant):
    outcome = detect(plant, "PT-1")["PT-1"]

    assert (outcome.status, outcome.metrics["readings"]) == ("scored", 1)
    assert kept(plant)["timestamp"].tolist() == [TRAINED_UNTIL]


def test_what_came_since_the_last_scoring_is_scored_and_nothing_twice(plant):
    send(plant, "PT-1", 205)

    first = detect(plant, "PT-1")["PT-1"]
    again = detect(plant, "PT-1")["PT-1"]
    send(plant, "PT-1", 206)
    more = detect(plant, "PT-1")["PT-1"]

    assert [o.metrics.get("readings") for o in (first, again, more)] == [5, None, 1]
    assert again.status == "nothing new"
    assert len(kept(plant)) == 6


def test_scoring_the_past_again_changes_nothing(plant):
    since = TRAINED_UNTIL - timedelta(hours=49)

    detect(plant, "PT-1", since=since)
    before = kept(plant)
    outcome = detect(plant, "PT-1", since=since)["PT-1"]

    assert outcome.metrics["readings"] == len(before) == 50
    assert kept(plant).drop(columns="made_at").equals(before.drop(columns="made_at"))


def test_a_score_is_the_same_alone_or_in_a_batch(plant):
    """Both look back on the same past."""
    send(plant, "PT-1", 203)
    detect(plant, "PT-1", since=TRAINED_UNTIL - timedelta(days=2))
    batch = kept(plant).set_index("timestamp")["anomaly_score"]

    alone = detect(plant, "PT-1", since=at("2026-01-09T10:00"))["PT-1"]

    assert alone.metrics["readings"] == 1
    assert alone.metrics["score"] == pytest.approx(batch.iloc[-1], abs=1e-9)


def test_an_absurd_reading_is_an_anomaly_with_a_reason(plant):
    send(plant, "PT-1", 201)
    plant.readings.ingest(row_of("PT-1", at("2026-01-09T09:00"), 900.0))

    outcome = detect(plant, "PT-1")["PT-1"]

    assert outcome.metrics["anomalies"] >= 1
    assert outcome.detail["is_anomaly"]
    assert outcome.detail["value"] == 900.0
    assert outcome.detail["reason"]
    assert outcome.metrics["max_score"] > 0.9


def row_of(sensor_id, timestamp, value, data_quality=0):
    return pd.DataFrame(
        {"sensor_id": [sensor_id], "timestamp": [timestamp], "value": [value], "data_quality": [data_quality]}
    )


def test_a_reading_marked_bad_is_not_scored(plant):
    plant.readings.ingest(row_of("PT-1", at("2026-01-09T08:00"), 900.0, data_quality=1))

    outcome = detect(plant, "PT-1")["PT-1"]

    assert outcome.detail["timestamp"] == TRAINED_UNTIL
    assert 900.0 not in kept(plant)["value"].tolist()


def test_one_sensor_without_a_model_or_a_reading_costs_no_other(plant):
    outcomes = detect(plant)

    assert {name: o.status for name, o in outcomes.items()} == {
        "PT-1": "scored",
        "NEW": "failed",
        "EMPTY": "failed",
    }
    assert "safeplan train 'NEW' --kind detector" in outcomes["NEW"].error


def test_whatever_one_sensor_raises_is_its_outcome(plant, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(PredictionStore, "save_scores", broken)

    outcome = detect(plant, "PT-1")["PT-1"]

    assert outcome.failed
    assert outcome.error == "ZeroDivisionError: oops"


def test_a_forecast_starts_after_the_newest_reading_not_after_training(plant):
    send(plant, "PT-1", 210)

    outcome = forecast(plant, "PT-1", horizon=6)["PT-1"]

    rows = kept(plant, kind=Kind.FORECASTER)
    assert (outcome.status, outcome.version, outcome.metrics["steps"]) == ("forecast", 1, 6)
    assert outcome.detail["from"] == at("2026-01-09T18:00")
    assert rows["timestamp"].tolist() == [at(f"2026-01-09T{hour}:00") for hour in range(18, 24)]
    assert set(rows["origin"]) == {at("2026-01-09T17:00")}
    assert (rows["lower_bound"] <= rows["predicted_value"]).all()


def test_forecasting_again_from_the_same_origin_keeps_one_forecast(plant):
    forecast(plant, "PT-1")
    forecast(plant, "PT-1")

    assert len(kept(plant, kind=Kind.FORECASTER)) == 24


def test_a_sensor_without_a_forecaster_gets_the_naive_forecast_under_that_name(plant):
    outcome = forecast(plant, "NEW")["NEW"]

    assert (outcome.status, outcome.model, outcome.version, outcome.alias) == (
        "naive forecast",
        None,
        None,
        None,
    )
    assert outcome.detail["method"] != "prophet"
    assert set(kept(plant, "NEW", Kind.FORECASTER)["model_version"]) == {outcome.detail["method"]}


def test_a_sensor_without_a_reading_cannot_be_forecast(plant):
    assert "safeplan load" in forecast(plant, "EMPTY")["EMPTY"].error


def test_the_watcher_sees_every_outcome(plant):
    seen = []

    outcomes = detect(plant, watch=seen.append)

    assert {o.sensor_id for o in seen} == set(outcomes)


def test_a_reading_that_came_late_is_scored_in_its_place(plant):
    """A clock's network was away: one hour's reading arrives after two newer ones were scored."""
    newest = readings("PT-1", 204).tail(4)
    plant.readings.ingest(newest.drop(newest.index[1]))
    detect(plant, "PT-1")
    plant.readings.ingest(newest)

    late = detect(plant, "PT-1")["PT-1"]
    again = detect(plant, "PT-1")["PT-1"]

    assert (late.status, late.metrics["readings"], again.status) == ("scored", 1, "nothing new")
    assert kept(plant)["timestamp"].tolist() == [TRAINED_UNTIL + timedelta(hours=h) for h in (1, 2, 3, 4)]


def test_readings_that_a_kept_score_of_the_endpoint_overtook_are_scored(plant):
    send(plant, "PT-1", 203)
    posted = {"sensor_id": "PT-1", "timestamp": at("2026-01-09T11:00"), "value": 20.0, "anomaly_score": 0.1}
    PredictionStore(plant.engine).save_scores(pd.DataFrame([posted]), made_at=at("2026-01-09T11:00"))

    outcome = detect(plant, "PT-1")["PT-1"]

    assert outcome.metrics["readings"] == 3
    assert kept(plant)["timestamp"].tolist() == [TRAINED_UNTIL + timedelta(hours=h) for h in (1, 2, 3, 4)]
