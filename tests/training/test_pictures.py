"""Pictures: PNG bytes, and no odd reading is drawn away."""

import io

import matplotlib.image as images
import numpy as np
import pandas as pd
import pytest

from tests.plant import series
from training.pictures import MOST_POINTS, _thinned, forecast_picture, score_picture

RED = (0xC2, 0x45, 0x2D)


def pixels(png):
    assert png.startswith(b"\x89PNG\r\n")
    return (images.imread(io.BytesIO(png))[..., :3] * 255).round().astype(int)


def reds(png):
    return int((np.abs(pixels(png) - RED).sum(axis=-1) < 12).sum())


def test_one_odd_reading_of_many_is_seen():
    readings = series(20_000)
    usual, odd = np.full(20_000, 0.1), np.full(20_000, 0.1)
    odd[12_345] = 0.9

    without, with_one = (score_picture(readings, s, 0.5, title="PT-1", unit="bar") for s in (usual, odd))

    assert reds(with_one) > reds(without)


@pytest.mark.parametrize("length", [1, MOST_POINTS, MOST_POINTS + 1, 50_000])
def test_thinning_keeps_the_loudest_and_the_order(length):
    scores = np.random.default_rng(0).random(length)
    scores[length // 3] = np.nan
    scores[length // 2] = 2.0

    kept = _thinned(scores)

    assert len(kept) <= MOST_POINTS
    assert length // 2 in kept
    assert (np.diff(kept) > 0).all()


def test_a_forecast_is_drawn_with_its_band_and_what_then_came():
    whole = series(200)
    ahead = whole.iloc[-24:]
    forecast = pd.DataFrame(
        {
            "timestamps": ahead.index,
            "forecasted_values": ahead.to_numpy(),
            "lower_bound": ahead.to_numpy() - 1,
            "upper_bound": ahead.to_numpy() + 1,
        }
    )

    narrow = forecast_picture(whole.iloc[:-24], forecast, ahead, title="PT-1 [x] $5", unit="°C")
    forecast["upper_bound"] += 5
    wide = forecast_picture(whole.iloc[:-24], forecast, ahead, title="PT-1 [x] $5", unit="°C")

    assert pixels(narrow).shape == pixels(wide).shape
    assert (pixels(narrow) != pixels(wide)).any()
