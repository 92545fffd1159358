"""Charts: valid SVG, no anomaly left out, no line across missing values."""

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


def elements(chart, tag):
    """The elements with a tag; fails if the file is not XML."""
    return list(ElementTree.fromstring(chart).iter(f"{SVG}{tag}"))


def forecast_of(values, *, upper=1.0):
    return pd.DataFrame(
        {
            "timestamps": values.index,
            "forecasted_values": values.to_numpy(),
            "lower_bound": values.to_numpy() - 1,
            "upper_bound": values.to_numpy() + upper,
        }
    )


def test_one_anomaly_among_many_readings_is_drawn():
    readings = make_series(20_000)
    normal, anomalous = np.full(20_000, 0.1), np.full(20_000, 0.1)
    anomalous[12_345] = 0.9

    without, with_one = (
        render_scores(readings, scores, 0.5, title="PT-1", unit="bar") for scores in (normal, anomalous)
    )

    assert elements(without, "circle") == []
    assert len(elements(with_one, "circle")) == 2  # among the readings and among the scores
    assert ANOMALY_COLOR in with_one.decode()


@pytest.mark.parametrize("length", [1, MAX_POINTS, MAX_POINTS + 1, 50_000])
def test_thinning_keeps_the_highest_score_and_the_order(length):
    scores = np.random.default_rng(0).random(length)
    scores[length // 3] = np.nan
    scores[length // 2] = 2.0

    positions = _peak_positions(scores)

    assert len(positions) <= MAX_POINTS
    assert length // 2 in positions
    assert (np.diff(positions) > 0).all()


def test_a_forecast_is_drawn_with_its_interval_and_the_actual_readings():
    whole = make_series(200)
    before, after = whole.iloc[:-24], whole.iloc[-24:]

    narrow, wide = (
        render_forecast(before, forecast_of(after, upper=upper), after, title="PT-1 [x] $5", unit="°C")
        for upper in (1.0, 6.0)
    )

    assert len(elements(narrow, "polyline")) == 3
    (band,), (wider,) = elements(narrow, "polygon"), elements(wide, "polygon")
    assert len(band.get("points").split()) == 48
    assert band.get("points") != wider.get("points")


def test_a_reading_at_20_lies_on_the_grid_line_of_20():
    readings = pd.Series(20.0, pd.date_range("2026-01-01", periods=10, freq="h"))
    readings.iloc[3] = 30.0

    chart = render_scores(readings, np.zeros(10), 0.5, title="x")

    (at_twenty,) = (text for text in elements(chart, "text") if text.text == "20")
    first = elements(chart, "polyline")[0].get("points").split()[0]
    assert float(first.split(",")[1]) == pytest.approx(float(at_twenty.get("y")) - 4, abs=0.11)


def test_title_and_unit_are_escaped():
    chart = render_scores(make_series(50), np.zeros(50), 0.5, title='<T> & "co"', unit="m<3>")

    texts = [text.text for text in elements(chart, "text")]
    assert '<T> & "co"' in texts
    assert "m<3>" in texts


@pytest.mark.parametrize("values", [np.zeros(40), np.full(40, 1e9), np.linspace(0, 1e-9, 40)], ids=str)
def test_flat_large_and_tiny_readings_are_elements(values):
    readings = pd.Series(values, pd.date_range("2026-01-01", periods=40, freq="5min"))

    chart = render_scores(readings, np.zeros(40), 0.5, title="x").decode()

    assert "nan" not in chart
    assert "inf" not in chart


def test_a_line_is_interrupted_where_values_are_missing():
    scores = np.zeros(60)
    scores[20:25] = np.nan

    whole, broken = (
        render_scores(make_series(60), values, 0.5, title="x") for values in (np.zeros(60), scores)
    )

    assert len(elements(broken, "polyline")) == len(elements(whole, "polyline")) + 1


def test_charts_of_half_a_second_and_of_ten_years_have_dates():
    for frequency, periods in (("10ms", 50), ("30D", 120)):
        readings = pd.Series(
            np.arange(float(periods)), pd.date_range("2016-01-01", periods=periods, freq=frequency)
        )

        chart = render_scores(readings, np.zeros(periods), 0.5, title="x")

        dates = [text for text in elements(chart, "text") if text.get("text-anchor") == "middle"]
        assert 2 <= len(dates) <= 14
