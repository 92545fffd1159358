"""Charts: what is drawn, where and in which language; names are never markup."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from monitoring.dashboard.chart_elements import LimitCrossing, LimitLine
from monitoring.dashboard.charts import ChartBuilder
from monitoring.dashboard.theme import DARK_PALETTE, LIGHT_PALETTE
from monitoring.i18n.translation import Translator
from tests.support.workspaces import parse_time
from training.data.sensors import Sensor

SENSOR = Sensor(id="PT-1", type="pressure", unit="bar")
TIMES = pd.date_range("2026-01-01", periods=48, freq="h")
HISTORY = pd.DataFrame({"timestamp": TIMES, "value": np.linspace(10, 20, 48)})
AHEAD = pd.DataFrame(
    {
        "timestamps": pd.date_range(TIMES[-1], periods=7, freq="h")[1:],
        "forecasted_values": 21.0,
        "lower_bound": 18.0,
        "upper_bound": 24.0,
    }
)
SCORES = pd.DataFrame(
    {
        "timestamp": TIMES,
        "value": HISTORY["value"],
        "anomaly_score": [0.1] * 47 + [0.95],
        "is_anomaly": [False] * 47 + [True],
        "threshold": 0.5,
        "reason": [None] * 47 + ["<b>far</b> above"],
    }
)


@pytest.fixture(params=[("en", LIGHT_PALETTE), ("pt", DARK_PALETTE)], ids=["en-light", "pt-dark"])
def chart_builder(request):
    language, palette = request.param
    return ChartBuilder(palette, Translator(language))


def names(figure):
    return [trace["name"] for trace in figure["data"]]


def texts(figure):
    return [note["text"] for note in figure["layout"]["annotations"]]


def first(line):
    return line["y"].iloc[0]


def test_every_figure_is_valid_for_plotly(chart_builder):
    """Plotly's own objects refuse unknown names and values."""
    limits = [LimitLine(26.0, "upper limit", 4), LimitLine(400.0, "instrument limit", 1)]
    crossing = LimitCrossing(parse_time("2026-01-03T02:00"), limits[0], "May cross")
    season = pd.DataFrame({"timestamps": pd.date_range("1970-01-05", periods=168, freq="h"), "value": 1.0})
    drawn = [
        chart_builder.forecast(SENSOR, HISTORY, AHEAD, limits=limits, crossings=[crossing]),
        chart_builder.anomalies(SENSOR, HISTORY, SCORES, mean=15.0, deviation=2.0, limits=limits),
        chart_builder.component(season, unit="bar", season="weekly"),
        chart_builder.component(season, unit="bar", season=None),
    ]

    for figure in drawn:
        assert len(go.Figure(figure).to_plotly_json()["data"]) == len(figure["data"])


def test_lines_too_close_for_separate_labels_share_one():
    figure = ChartBuilder(LIGHT_PALETTE, Translator()).anomalies(
        SENSOR, HISTORY, SCORES, mean=15.0, deviation=0.1
    )

    assert "mean ± SD" in texts(figure)
    assert "+1 SD" not in texts(figure)


def test_a_forecast_starts_at_the_newest_reading_with_its_interval(chart_builder):
    figure = chart_builder.forecast(SENSOR, HISTORY, AHEAD)

    measured, upper, lower, expected = figure["data"]
    assert measured["line"]["color"] == chart_builder.palette.history
    assert expected["x"].iloc[0] == measured["x"].iloc[-1]
    assert first(expected) == first(upper) == first(lower) == 20
    assert [line["y"].iloc[-1] for line in (upper, expected, lower)] == [24, 21, 18]
    assert lower["fill"] == "tonexty"
    assert figure["layout"]["yaxis"]["title"]["text"] == "pressure (bar)"


def test_a_forecast_without_readings_is_drawn_alone():
    figure = ChartBuilder(LIGHT_PALETTE, Translator()).forecast(SENSOR, HISTORY.head(0), AHEAD)

    assert len(figure["data"][-1]["x"]) == 6


def test_near_limits_are_lines_and_far_ones_are_labels_at_the_edge():
    near, far = LimitLine(26.0, "upper limit 26 bar", 4), LimitLine(400.0, "instrument limit 400 bar", 1)

    figure = ChartBuilder(LIGHT_PALETTE, Translator()).forecast(SENSOR, HISTORY, AHEAD, limits=[near, far])

    assert "upper limit 26 bar" in texts(figure)
    assert "↑ instrument limit 400 bar" in texts(figure)
    assert 26 < figure["layout"]["yaxis"]["range"][1] < 40


def test_a_crossing_is_marked_at_its_time_and_limit():
    limit = LimitLine(23.0, "upper limit", 4)
    moment = parse_time("2026-01-03T02:00")

    figure = ChartBuilder(LIGHT_PALETTE, Translator(zone="America/Sao_Paulo")).forecast(
        SENSOR, HISTORY, AHEAD, limits=[limit], crossings=[LimitCrossing(moment, limit, "May cross")]
    )

    crossing = figure["data"][-1]
    assert (crossing["name"], crossing["y"], crossing["marker"]["symbol"]) == ("May cross", [23.0], "diamond")
    assert pd.Timestamp(crossing["x"][0]) == pd.Timestamp("2026-01-02T23:00")


def test_anomalies_are_marked_by_shape_with_escaped_reasons(chart_builder):
    figure = chart_builder.anomalies(SENSOR, HISTORY, SCORES, mean=15.0, deviation=2.0)

    markers = figure["data"][1]
    assert (len(markers["x"]), markers["marker"]["symbol"]) == (1, "triangle-up")
    assert markers["customdata"][0][1] == "&lt;b&gt;far&lt;/b&gt; above"
    assert chart_builder.translator("mean") in texts(figure)
    assert chart_builder.translator("threshold") in texts(figure)
    assert figure["data"][2]["yaxis"] == "y2"


def test_a_sensor_without_scores_shows_its_readings():
    figure = ChartBuilder(LIGHT_PALETTE, Translator()).anomalies(
        SENSOR, HISTORY, SCORES.head(0), mean=None, deviation=None
    )

    assert len(figure["data"][0]["x"]) == 48
    assert texts(figure) == []


def test_a_unit_is_never_markup():
    figure = ChartBuilder(LIGHT_PALETTE, Translator()).forecast(
        Sensor(id="X", unit="<i>bar</i>"), HISTORY, AHEAD
    )

    assert "<i>" not in figure["layout"]["yaxis"]["title"]["text"]


def test_a_season_starts_at_midnight_of_the_reader():
    """A maximum at 15:00 UTC is at noon in Sao Paulo."""
    times = pd.date_range("1970-01-01", periods=96, freq="15min")
    turn = pd.DataFrame({"timestamps": times, "value": -np.abs(times.hour - 15.0)})

    figure = ChartBuilder(LIGHT_PALETTE, Translator("pt", "America/Sao_Paulo")).component(
        turn, unit="bar", season="daily"
    )

    line = figure["data"][0]
    assert line["x"].iloc[int(np.argmax(line["y"]))].hour == 12
    assert figure["layout"]["xaxis"]["ticktext"][0] == "00:00"


def test_weekdays_are_in_the_language_of_the_reader():
    times = pd.date_range("1970-01-05", periods=168, freq="h")

    figure = ChartBuilder(LIGHT_PALETTE, Translator("pt")).component(
        pd.DataFrame({"timestamps": times, "value": 1.0}), unit="", season="weekly"
    )

    assert figure["layout"]["xaxis"]["ticktext"][0].startswith("seg")


def test_a_refresh_keeps_the_zoom(chart_builder):
    assert chart_builder.forecast(SENSOR, HISTORY, AHEAD)["layout"]["uirevision"] == "kept"
