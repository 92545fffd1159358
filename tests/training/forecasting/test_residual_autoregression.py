"""The autoregression finds how long residuals last, and stays stable with gaps and spikes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.forecasting.residual_autoregression import Autoregression, fit_autoregression
from training.forecasting.structures import Structure, TrainingHistory
from training.forecasting.time_grid import build_grid


def decaying(weight: float, rows: int = 2000, seed: int = 0) -> np.ndarray:
    """Each value is the last one times `weight`, plus noise."""
    rng = np.random.default_rng(seed)
    values = np.zeros(rows)
    for row in range(1, rows):
        values[row] = weight * values[row - 1] + rng.normal()
    return values


def after_last(autoregression: Autoregression, residuals: np.ndarray, horizon: int) -> np.ndarray:
    return autoregression.forecast(residuals, np.array([len(residuals) - 1]), horizon)[0]


@pytest.mark.parametrize("weight", [0.5, 0.9, 0.99])
def test_the_weight_is_found(weight):
    result = fit_autoregression(decaying(weight), max_lags=24)

    assert result.lags == (1,)
    assert result.weights[0] == pytest.approx(weight, abs=0.05)


def test_the_weight_of_a_random_walk_stays_near_one():
    """Its weight may be measured above 1; after shrinking it must stay near 1."""
    weights = [fit_autoregression(decaying(1.0, seed=seed), max_lags=1).weights[0] for seed in range(20)]

    assert min(weights) > 0.97
    assert max(weights) <= 1.0


def test_noise_is_forecast_as_zero():
    noise = np.random.default_rng(0).normal(size=2000)

    assert np.abs(after_last(fit_autoregression(noise, max_lags=24), noise, 10)).max() < 0.2


def test_two_spikes_do_not_distort_the_weights():
    residuals = decaying(0.9)
    residuals[[-11, -10]] = 200.0

    result = fit_autoregression(residuals, max_lags=24)

    assert result.weights[0] == pytest.approx(0.9, abs=0.1)
    assert sum(map(abs, result.weights)) < 1.3


def test_gaps_are_bridged_by_the_residual_before_them():
    residuals = decaying(0.9)
    residuals[-5:] = np.nan
    bridging = fit_autoregression(residuals, max_lags=24)

    expected = residuals[-6] * bridging.carry**5 * bridging.weights[0]
    assert after_last(bridging, residuals, 1)[0] == pytest.approx(expected, rel=0.3)


def test_the_lag_of_yesterday_is_chosen_where_it_matters():
    """Noise that returns after a day of 24 slots, beyond the 6 lags."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=24 * 60)
    for row in range(24, len(values)):
        values[row] += 0.8 * values[row - 24]

    with_season, without = (fit_autoregression(values, max_lags=6, seasonal=s) for s in ([24], []))

    assert 24 in with_season.lags
    assert max(without.lags) <= 6


def test_the_forecast_of_a_growing_series_stays_bounded():
    growing = 1.02 ** np.arange(400)

    path = after_last(fit_autoregression(growing, max_lags=3), growing, 2000)

    assert np.isfinite(path).all()
    assert np.abs(path).max() < 100 * growing[-1]


def test_too_few_residuals_give_no_autoregression():
    assert fit_autoregression(np.arange(5.0), max_lags=48) == Autoregression()
    assert fit_autoregression(np.full(100, np.nan), max_lags=48) == Autoregression()
    assert fit_autoregression(np.zeros(100), max_lags=48) == Autoregression()


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 100),
    growth=st.sampled_from(["flat", "linear"]),
    gaps=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 80)), max_size=4),
    origins=st.lists(st.integers(0, 399), min_size=1, max_size=5, unique=True),
)
def test_a_forecast_depends_on_its_memory_only(seed, growth, gaps, origins):
    """The forecast from the last slots equals the one from all slots."""
    values = np.sin(np.arange(400) / 4) + decaying(0.8, rows=400, seed=seed)
    for first, length in gaps:
        values[max(first, 1) : first + length] = np.nan
    values[-1] = 0.0
    grid = build_grid(pd.date_range("2026-01-01", periods=400, freq="h"), values, step=None, slots=400)
    history = TrainingHistory(grid, {"daily": 6, "weekly": 6, "yearly": 0}, {})
    member = history.fit(Structure(growth=growth), 400)
    whole = member.curve.at(grid.seconds_at(np.arange(424)))
    chosen = np.array(sorted(origins))

    residuals = member.autoregression.forecast(grid.values - whole[:400], chosen, 24)

    expected = whole[chosen[:, None] + np.arange(1, 25)] + residuals
    np.testing.assert_allclose(member.forecast(grid, chosen, 24), expected, rtol=1e-9, atol=1e-9)
    assert member.forecast(grid, chosen[:0], 24).shape == (0, 24)
