"""Null distribution: noise, random walks, weeks, and less certainty with distance."""

import numpy as np
import pytest

from monitoring.drift.null_distribution import MIN_HISTORY_BLOCKS, NullModel, spread_factor

CELLS, BLOCK = 112, 8
AFTER = np.arange(CELLS, CELLS + BLOCK, dtype=float)


def null(series, *, week=0.0, floor=0.0):
    return NullModel(np.asarray(series, float), per_block=BLOCK, week=week, floor=floor)


def random_walk(cells=CELLS, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=cells))


def test_noise_is_expected_to_keep_its_level():
    learned = null(np.random.default_rng(0).normal(5, 1, CELLS))

    assert learned.measure_shift(AFTER, np.full(BLOCK, 5.0)).p > 0.5
    assert learned.measure_shift(AFTER, np.full(BLOCK, 8.0)).p < 0.001


def test_a_random_walk_may_be_further_away_after_more_time():
    learned = null(random_walk())
    far = np.full(BLOCK, learned.values[-1] + learned.mean + 12)

    soon, late = (learned.measure_shift(AFTER + lag, far).p for lag in (0, 64))

    assert late > 3 * soon


def test_a_weekly_pattern_is_predicted():
    """Weekends are lower by 100: the next weekend is as predicted, the same level midweek is not."""
    cells = np.arange(CELLS + 28)
    weekly = np.where(cells % 28 >= 20, -100.0, 0.0) + np.random.default_rng(1).normal(0, 5, len(cells))
    learned = null(weekly[:CELLS], week=28.0)

    weekend = learned.measure_shift(AFTER + 20, weekly[CELLS + 20 :])
    midweek = learned.measure_shift(AFTER, np.full(BLOCK, -100.0))

    assert weekend.p > 0.05
    assert midweek.p < 0.01


def test_leading_empty_cells_are_equivalent_to_a_shorter_grid():
    series = random_walk()
    series[:16] = np.nan
    shorter = NullModel(series[16:], per_block=BLOCK, week=0.0, floor=0.0)
    values = np.full(BLOCK, np.nanmax(series))

    # The scales of the mixture depend on the grid's length, so the result is not exactly equal.
    assert null(series).measure_shift(AFTER, values).p == pytest.approx(
        shorter.measure_shift(AFTER - 16, values).p, rel=0.2
    )


def test_an_unusual_past_block_has_the_largest_shift():
    series = np.random.default_rng(2).normal(size=CELLS)
    series[64:72] += 6

    past = null(series).past_shifts(0)

    assert len(past) == 10
    assert np.argmax(np.abs(past)) == 8 - MIN_HISTORY_BLOCKS
    assert past[8 - MIN_HISTORY_BLOCKS] > 3


def test_a_past_block_without_readings_is_skipped():
    series = random_walk()
    series[64:72] = np.nan

    assert len(null(series).past_shifts(0)) == 9


def test_past_blocks_are_predicted_over_the_same_lag_as_the_check():
    learned = null(random_walk())

    assert [len(learned.past_shifts(lag)) for lag in (0, 3, 5, 90)] == [10, 7, 5, 5]


def test_a_window_with_large_past_shifts_needs_a_larger_shift():
    learned = null(np.random.default_rng(0).normal(size=CELLS))
    ordinary, stretched = (
        learned.measure_shift(AFTER, np.full(BLOCK, 2.0), stretch=spread_factor(np.full(10, shift)))
        for shift in (1.0, 3.0)
    )

    assert stretched.p > 2 * ordinary.p
    assert stretched.size == ordinary.size


def test_a_shift_below_the_floor_is_never_significant():
    learned = null(np.random.default_rng(0).normal(0, 1e-9, CELLS), floor=0.1)

    assert learned.measure_shift(AFTER, np.full(BLOCK, 0.05)).p > 0.5


def test_the_bound_has_the_requested_p():
    learned = null(np.random.default_rng(0).normal(size=CELLS))
    bound = learned.measure_shift(AFTER, np.zeros(BLOCK)).bound(0.01, 0.0)

    centre = learned.measure_shift(AFTER, np.zeros(BLOCK)).size
    assert learned.measure_shift(AFTER, np.full(BLOCK, bound - centre)).p == pytest.approx(0.01, rel=0.05)


def test_the_false_alarm_rate_holds_on_noise_and_random_walks():
    """400 windows each; noise raises fewer alarms than stated, because it might still be a random walk."""
    alarms = {}
    for name, make in (
        ("noise", lambda rng, n: rng.normal(size=n)),
        ("walk", lambda rng, n: rng.normal(size=n).cumsum()),
    ):
        rng = np.random.default_rng(11)
        judged = []
        for _ in range(400):
            series = make(rng, CELLS + BLOCK)
            judged.append(null(series[:CELLS]).measure_shift(AFTER, series[CELLS:]).p <= 0.05)
        alarms[name] = np.mean(judged)

    assert alarms["noise"] <= 0.05
    assert 0.01 <= alarms["walk"] <= 0.1
