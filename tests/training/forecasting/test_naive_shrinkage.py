"""A forecaster is believed as far as its gain on the naive forecast is certain."""

import numpy as np
import pytest

from training.forecasting.naive_shrinkage import forecaster_share
from training.forecasting.rolling_origin import RollingBacktest
from training.forecasting.structures import TrainingHistory
from training.forecasting.time_grid import TimeGrid

rng = np.random.default_rng(0)
GRID = TimeGrid(0.0, 3600.0, rng.normal(size=60 * 24))
REHEARSAL = RollingBacktest(TrainingHistory(GRID, {}), 24)
NOISE = rng.normal(size=REHEARSAL.truth.shape)


def trust(error: float, *, wavering: float = 0.0) -> float:
    """Of one that errs so much where the naive forecast errs 1; with wavering now more, now less."""
    turns = 1 + wavering * np.where(np.arange(len(NOISE)) % 2, 1.0, -1.0)[:, None]
    ours = REHEARSAL.truth + error * turns * np.sign(NOISE)
    return forecaster_share(REHEARSAL, ours, REHEARSAL.truth + np.sign(NOISE))


def test_a_gain_seen_everywhere_is_believed_wholly():
    assert trust(0.5) == 1.0


@pytest.mark.parametrize("error", [0.95, 1.0, 1.5])
def test_what_is_not_clearly_better_is_not_believed(error):
    """5 % better in the rehearsal that it was chosen by is likely worse afterwards."""
    assert trust(error) == 0.0


def test_two_that_err_alike_but_not_together_share_the_forecast():
    """Their blend errs less than either."""
    other = np.random.default_rng(1).normal(size=NOISE.shape)

    share = forecaster_share(REHEARSAL, REHEARSAL.truth + NOISE, REHEARSAL.truth + other)

    assert 0.3 < share < 0.6


@pytest.mark.parametrize(("wavering", "believed"), [(0.0, 1.0), (0.2, 1.0), (0.9, 0.0)])
def test_a_gain_that_comes_and_goes_is_not_believed(wavering, believed):
    """A quarter better on average; half of the time nearly twice as bad."""
    assert trust(0.75, wavering=wavering) == believed


def test_without_any_rehearsal_nothing_is_believed():
    unknown = np.full_like(NOISE, np.nan)
    assert forecaster_share(REHEARSAL, unknown, unknown) == 0.0
