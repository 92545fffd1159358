"""The forecaster's share grows with the certainty of its gain on the naive forecast."""

import numpy as np
import pytest

from training.forecasting.naive_shrinkage import forecaster_share
from training.forecasting.rolling_origin import RollingBacktest
from training.forecasting.structures import TrainingHistory
from training.forecasting.time_grid import TimeGrid

rng = np.random.default_rng(0)
GRID = TimeGrid(0.0, 3600.0, rng.normal(size=60 * 24))
BACKTEST = RollingBacktest(TrainingHistory(GRID, {}), 24)
NOISE = rng.normal(size=BACKTEST.truth.shape)


def share_of(error: float, *, variation: float = 0.0) -> float:
    """The share of a forecaster with this error where the naive forecast has 1; `variation` alternates it."""
    sizes = 1 + variation * np.where(np.arange(len(NOISE)) % 2, 1.0, -1.0)[:, None]
    ours = BACKTEST.truth + error * sizes * np.sign(NOISE)
    return forecaster_share(BACKTEST, ours, BACKTEST.truth + np.sign(NOISE))


def test_a_gain_at_every_origin_gets_the_whole_share():
    assert share_of(0.5) == 1.0


@pytest.mark.parametrize("error", [0.95, 1.0, 1.5])
def test_a_gain_that_is_not_clear_gets_no_share(error):
    """5 % better in the backtest that it was chosen by is probably worse afterwards."""
    assert share_of(error) == 0.0


def test_forecasts_with_equal_but_different_errors_share_the_blend():
    """Their blend has smaller errors than either."""
    other = np.random.default_rng(1).normal(size=NOISE.shape)

    share = forecaster_share(BACKTEST, BACKTEST.truth + NOISE, BACKTEST.truth + other)

    assert 0.3 < share < 0.6


@pytest.mark.parametrize(("variation", "expected"), [(0.0, 1.0), (0.2, 1.0), (0.9, 0.0)])
def test_a_gain_that_varies_too_much_gets_no_share(variation, expected):
    """A quarter better on average, but half of the time nearly twice as bad."""
    assert share_of(0.75, variation=variation) == expected


def test_without_a_known_error_there_is_no_share():
    unknown = np.full_like(NOISE, np.nan)
    assert forecaster_share(BACKTEST, unknown, unknown) == 0.0
