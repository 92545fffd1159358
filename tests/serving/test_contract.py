"""Requests and answers: any mix of sensors, zones and kinds of rows, answered in the order of the request."""

import numpy as np
import pandas as pd
import pytest

from serving.batch import detect_fleet, forecast_fleet
from serving.contract import COLUMNS_IN, COLUMNS_OUT, EXAMPLE, SIGNATURE
from serving.predictions.store import PredictionStore
from training.kinds import Kind

NEXT = "2026-01-09T08:00:00Z"  # one hour after the last reading
LATER = "2026-01-09T09:00:00Z"


def test_signature_example_and_columns_agree():
    assert SIGNATURE.inputs.input_names() == list(COLUMNS_IN)
    assert SIGNATURE.outputs.input_names() == list(COLUMNS_OUT)
    assert all(list(row) == list(COLUMNS_IN) for row in EXAMPLE)


def test_a_row_with_a_value_is_scored(ask):
    [row] = ask(("PT-1", NEXT, 20.0))

    assert list(row) == list(COLUMNS_OUT)
    assert 0 <= row["anomaly_score"] <= 1
    assert row["is_anomaly"] is (row["anomaly_score"] >= row["threshold"])
    assert (row["detector_version"], row["forecaster_version"], row["error"]) == ("1", None, None)


def test_an_absurd_value_is_certain_and_has_a_reason(ask):
    [row] = ask(("PT-1", NEXT, 400.0))

    assert row["is_anomaly"]
    assert row["severity"] == "certain"
    assert "robust SDs" in row["reason"]


def test_a_row_without_a_value_is_forecast_at_its_time(ask):
    [row] = ask(("PT-1", NEXT, None))

    assert row["lower"] <= row["expected"] <= row["upper"]
    assert (row["detector_version"], row["forecaster_version"], row["error"]) == (None, "1", None)


def test_rows_come_back_in_the_order_of_the_request(ask):
    request = [
        ("TT-1", LATER, 21.0),
        ("PT-1", NEXT, None),
        ("TT-1", NEXT, 20.0),
        ("PT-1", "2026-01-05T00:00:00Z", 20.5),
    ]

    rows = ask(*request)

    assert [(row["sensor_id"], row["timestamp"], row["value"]) for row in rows] == request


def test_the_order_of_rows_does_not_matter(ask):
    request = [("PT-1", f"2026-01-09T{hour:02}:00:00Z", 20.0 + hour) for hour in range(8, 16)]

    forwards, backwards = ask(*request), ask(*reversed(request))

    assert forwards == backwards[::-1]


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-01-09T05:00:00-03:00",
        "2026-01-09T08:00:00+00:00",
        "2026-01-09 08:00",
        "2026-01-09T08:00:00.000",
        "2026-01-09T10:00:00+0200",
    ],
)
def test_the_same_time_in_any_zone_gives_the_same_answer(ask, stamp):
    [usual], [other] = ask(("PT-1", NEXT, 21.0)), ask(("PT-1", stamp, 21.0))

    assert other | {"timestamp": NEXT} == usual


def test_horizon_appends_the_next_steps_of_each_sensor(ask):
    rows = ask(("TT-1", NEXT, 20.0), ("PT-1", NEXT, 20.0), horizon=3)

    assert [row["sensor_id"] for row in rows] == ["TT-1", "PT-1", *["TT-1"] * 3, *["PT-1"] * 3]
    # The posted reading is the newest: the steps ahead start after it.
    assert [row["timestamp"] for row in rows[2:5]] == [f"2026-01-09T{hour:02}:00:00Z" for hour in (9, 10, 11)]
    assert all(row["lower"] <= row["expected"] <= row["upper"] for row in rows[2:])


def test_an_invalid_row_does_not_affect_the_others(ask):
    good = ("PT-1", NEXT, 20.0)

    rows = ask(("PT-1", "soon", 20.0), good, ("nobody", NEXT, 1.0), ("TT-1", NEXT, "warm"))

    assert rows[1] == ask(good)[0]
    assert "is invalid" in rows[0]["error"]
    assert "no detector champion" in rows[2]["error"]
    assert "is not a number" in rows[3]["error"]


def test_a_second_value_for_the_same_time_is_an_error(ask):
    rows = ask(("PT-1", NEXT, 20.0), ("PT-1", NEXT, 20.0), ("PT-1", NEXT, 99.0))

    assert rows[0] == rows[1]
    assert "contradicts row 0" in rows[2]["error"]


def test_a_score_uses_the_readings_stored_before_it(ask, trained_workspace):
    """Forty equal readings are a frozen sensor, which a single row cannot show."""
    times = pd.date_range("2026-01-09 08:00", periods=40, freq="h")
    trained_workspace.readings.ingest(
        pd.DataFrame({"sensor_id": "PT-1", "timestamp": times[:-1], "value": 20.0})
    )

    [row] = ask(("PT-1", f"{times[-1]:%Y-%m-%dT%H:%M}", 20.0))

    assert row["is_anomaly"]
    assert "has not changed" in row["reason"]


def test_posted_rows_are_placed_between_the_stored_ones(ask, trained_workspace):
    """Posting two readings of a stored period gives the same scores as posting all of it."""
    stored = trained_workspace.readings.latest("PT-1", 5)
    whole = [("PT-1", f"{row.timestamp:%Y-%m-%dT%H:%M}", row.value) for row in stored.itertuples()]

    all_five, first_and_last = ask(*whole), ask(whole[0], whole[-1])

    assert first_and_last == [all_five[0], all_five[-1]]


def test_batch_scoring_and_endpoint_give_the_same_score(ask, trained_workspace):
    detect_fleet(trained_workspace, trained_workspace.fleet.match(["PT-1"]))
    stored = PredictionStore(trained_workspace.engine).by_sensor("PT-1", Kind.DETECTOR.model_type).iloc[0]

    [row] = ask(("PT-1", f"{stored.timestamp:%Y-%m-%dT%H:%M}", stored.value))

    assert row["anomaly_score"] == pytest.approx(stored.anomaly_score, abs=1e-12)
    assert row["historical_average"] == pytest.approx(stored.historical_average)


def test_batch_and_endpoint_give_the_same_forecast(ask, trained_workspace):
    forecast_fleet(trained_workspace, trained_workspace.fleet.match(["PT-1"]), horizon=5)
    forecasts = PredictionStore(trained_workspace.engine).between(
        "PT-1", model_type=Kind.FORECASTER.model_type
    )
    stored = forecasts[forecasts["origin"] == forecasts["origin"].max()]

    rows = ask(("PT-1", NEXT, None), horizon=5)

    np.testing.assert_allclose([row["expected"] for row in rows[1:]], stored["predicted_value"])
    np.testing.assert_allclose(rows[0]["expected"], stored["predicted_value"].iloc[0])


def test_a_sensor_without_a_forecaster_gets_a_naive_forecast_under_its_name(ask):
    rows = ask(("NEW-1", NEXT, None), horizon=2)

    assert all(row["expected"] is not None for row in rows)
    assert {row["forecaster_version"] for row in rows} <= {"last value", "seasonal naive (daily)"}


def test_a_time_too_far_ahead_gets_an_error(ask):
    near, far = ask(("PT-1", NEXT, None), ("PT-1", "2096-01-01T00:00:00Z", None))

    assert "steps ahead" in far["error"]
    assert near["expected"] is not None
