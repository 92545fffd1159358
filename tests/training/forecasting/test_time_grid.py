"""Readings on a regular grid: each in its slot, gaps empty, newer readings before older ones."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import NotTrainable
from training.forecasting.time_grid import TimeGrid, build_grid

HOUR = timedelta(hours=1)
START = pd.Timestamp("2026-01-01")


def hours(*offsets: float) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([START + pd.Timedelta(hours=offset) for offset in offsets])


def test_readings_in_one_slot_become_their_mean():
    grid = build_grid(hours(0, 0.9, 1.1, 3), np.array([1.0, 2.0, 4.0, 8.0]), step=HOUR, slots=10)

    np.testing.assert_array_equal(grid.values, [1.0, 3.0, np.nan, 8.0])


def test_only_the_last_slots_are_kept():
    grid = build_grid(hours(*range(100)), np.arange(100.0), step=HOUR, slots=10)

    assert grid.values.tolist() == list(range(90, 100))
    assert grid.last == (START + 99 * HOUR).timestamp()


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan]])
def test_a_step_needs_two_readings(values):
    with pytest.raises(NotTrainable, match="finite readings"):
        build_grid(hours(*range(len(values))), np.array(values, dtype=np.float64), slots=10)


def test_readings_at_one_time_have_no_step():
    with pytest.raises(NotTrainable, match="same time"):
        build_grid(hours(1, 1, 1), np.arange(3.0), slots=10)


def test_a_newer_reading_takes_the_slot_of_an_older_one():
    grid = TimeGrid(0.0, 60.0, np.array([1.0, 2.0, 3.0]))

    extended = grid.extended(np.array([120.0, 240.0]), np.array([7.0, 9.0]), slots=10)

    np.testing.assert_array_equal(extended.values, [1.0, 2.0, 7.0, np.nan, 9.0])


def test_readings_before_the_grid_and_without_a_value_change_nothing():
    grid = TimeGrid(600.0, 60.0, np.array([1.0, 2.0, 3.0]))

    extended = grid.extended(np.array([0.0, 660.0]), np.array([5.0, np.nan]), slots=10)

    assert extended.values.tolist() == [1.0, 2.0, 3.0]


@given(
    values=st.lists(st.floats(-10, 10), min_size=1, max_size=30),
    newer=st.lists(st.tuples(st.integers(0, 60), st.floats(-10, 10)), max_size=20),
    slots=st.integers(1, 50),
)
def test_an_extended_grid_keeps_its_times_and_its_last_slots(values, newer, slots):
    grid = TimeGrid(6000.0, 60.0, np.array(values))
    times = np.array([6000.0 + 60.0 * slot for slot, _ in newer])

    extended = grid.extended(times, np.array([value for _, value in newer]), slots=slots)

    assert len(extended) <= slots
    assert extended.last == max([grid.last, *times])
    assert (extended.start - grid.start) % 60 == 0
