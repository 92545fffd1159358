"""What moves by itself is foretold: noise, wandering, weeks, and how much less is known later."""

import numpy as np
import pytest

from monitoring.drift.null_distribution import MIN_HISTORY_BLOCKS, NullModel, spread_factor

CELLS, BLOCK = 112, 8
AFTER = np.arange(CELLS, CELLS + BLOCK, dtype=float)


def null(series, *, week=0.0, floor=0.0):
    return NullModel(np.asarray(series, float), per_block=BLOCK, week=week, floor=floor)


def wandering(cells=CELLS, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=cells))


def test_noise_is_expected_to_stay_where_it_was():
    learned = null(np.random.default_rng(0).normal(5, 1, CELLS))

    assert learned.measure_shift(AFTER, np.full(BLOCK, 5.0)).p > 0.5
    assert learned.measure_shift(AFTER, np.full(BLOCK, 8.0)).p < 0.001


def test_a_wandering_sensor_may_be_farther_away_the_later_it_is_asked():
    learned = null(wandering())
    far = np.full(BLOCK, learned.values[-1] + learned.mean + 12)

    soon, late = (learned.measure_shift(AFTER + lag, far).p for lag in (0, 64))

    assert late > 3 * soon


def test_a_week_is_part_of_what_is_expected():
    """Weekends a hundred below: the next one is no news, a weekend in the middle of the week is."""
    cells = np.arange(CELLS + 28)
    weekly = np.where(cells % 28 >= 20, -100.0, 0.0) + np.random.default_rng(1).normal(0, 5, len(cells))
    learned = null(weekly[:CELLS], week=28.0)

    weekend = learned.measure_shift(AFTER + 20, weekly[CELLS + 20 :])
    midweek = learned.measure_shift(AFTER, np.full(BLOCK, -100.0))

    assert weekend.p > 0.05
    assert midweek.p < 0.01


def test_empty_cells_are_as_if_the_grid_had_none():
    series = wandering()
    series[:16] = np.nan
    shorter = NullModel(series[16:], per_block=BLOCK, week=0.0, floor=0.0)
    values = np.full(BLOCK, np.nanmax(series))

    # The scales of the mixture follow the length of the grid, hence not to the last digit.
    assert null(series).measure_shift(AFTER, values).p == pytest.approx(
        shorter.measure_shift(AFTER - 16, values).p, rel=0.2
    )


def test_a_past_block_that_was_odd_stands_out():
    series = np.random.default_rng(2).normal(size=CELLS)
    series[64:72] += 6

    past = null(series).past_shifts(0)

    assert len(past) == 10
    assert np.argmax(np.abs(past)) == 8 - MIN_HISTORY_BLOCKS
    assert past[8 - MIN_HISTORY_BLOCKS] > 3


def test_a_past_block_without_readings_is_not_judged():
    series = wandering()
    series[64:72] = np.nan

    assert len(null(series).past_shifts(0)) == 9


def test_past_blocks_are_foretold_from_as_far_as_the_check_is():
    learned = null(wandering())

    assert [len(learned.past_shifts(lag)) for lag in (0, 3, 5, 90)] == [10, 7, 5, 5]


def test_a_window_that_surprised_asks_for_a_larger_shift():
    learned = null(np.random.default_rng(0).normal(size=CELLS))
    ordinary, stretched = (
        learned.measure_shift(AFTER, np.full(BLOCK, 2.0), stretch=spread_factor(np.full(10, odd)))
        for odd in (1.0, 3.0)
    )

    assert stretched.p > 2 * ordinary.p
    assert stretched.size == ordinary.size


def test_a_shift_below_the_floor_is_never_rare():
    learned = null(np.random.default_rng(0).normal(0, 1e-9, CELLS), floor=0.1)

    assert learned.measure_shift(AFTER, np.full(BLOCK, 0.05)).p > 0.5


def test_the_bound_is_where_the_p_is():
    learned = null(np.random.default_rng(0).normal(size=CELLS))
    bound = learned.measure_shift(AFTER, np.zeros(BLOCK)).bound(0.01, 0.0)

    centre = learned.measure_shift(AFTER, np.zeros(BLOCK)).size
    assert learned.measure_shift(AFTER, np.full(BLOCK, bound - centre)).p == pytest.approx(0.01, rel=0.05)


def test_one_false_alarm_in_twenty_is_never_two():
    """On white noise and on random walks, 400 windows each; on noise it is fewer, for it might wander yet."""
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
