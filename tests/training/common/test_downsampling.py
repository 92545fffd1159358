"""Fewer points, the same picture: no extreme is lost and no gap is bridged."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from training.common.downsampling import downsample, downsample_indices


def frame(values, *, start="2026-01-01", every="min"):
    times = pd.date_range(start, periods=len(values), freq=every).astype("datetime64[us]")
    return pd.DataFrame({"timestamp": times, "value": np.asarray(values, float)})


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400),
    buckets=st.integers(1, 30),
    steps=st.integers(1, 10_000),
)
def test_ends_and_extremes_are_kept_in_order(values, buckets, steps):
    values = np.array(values)
    times = np.cumsum(np.random.default_rng(len(values)).integers(1, steps + 1, len(values)))

    kept = downsample_indices(times, values, buckets)

    assert len(kept) <= max(4 * (buckets + 1), min(len(values), 4 * buckets))
    assert (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (0, len(values) - 1)
    assert values[kept].max() == values.max()
    assert values[kept].min() == values.min()


def test_a_spike_of_one_reading_in_a_year_of_minutes_stays():
    values = np.sin(np.arange(525_600) / 1_440 * 2 * np.pi)
    values[123_456] = 50.0

    shown = downsample(frame(values))

    assert len(shown) < 4_000
    assert shown["value"].max() == 50.0
    assert shown.loc[shown["value"].idxmax(), "timestamp"] == pd.Timestamp("2026-01-01") + pd.Timedelta(
        minutes=123_456
    )


def test_few_readings_are_not_thinned_out():
    readings = frame([1.0, 2.0, 3.0])

    assert downsample(readings).equals(readings)
    assert downsample(readings.head(0)).empty


def test_a_line_is_broken_at_a_gap_and_nowhere_else():
    first, second = frame(np.ones(100)), frame(np.ones(100), start="2026-01-02")

    shown = downsample(pd.concat([first, second], ignore_index=True))

    assert shown["value"].isna().sum() == 1
    assert shown["timestamp"].is_monotonic_increasing
    assert shown.loc[shown["value"].isna(), "timestamp"].iloc[0] == pd.Timestamp("2026-01-01T01:40")


def test_thinning_out_adds_no_gaps():
    assert not downsample(frame(np.arange(100_000.0)))["value"].isna().any()
