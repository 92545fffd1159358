"""Pictures: sound SVG, nothing odd drawn away, nothing drawn that is not there."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from tests.support.workspaces import make_series
from training.registry.run_charts import (
    ANOMALY_COLOR,
    MAX_POINTS,
    _peak_positions,
    render_forecast,
    render_scores,
)

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture, tag):
    """The elements of one kind; fails where the file is no XML."""
    return list(ElementTree.fromstring(picture).iter(f"{SVG}{tag}"))


def ahead_of(values, *, upper=1.0):
    return pd.DataFrame(
        {
            "timestamps": values.index,
            "forecasted_values": values.to_numpy(),
            "lower_bound": values.to_numpy() - 1,
            "upper_bound": values.to_numpy() + upper,
        }
    )


def test_one_odd_reading_of_many_is_seen():
    readings = make_series(20_000)
    usual, odd = np.full(20_000, 0.1), np.full(20_000, 0.1)
    odd[12_345] = 0.9

    without, with_one = (render_scores(readings, s, 0.5, title="PT-1", unit="bar") for s in (usual, odd))

    assert drawn(without, "circle") == []
    assert len(drawn(with_one, "circle")) == 2  # among the readings and among the scores
    assert ANOMALY_COLOR in with_one.decode()


@pytest.mark.parametrize("length", [1, MAX_POINTS, MAX_POINTS + 1, 50_000])
def test_thinning_keeps_the_loudest_and_the_order(length):
    scores = np.random.default_rng(0).random(length)
    scores[length // 3] = np.nan
    scores[length // 2] = 2.0

    kept = _peak_positions(scores)

    assert len(kept) <= MAX_POINTS
    assert length // 2 in kept
    assert (np.diff(kept) > 0).all()


def test_a_forecast_is_drawn_with_its_band_and_what_then_came():
    whole = make_series(200)
    before, after = whole.iloc[:-24], whole.iloc[-24:]

    narrow, wide = (
        render_forecast(before, ahead_of(after, upper=upper), after, title="PT-1 [x] $5", unit="°C")
        for upper in (1.0, 6.0)
    )

    assert len(drawn(narrow, "polyline")) == 3
    (band,), (wider) = drawn(narrow, "polygon"), drawn(wide, "polygon")
    assert len(band.get("points").split()) == 48
    assert band.get("points") != wider[0].get("points")


def test_a_value_stands_where_the_axis_says():
    """The ticks' lines and the readings share one scale: a reading at 20 lies on the line of 20."""
    readings = pd.Series(20.0, pd.date_range("2026-01-01", periods=10, freq="h"))
    readings.iloc[3] = 30.0

    picture = render_scores(readings, np.zeros(10), 0.5, title="x")

    (at_twenty,) = (text for text in drawn(picture, "text") if text.text == "20")
    first = drawn(picture, "polyline")[0].get("points").split()[0]
    assert float(first.split(",")[1]) == pytest.approx(float(at_twenty.get("y")) - 4, abs=0.11)


def test_words_cannot_break_the_file():
    picture = render_scores(make_series(50), np.zeros(50), 0.5, title='<T> & "co"', unit="m<3>")

    words = [text.text for text in drawn(picture, "text")]
    assert '<T> & "co"' in words
    assert "m<3>" in words


@pytest.mark.parametrize("values", [np.zeros(40), np.full(40, 1e9), np.linspace(0, 1e-9, 40)], ids=str)
def test_flat_large_and_tiny_readings_are_drawn(values):
    readings = pd.Series(values, pd.date_range("2026-01-01", periods=40, freq="5min"))

    picture = render_scores(readings, np.zeros(40), 0.5, title="x").decode()

    assert "nan" not in picture
    assert "inf" not in picture


def test_a_line_does_not_cross_what_is_unknown():
    scores = np.zeros(60)
    scores[20:25] = np.nan

    whole, broken = (render_scores(make_series(60), s, 0.5, title="x") for s in (np.zeros(60), scores))

    assert len(drawn(broken, "polyline")) == len(drawn(whole, "polyline")) + 1


def test_half_a_second_and_ten_years_have_dates():
    for frequency, periods in (("10ms", 50), ("30D", 120)):
        readings = pd.Series(
            np.arange(float(periods)), pd.date_range("2016-01-01", periods=periods, freq=frequency)
        )

        picture = render_scores(readings, np.zeros(periods), 0.5, title="x")

        dates = [text for text in drawn(picture, "text") if text.get("text-anchor") == "middle"]
        assert 2 <= len(dates) <= 14
