"""Spikes: single readings that leave and return, and nothing that a process does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from training.quality.spikes import CONTEXT_READINGS, find_spikes

MINUTE = 60.0


def noise(count=200, *, seed=0, decimals=3):
    return np.random.default_rng(seed).normal(10, 0.1, count).round(decimals)


def spikes_in(values, seconds=None):
    """The positions of the spikes of one sensor."""
    seconds = MINUTE * np.arange(len(values)) if seconds is None else seconds
    return np.flatnonzero(
        find_spikes(seconds, np.asarray(values, float), np.zeros(len(values), int))
    ).tolist()


def changed(values, places, to):
    """A copy with other values at these places."""
    result = np.array(values, float)
    result[places] = to
    return result


@pytest.mark.parametrize("to", [0.0, 6.0, 13.0, 350.0, -1e9, 1e308])
def test_a_single_reading_that_leaves_and_returns_is_a_spike(to):
    assert spikes_in(changed(noise(), [100], to)) == [100]


def test_two_spikes_within_an_hour_are_both_found():
    assert spikes_in(changed(noise(), [100, 112], 20.0)) == [100, 112]


def test_a_step_that_stays_is_no_spike():
    assert spikes_in(changed(noise(), slice(100, None), 20.0)) == []


def test_the_last_reading_is_no_spike_yet():
    assert spikes_in(changed(noise(), [-1], 20.0)) == []


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(changed(noise(), [100, 101], 20.0), id="two readings"),
        pytest.param(np.concatenate([noise(100), 10 + np.arange(100) / 2]), id="ramp"),
        pytest.param(changed(noise(), [100, 101], [20.0, 14.0]), id="an overshoot that decays"),
        pytest.param(changed(np.full(200, 10.0), [100], 20.0), id="a sensor that never changed"),
        pytest.param(np.where(np.arange(200) % 5 == 3, 20.0, noise()), id="bursts by habit"),
        pytest.param(np.where(np.arange(200) // 7 % 2, 5.0, 0.0), id="a pump that starts and stops"),
        pytest.param(changed(noise(), [100], 10.6), id="a little more than noise"),
    ],
)
def test_what_a_process_does_is_no_spike(values):
    assert spikes_in(values) == []


def test_a_coarse_sensor_must_leave_by_twenty_of_its_steps():
    coarse = np.where(np.arange(200) % 9 == 0, 10.1, 10.0)

    assert spikes_in(changed(coarse, [100], 11.5)) == []
    assert spikes_in(changed(coarse, [100], 12.5)) == [100]


def test_a_reading_beside_a_gap_is_no_spike():
    """Hours may have passed at the other level."""
    seconds = MINUTE * np.arange(200)
    seconds[101:] += 3600

    assert spikes_in(changed(noise(), [100], 20.0), seconds) == []


signals = arrays.arrays(
    float, st.integers(1, 150), elements=st.sampled_from([10.0, 10.1, 10.2, 9.9, 9.8, 30.0, 0.0, -20.0])
)


@given(signals)
def test_a_judgement_is_final_with_the_next_reading(values):
    """What arrives later changes nothing: readings scored as they arrive have the same history."""
    final = set(spikes_in(values))

    for end in range(1, len(values) + 1, 7):
        assert set(spikes_in(values[:end])) == {place for place in final if place < end - 1}


@given(signals)
def test_a_judgement_needs_the_context_only(values):
    """A score that looks back on the newest readings judges them as one that looks back on all."""
    final = spikes_in(values)

    for place in range(CONTEXT_READINGS, len(values) - 1, 7):
        window = values[place - CONTEXT_READINGS : place + 2]
        assert (CONTEXT_READINGS in spikes_in(window)) is (place in final)


@given(st.lists(signals, min_size=1, max_size=4))
def test_sensors_judged_together_are_judged_as_each_alone(sensors):
    lengths = np.array([len(values) for values in sensors])
    starts = np.cumsum(lengths) - lengths
    seconds = np.concatenate([MINUTE * np.arange(length) for length in lengths])

    together = find_spikes(seconds, np.concatenate(sensors), np.repeat(starts, lengths))

    alone = [
        start + place for start, values in zip(starts, sensors, strict=True) for place in spikes_in(values)
    ]
    assert np.flatnonzero(together).tolist() == alone
