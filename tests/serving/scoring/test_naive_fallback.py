"""The naive forecast: the best of several, with intervals from its past errors."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from serving.scoring.naive_fallback import naive_forecast
from tests.support.workspaces import make_series
from training.errors import NotTrainable


def test_it_starts_one_step_after_the_newest_reading():
    result = naive_forecast(make_series(100), 3)

    assert result["timestamps"].tolist() == [
        pd.Timestamp("2026-01-05T04:00") + timedelta(hours=h) for h in range(3)
    ]
    assert {"timestamps", "forecasted_values", "lower_bound", "upper_bound", "method"} <= set(result)


def test_a_daily_cycle_is_repeated_and_a_flat_line_continues():
    daily = make_series(240)
    flat = pd.Series(7.5, index=daily.index)

    cycle, line = naive_forecast(daily, 24), naive_forecast(flat, 24)

    assert np.ptp(cycle["forecasted_values"]) > 5
    assert line["forecasted_values"].tolist() == pytest.approx([7.5] * 24)


def test_the_interval_contains_most_of_the_following_readings():
    whole = make_series(400, seed=3)
    truth = whole.iloc[-24:].to_numpy()

    result = naive_forecast(whole.iloc[:-24], 24)

    inside = (result["lower_bound"] <= truth) & (truth <= result["upper_bound"])
    assert inside.mean() >= 0.8
    assert (result["lower_bound"] <= result["forecasted_values"]).all()
    assert (result["forecasted_values"] <= result["upper_bound"]).all()


def test_a_larger_width_gives_a_wider_interval():
    narrow, wide = (naive_forecast(make_series(200), 6, width=width) for width in (0.5, 0.99))

    assert (
        (wide["upper_bound"] - wide["lower_bound"]) > (narrow["upper_bound"] - narrow["lower_bound"])
    ).all()


def test_a_dozen_readings_are_enough():
    assert len(naive_forecast(make_series(12), 24)) == 24


def test_a_single_reading_without_a_step_cannot_be_forecast():
    with pytest.raises(NotTrainable):
        naive_forecast(make_series(1), 3)


def test_a_long_gap_in_the_history_costs_no_memory():
    gappy = pd.concat([make_series(50, start="1990-01-01"), make_series(50)])

    assert len(naive_forecast(gappy, 5)) == 5
