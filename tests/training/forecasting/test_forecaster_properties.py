"""Properties that every forecaster has, whatever its structures."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.forecasting.forecaster import Forecaster
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.structures import Structure

HOURS = 15 * 24
TIMES = pd.date_range("2026-03-01", periods=HOURS, freq="h")
NUMBERS = ["forecasted_values", "lower_bound", "upper_bound", "trend"]

MAKERS = [
    Forecaster,
    lambda: Forecaster(ForecasterParameters((Structure(growth="linear"),))),
    lambda: Forecaster(ForecasterParameters((Structure(lags=0),))),
    lambda: Forecaster(
        ForecasterParameters((Structure(halvings=2), Structure(), Structure(growth="linear")))
    ),
]

law = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
every_forecaster = pytest.mark.parametrize("make", MAKERS, ids=["default", "linear", "bare", "average"])


def daily_series(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    random_walk = np.cumsum(rng.normal(0, 0.1, HOURS))
    return 5 * np.sin(2 * np.pi * np.arange(HOURS) / 24) + random_walk + rng.normal(0, 0.5, HOURS)


@every_forecaster
@law
@given(seed=st.integers(0, 50), shuffle=st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(make, seed, shuffle):
    values = daily_series(seed)
    order = np.random.default_rng(shuffle).permutation(HOURS)

    sorted_rows = make().fit(TIMES, values).forecast(12)
    mixed_rows = make().fit(TIMES[order], values[order]).forecast(12)

    pd.testing.assert_frame_equal(sorted_rows, mixed_rows)


@every_forecaster
@law
@given(seed=st.integers(0, 50), factor=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_unit_and_offset_do_not_matter(make, seed, factor, offset):
    """In Celsius or Fahrenheit, the forecast is the same."""
    values = daily_series(seed)

    plain = make().fit(TIMES, values).forecast(12)
    other = make().fit(TIMES, values * factor + offset).forecast(12)

    np.testing.assert_allclose((other[NUMBERS] - offset) / factor, plain[NUMBERS], rtol=1e-3, atol=1e-3)


@every_forecaster
@law
@given(seed=st.integers(0, 50), at=st.integers(1, HOURS - 1))
def test_a_forecast_does_not_depend_on_later_readings(make, seed, at):
    """The forecast for a time does not change with readings at or after it."""
    values = daily_series(seed)
    forecaster = make().fit(TIMES, values)
    changed = pd.Series(values[at:] + 1000.0, index=TIMES[at:])

    original = forecaster.predict(TIMES[: at + 1])
    other = forecaster.predict(TIMES[: at + 1], history=changed)

    np.testing.assert_array_equal(original["forecasted_values"], other["forecasted_values"])


@every_forecaster
def test_equal_readings_give_equal_forecasts(make):
    first, second = (make().fit(TIMES, daily_series(7)).forecast(48) for _ in range(2))

    pd.testing.assert_frame_equal(first, second)


@every_forecaster
@law
@given(seed=st.integers(0, 50), keep=st.floats(0.2, 1.0))
def test_bounds_enclose_the_forecast_and_are_numbers(make, seed, keep):
    kept = np.random.default_rng(seed).random(HOURS) < keep

    forecast = make().fit(TIMES[kept], daily_series(seed)[kept]).forecast(200)

    assert np.isfinite(forecast[NUMBERS].to_numpy()).all()
    assert (forecast["lower_bound"] <= forecast["forecasted_values"]).all()
    assert (forecast["forecasted_values"] <= forecast["upper_bound"]).all()


@every_forecaster
def test_saving_and_loading_changes_nothing(make, tmp_path):
    forecaster = make().fit(TIMES, daily_series(3))
    forecaster.save(tmp_path)

    pd.testing.assert_frame_equal(Forecaster.load(tmp_path).forecast(48), forecaster.forecast(48))
