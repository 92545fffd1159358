"""Accuracy of stored forecasts against later readings, and alarms against their budget."""

import numpy as np
import pandas as pd
import pytest

from monitoring.drift.accuracy import alarm_rate, forecast_accuracy
from monitoring.drift.compare_frames import to_readings
from tests.support.drift_series import hourly_series

STEP = 3600.0
ORIGIN = pd.Timestamp("2026-01-20")


@pytest.fixture
def series():
    return hourly_series(24)


def forecasts(series, *, error=0.0, steps=30, band=1.0):
    times = pd.date_range(ORIGIN, periods=steps + 1, freq="h")[1:]
    expected = series.reindex(times).to_numpy() + error
    return pd.DataFrame(
        {
            "timestamp": times,
            "origin": ORIGIN,
            "predicted_value": expected,
            "lower_bound": expected - band,
            "upper_bound": expected + band,
        }
    )


def accuracy(series, frame):
    window, actual = to_readings(series[:ORIGIN]), to_readings(series[ORIGIN:])
    return forecast_accuracy(frame, actual, window, step=STEP)


def test_the_mean_error_is_in_the_unit_of_the_readings(series):
    assert accuracy(series, forecasts(series, error=2.0))["mae"] == pytest.approx(2.0)


def test_mase_is_the_error_relative_to_the_change_over_a_day(series):
    values = series[:ORIGIN].to_numpy()
    daily = np.abs(values[24:] - values[:-24]).mean()

    assert accuracy(series, forecasts(series, error=2.0))["mase"] == pytest.approx(2.0 / daily)


def test_coverage_is_the_share_of_readings_inside_the_interval(series):
    frame = forecasts(series, steps=10)
    frame.loc[:3, "lower_bound"] = 1e6

    assert accuracy(series, frame)["coverage"] == pytest.approx(0.6)


def test_accuracy_is_reported_by_steps_ahead(series):
    result = accuracy(series, forecasts(series))["by_horizon"]

    assert {name: part["forecasts"] for name, part in result.items()} == {
        "1": 1,
        "2-6": 5,
        "7-24": 18,
        "25+": 6,
    }


def test_forecasts_of_times_without_a_reading_do_not_count(series):
    result = accuracy(series.drop(series.index[-60:-54]), forecasts(series, steps=90))

    assert result["forecasts"] < 90


def test_without_forecasts_there_is_no_accuracy(series):
    assert accuracy(series, forecasts(series)[:0]) == {"forecasts": 0}


def test_forecasts_of_the_future_do_not_count(series):
    frame = forecasts(series)
    frame["timestamp"] += pd.Timedelta(days=30)

    assert accuracy(series, frame) == {"forecasts": 0}


def test_alarms_are_episodes_a_day():
    times = pd.date_range("2026-01-01", periods=97, freq="h")
    anomalous = np.zeros(97, bool)
    anomalous[[10, 11, 12, 60]] = True

    result = alarm_rate(pd.DataFrame({"timestamp": times, "is_anomaly": anomalous}), budget=0.5)

    assert result == {"scored": 97, "alarms_per_day": pytest.approx(0.5), "alarm_budget_per_day": 0.5}


def test_a_single_score_gives_no_rate():
    frame = pd.DataFrame({"timestamp": [pd.Timestamp("2026-01-01")], "is_anomaly": [True]})

    assert "alarms_per_day" not in alarm_rate(frame, budget=1.0)
