"""Served forecasts stay inside the instrument's range, and one that fails does not affect other sensors."""

import numpy as np
import pytest
from sqlalchemy import update

from serving.batch import forecast_fleet
from serving.contract import PredictionRequest
from serving.predictions.store import PredictionStore
from training.errors import NoChampion
from training.kinds import Kind
from training.storage.database import sensors, writing

NEXT = "2026-01-09T08:00:00Z"
LOW, HIGH = 18.0, 21.0  # the readings go from 14 to 26


@pytest.fixture
def narrow_range_service(trained_workspace, service):
    """PT-1's instrument range is narrower than its readings."""
    with writing(trained_workspace.engine) as connection:
        connection.execute(update(sensors).where(sensors.c.id == "PT-1").values(low=LOW, high=HIGH))
    vars(trained_workspace).pop("fleet", None)
    service.sensor_cache.refresh()
    return service


def band(service, horizon, *stamps):
    rows = service.scorer.answer(
        PredictionRequest(["PT-1"] * len(stamps), stamps, [None] * len(stamps), horizon)
    ).records()
    assert all(row["error"] is None for row in rows)
    return np.array([[row[name] for name in ("lower", "expected", "upper")] for row in rows])


def test_forecasts_of_a_sensor_without_a_range_are_not_clipped(service):
    result = band(service, 24, NEXT)

    assert result.min() < LOW
    assert result.max() > HIGH


@pytest.mark.parametrize("stamp", [NEXT, "2026-01-09T08:30:00Z", "2026-01-05T08:00:00Z"])
def test_a_forecast_and_its_interval_are_clipped_to_the_range(narrow_range_service, stamp):
    result = band(narrow_range_service, 24, stamp)

    assert result.min() == LOW
    assert result.max() == HIGH
    assert (np.diff(result, axis=1) >= 0).all()


def test_a_naive_forecast_is_clipped_to_the_range(narrow_range_service, monkeypatch):
    monkeypatch.setattr(narrow_range_service.scorer.champions, "forecaster", missing)

    result = band(narrow_range_service, 24, NEXT)

    assert result.min() >= LOW
    assert result.max() <= HIGH


def missing(sensor_id):
    raise NoChampion(sensor_id)


def test_batch_forecasts_are_clipped_to_the_range(narrow_range_service, trained_workspace):
    forecast_fleet(trained_workspace, trained_workspace.fleet.match(["PT-1"]), horizon=24)

    forecasts = PredictionStore(trained_workspace.engine).between(
        "PT-1", model_type=Kind.FORECASTER.model_type
    )
    stored = forecasts[forecasts["origin"] == forecasts["origin"].max()]

    assert stored["lower_bound"].min() == LOW
    assert stored["upper_bound"].max() == HIGH


def test_a_changed_range_takes_effect_at_once(service, trained_workspace):
    """The cached path of the last answer is not reused for another range."""
    assert band(service, 24, NEXT).max() > HIGH
    with writing(trained_workspace.engine) as connection:
        connection.execute(update(sensors).where(sensors.c.id == "PT-1").values(high=HIGH))
    service.sensor_cache.refresh()

    assert band(service, 24, NEXT).max() == HIGH


def test_a_failing_forecast_does_not_affect_other_sensors(service, monkeypatch, caplog):
    usual = service.scorer.forecasts.of

    def fail_for_one(sensor_id, *about, **more):
        if sensor_id == "PT-1":
            raise ZeroDivisionError("our own fault")
        return usual(sensor_id, *about, **more)

    monkeypatch.setattr(service.scorer.forecasts, "of", fail_for_one)
    rows = service.scorer.answer(PredictionRequest(["PT-1", "TT-1"], [NEXT] * 2, [None] * 2, 2)).records()

    assert [row["sensor_id"] for row in rows] == ["PT-1", "TT-1", "PT-1", "TT-1", "TT-1"]
    assert all("ZeroDivisionError" in rows[place]["error"] for place in (0, 2))
    assert all(rows[place]["expected"] is not None for place in (1, 3, 4))
    assert "our own fault" in caplog.text
