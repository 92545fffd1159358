"""The step between readings and the resolution of the values, in spite of gaps, jitter and repeats."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.common.sampling import infer_step, infer_step_us, resolution_of

START = pd.Timestamp("2026-03-01")


def every(step: str, *, rows: int = 400, jitter: float = 0.0, kept: float = 1.0, seed: int = 0):
    """Times one step apart, off by at most a share of it, some of them missing."""
    rng = np.random.default_rng(seed)
    seconds = pd.Timedelta(step).total_seconds() * (np.arange(rows) + rng.uniform(-jitter, jitter, rows))
    return START + pd.to_timedelta(seconds[rng.random(rows) < kept], unit="s").round("ms")


@pytest.mark.parametrize("kept", [1.0, 0.8, 0.6, 0.4])
@pytest.mark.parametrize("step", ["1s", "7s", "1min", "5min", "90min", "1h", "1D"])
def test_missing_readings_do_not_change_the_step(step, kept):
    """Two in five are enough: the commonest distance is still one step, the middle one is two."""
    assert infer_step(every(step, kept=kept)) == pd.Timedelta(step)


@pytest.mark.parametrize("jitter", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("step", ["10s", "1min", "15min", "1h", "1D"])
def test_jitter_and_missing_readings_together_do_not_change_the_step(step, jitter):
    assert infer_step(every(step, jitter=jitter, kept=0.6)) == pd.Timedelta(step)


def test_a_step_that_is_exact_is_not_rounded():
    assert infer_step(every("61s")) == timedelta(seconds=61)


def test_a_changed_step_is_the_commoner_one():
    stamps = every("1min", rows=100).union(every("10min", rows=40) + pd.Timedelta("1D"))

    assert infer_step(stamps) == timedelta(minutes=1)


@given(
    offsets=st.lists(st.integers(0, 10**9), max_size=60),
    shift=st.integers(-(10**15), 10**15),
    order=st.randoms(use_true_random=False),
)
def test_order_repeats_and_time_zero_do_not_matter(offsets, shift, order):
    stamps = np.array(offsets, dtype=np.int64)
    shuffled = [*offsets, *offsets[:5]]
    order.shuffle(shuffled)

    assert infer_step_us(np.array(shuffled, dtype=np.int64) + shift) == infer_step_us(stamps)


@pytest.mark.parametrize("resolution", [0.001, 0.01, 0.1, 0.25, 1.0, 10.0])
def test_the_resolution_of_a_quantised_sensor_is_found(resolution):
    values = np.random.default_rng(0).normal(50, 20 * resolution, 2000)

    assert resolution_of((values / resolution).round() * resolution) == pytest.approx(resolution)


def test_averages_between_the_marks_do_not_refine_the_resolution():
    values = np.random.default_rng(0).normal(7, 0.2, 2000).round(2)
    values[::50] += 0.0037

    assert resolution_of(values) == pytest.approx(0.01)


@pytest.mark.parametrize("values", [[], [np.nan], [3.0, 3.0, 3.0]])
def test_a_single_value_has_no_resolution(values):
    assert resolution_of(np.array(values, dtype=np.float64)) == 0
