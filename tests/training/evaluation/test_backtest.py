"""The accuracy of a forecaster is measured on readings after its training, beside naive forecasts."""

import numpy as np
import pandas as pd
import pytest

from training.errors import NotTrainable
from training.evaluation.backtest import choose_origins, grade_forecaster
from training.forecasting.forecaster import Forecaster
from training.forecasting.metrics import interval_measures, naive_scales, point_measures
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.structures import Structure
from training.forecasting.time_grid import TimeGrid

NAMES = {
    "mae", "rmse", "mape", "mape_share_used", "mase", "rmsse", "coverage", "winkler",
    "naive_mae", "naive_mase", "skill", "origins",
}  # fmt: skip


def daily_series(days: int, *, noise: float = 0.5, seed: int = 0) -> pd.Series:
    times = pd.date_range("2026-01-01", periods=days * 24, freq="h")
    daily = 3 * np.sin(2 * np.pi * np.arange(len(times)) / 24)
    return pd.Series(20 + daily + np.random.default_rng(seed).normal(0, noise, len(times)), index=times)


def test_every_sensor_gets_the_same_metrics():
    noisy = grade_forecaster(ForecasterParameters(), daily_series(20), horizon=24, origins=3)
    constant = grade_forecaster(ForecasterParameters(), daily_series(20) * 0 + 7, horizon=24, origins=3)

    assert set(noisy) == set(constant) == NAMES
    assert constant["mae"] == 0
    assert constant["coverage"] == 1
    assert constant["skill"] == 0


def test_a_good_forecaster_has_skill():
    """Independent noise: yesterday's value has the noise of two days as its error, a model that of one."""
    grade = grade_forecaster(ForecasterParameters(), daily_series(30), horizon=24, origins=5)

    assert 0.15 < grade["skill"] < 0.4
    assert grade["skill"] == pytest.approx(1 - grade["mae"] / grade["naive_mae"])
    assert grade["mase"] < grade["naive_mase"]


def test_a_fitted_forecaster_is_not_fitted_again():
    """Without an autoregression it does not follow a jump after its training; parameters are fitted again."""
    values = daily_series(30)
    values[-240:] += 15
    parameters = ForecasterParameters((Structure(lags=0, halvings=3),))
    frozen = Forecaster(parameters).fit(values.index[:-240], values[:-240])

    of_frozen, of_parameters = (
        grade_forecaster(graded, values, horizon=12, origins=6, since=values.index[-100])
        for graded in (frozen, parameters)
    )

    # The naive share of the forecast follows the jump; Prophet's share does not.
    assert of_frozen["mae"] > 6
    assert of_parameters["mae"] < 5


def test_origins_are_after_since_and_before_a_reading():
    values = np.arange(100.0)
    values[40:60] = np.nan
    grid = TimeGrid(0.0, 60.0, values)

    origins = choose_origins(grid, horizon=5, origins=8, begin=30)

    assert origins.min() >= 29
    assert origins.max() == 94
    assert not set(origins) & set(range(39, 60))


def test_readings_without_an_origin_are_refused():
    times = pd.date_range("2026-01-01", periods=12, freq="h")

    with pytest.raises(NotTrainable, match="origin"):
        grade_forecaster(
            ForecasterParameters(), pd.Series(np.arange(9.0), index=times[:9]), horizon=3, origins=2
        )


def test_point_measures_by_hand():
    truth, forecast = np.array([10.0, 0.0, -10.0, np.nan]), np.array([11.0, 2.0, -13.0, 5.0])

    measured = point_measures(truth, forecast, absolute_scale=4.0, square_scale=9.0)

    assert measured["mae"] == 2.0
    assert measured["rmse"] == pytest.approx(np.sqrt(14 / 3))
    assert measured["mape"] == pytest.approx(20.0)
    assert measured["mape_share_used"] == pytest.approx(2 / 3)
    assert measured["mase"] == 0.5
    assert measured["rmsse"] == pytest.approx(np.sqrt(14 / 3) / 3)


def test_the_winkler_score_is_the_width_plus_a_penalty_for_misses():
    measured = interval_measures(np.array([0.0, 5.0]), np.array([-1.0, 1.0]), np.array([1.0, 3.0]), width=0.9)

    assert measured["coverage"] == 0.5
    assert measured["winkler"] == pytest.approx((2 + 2 + 20 * 2) / 2)


def test_naive_scales_fall_back_to_one_step():
    assert naive_scales(np.array([1.0, 2.0, 4.0]), season=24) == (1.5, 2.5)
