"""The fleet page: order, reasons in the reader's language, escaping, charts."""

import html
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from monitoring.drift.champion_data import ChampionReadings
from monitoring.drift.compare_frames import compare, to_readings
from monitoring.drift.report.charts import render_sparkline
from monitoring.drift.report.html_page import render_fleet_page
from monitoring.drift.result import DriftCheckResult
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from tests.monitoring.drift.test_store import CHECK, NOON
from tests.support.drift_series import split_window
from training.data.sensors import Sensor
from training.kinds import Kind
from training.reasons import render_all


def one(sensor_id="PT-1", verdict=DriftVerdict.DRIFTED, *, cost=1.0, name="", **changes):
    window, rest = split_window()
    check = replace(CHECK, sensor_id=sensor_id, verdict=verdict, cost=cost, **changes)
    champion = SimpleNamespace(version=SimpleNamespace(kind=Kind.DETECTOR, name="pt-1-detector", number=3))
    view = ChampionReadings(to_readings(window), to_readings(rest), to_readings(rest), 3600.0, ())
    return DriftCheckResult(Sensor(id=sensor_id, name=name), champion, view, compare(window, rest), check)


def page(*checked, history=(), links=None, language="en"):
    return render_fleet_page(checked, history, links or {}, now=NOON, words=Translator(language)).decode()


def test_the_page_counts_models_and_sensors_by_verdict():
    reported = page(one("A"), one("B"), one("C", DriftVerdict.STEADY))

    assert "<b>2</b>drifted models<small>2 sensors</small>" in reported
    assert "3 models of 3 sensors" in reported


def test_the_costliest_drift_comes_first_and_missing_data_after_it():
    reported = page(one("LOW", cost=0.1), one("HIGH", cost=5.0), one("MUTE", DriftVerdict.NO_DATA, cost=9.0))

    assert reported.index(">HIGH<") < reported.index(">LOW<") < reported.index(">MUTE<")


def test_a_drift_has_a_reason_an_advice_and_an_onset():
    reported = page(one())

    assert "level moved by +2.1 bar (1.9 SDs)" in reported
    assert "recalibrate" in reported
    assert "2026-02-28 12:00" in reported


def test_reasons_and_advice_are_in_the_language_of_the_page():
    reported = page(one(), language="pt")

    reasons = render_all((*CHECK.reasons, *CHECK.advice_reasons), Translator("pt"))
    assert html.escape(render_all(CHECK.reasons, Translator("pt"))) in reported
    assert reasons != render_all((*CHECK.reasons, *CHECK.advice_reasons))
    assert '<html lang="pt">' in reported


def test_a_check_of_0_1_0_shows_its_stored_text():
    assert "level moved by 2.1 bar" in page(one(reasons=()))


def test_a_report_is_linked():
    reported = page(one(), links={("PT-1", "ANOMALY_DETECTOR"): "pt-1-detector.html"})

    assert '<a href="pt-1-detector.html">detector v3</a>' in reported


def test_steady_models_are_collapsed():
    reported = page(one(verdict=DriftVerdict.STEADY))

    assert "<summary>1 steady model</summary>" in reported
    assert "<h2>Models that need attention, the highest cost first</h2>\n<p>None.</p>" in reported


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_texts_are_escaped(evil):
    reported = page(one(evil, name=evil, reason=evil, advice=evil, model_version=evil))

    assert evil not in reported


def test_each_past_check_is_a_bar():
    history = [replace(CHECK, checked_at=NOON - timedelta(days=day)) for day in range(3)]

    reported = page(one(), history=history)

    assert reported.count(": 1 drifted</title>") == 3


def test_a_single_check_has_no_history():
    assert "Past checks" not in page(one(), history=[CHECK])


def test_recent_accuracy_of_the_models_is_shown():
    reported = page(one(quality={"forecasts": 24, "mase": 0.81, "coverage": 0.95, "stale": True}))

    assert "0.81" in reported
    assert "stale" in reported


def test_a_sparkline_marks_the_new_readings_and_the_onset():
    window, rest = split_window()
    begun = rest.index[10].to_pydatetime()

    drawn = ET.fromstring(render_sparkline(to_readings(window), to_readings(rest), begun=begun))

    shaded, line = drawn.find("rect"), drawn.find("line")
    assert 0 < int(shaded.get("x")) < int(line.get("x1")) < int(drawn.get("width"))


def test_a_sparkline_keeps_a_spike_of_one_reading():
    times = pd.date_range("2026-01-01", periods=20_000, freq="min")
    values = pd.Series(np.zeros(len(times)), times)
    values.iloc[12_345] = 1.0

    drawn = ET.fromstring(render_sparkline(to_readings(values[:15_000]), to_readings(values[15_000:])))

    heights = {float(point.split(",")[1]) for point in drawn.find("polyline").get("points").split()}
    assert len(heights) > 1


def test_one_sensor_of_two_models_is_counted_once():
    detector, forecaster = one("A"), one("A", model_type="FORECASTER")

    assert "2 models of 1 sensor." in page(detector, forecaster)


def test_the_page_of_many_steady_models_is_small():
    checked = [one(f"PT-{number}", DriftVerdict.STEADY) for number in range(20)]

    assert len(page(*checked)) < 20 * 1_000 + 5_000
