"""Rolling origins: a forecaster is judged only on readings that it had not seen."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.forecasting.naive_forecasts import LAST_VALUE, SEASONAL_NAIVE_DAILY
from training.forecasting.rolling_origin import (
    FOLD_COUNT,
    FORECAST_SHARE,
    MAX_ORIGINS,
    RollingBacktest,
    blend,
    make_folds,
)
from training.forecasting.structures import Structure, TrainingHistory
from training.forecasting.time_grid import TimeGrid

HOUR = 3600.0


def grid_of(values) -> TimeGrid:
    return TimeGrid(0.0, HOUR, np.asarray(values, dtype=np.float64))


def backtest_of(values, horizon: int = 6) -> RollingBacktest:
    return RollingBacktest(TrainingHistory(grid_of(values), {}), horizon)


def gappy(rows: int, *, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=rows)
    values[rng.random(rows) < share] = np.nan
    values[[0, -1]] = 0.0
    return values


@given(
    rows=st.integers(30, 2000), share=st.floats(0, 0.6), horizon=st.integers(1, 48), seed=st.integers(0, 20)
)
@settings(max_examples=80, deadline=None)
def test_every_origin_holds_a_reading_and_has_one_within_the_horizon(rows, share, horizon, seed):
    grid = grid_of(gappy(rows, share=share, seed=seed))

    for fold in make_folds(grid, horizon=horizon):
        assert grid.known[fold.origins].all()
        assert all(grid.known[o + 1 : o + 1 + horizon].any() for o in fold.origins)


@given(rows=st.integers(30, 2000), share=st.floats(0, 0.6), seed=st.integers(0, 20))
@settings(max_examples=80, deadline=None)
def test_a_fold_is_fitted_to_readings_up_to_its_first_origin_only(rows, share, seed):
    grid = grid_of(gappy(rows, share=share, seed=seed))

    folds = make_folds(grid, horizon=24)

    assert all(fold.end <= fold.origins.min() + 1 for fold in folds)
    assert all(before.origins.max() < after.origins.min() for before, after in pairwise(folds))


def test_the_latest_readings_are_forecast_in_folds_of_equal_size():
    folds = make_folds(grid_of(np.arange(400.0)), horizon=6)

    assert len(folds) == FOLD_COUNT
    sizes = [len(fold.origins) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert folds[0].end == round(400 * (1 - FORECAST_SHARE))
    assert folds[-1].origins[-1] >= 397


def test_a_long_history_has_a_bounded_number_of_origins():
    folds = make_folds(grid_of(np.arange(50_000.0)), horizon=6)

    assert MAX_ORIGINS / 2 < sum(len(fold.origins) for fold in folds) <= MAX_ORIGINS


def test_the_truth_is_what_came_after_each_origin():
    backtest = backtest_of(np.arange(100.0), horizon=3)

    expected = backtest.origins[:, None] + np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(backtest.truth, np.where(expected < 100, expected, np.nan))


def test_the_recent_truth_ends_with_the_origin():
    backtest = backtest_of(np.arange(100.0))

    assert (backtest.recent_truth(back=3) == backtest.origins[:, None] + [-2, -1, 0]).all()


def test_a_structure_is_fitted_without_what_it_is_judged_on():
    """Readings after a fold's end may change as they will: its model stays the same."""
    values = np.random.default_rng(0).normal(size=300)
    backtest = backtest_of(values)
    changed = values.copy()
    changed[backtest.folds[0].end :] += 1000.0

    first, other = (backtest_of(readings).fit_folds(Structure(lags=0))[0] for readings in (values, changed))

    times = HOUR * np.arange(400)
    np.testing.assert_array_equal(first.curve.at(times), other.curve.at(times))


def test_a_perfect_forecast_has_no_error_and_a_constant_bias_its_own():
    backtest = backtest_of(np.random.default_rng(0).normal(size=200))

    assert backtest.error(backtest.truth) == 0
    assert backtest.error(backtest.truth - 2.5) == pytest.approx(2.5)


def test_later_errors_weigh_more():
    backtest = backtest_of(np.random.default_rng(0).normal(size=400))
    half = len(backtest.origins) // 2
    early, late = backtest.truth.copy(), backtest.truth.copy()
    early[:half] += 1
    late[half:] += 1

    assert backtest.error(late) > backtest.error(early)


def test_the_error_of_the_first_folds_counts_them_alone():
    """So that a trial can be stopped after the first."""
    backtest = backtest_of(np.random.default_rng(0).normal(size=400))
    first = len(backtest.folds[0].origins)
    paths = backtest.truth.copy()
    paths[first:] += 100

    assert backtest.error(paths[:first]) == 0


def test_nothing_known_is_an_infinite_error():
    backtest = backtest_of(np.random.default_rng(0).normal(size=200))

    assert backtest.error(np.full_like(backtest.truth, np.nan)) == np.inf


def test_the_last_value_repeats_the_reading_at_the_origin():
    backtest = backtest_of(np.arange(100.0))

    paths = backtest.forecast_naive(LAST_VALUE)

    assert (paths == backtest.origins[:, None]).all()


def test_yesterday_is_the_reference_where_there_are_two_days():
    day = np.sin(2 * np.pi * np.arange(240) / 24)

    assert backtest_of(day).reference_naive == SEASONAL_NAIVE_DAILY
    assert backtest_of(day).best_naive() == (SEASONAL_NAIVE_DAILY, pytest.approx(0, abs=1e-9))
    assert backtest_of(day[:40]).reference_naive == LAST_VALUE


def test_independent_horizons_share_no_reading():
    backtest = backtest_of(np.arange(1000.0), horizon=50)

    assert backtest.independent == pytest.approx(1000 * FORECAST_SHARE / 50, abs=0.1)


def test_a_blend_is_the_weighted_mean():
    assert blend([0.25, 0.75], [np.array([4.0]), np.array([8.0])]).tolist() == [7.0]
