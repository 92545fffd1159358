"""Figures in words: errors are rated relative to the range of the sensor."""

import pytest

from monitoring.dashboard.wording import (
    direction_text,
    drift_verdict_text,
    forecast_quality,
    grade_cards,
    kind_name,
    score_text,
    volatility_text,
)
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from training.kinds import Kind

_ = Translator()
GOOD = {
    "skill": 0.3,
    "mae": 1.0,
    "rmse": 1.4,
    "mape": 4.0,
    "mape_share_used": 1.0,
    "mase": 0.7,
    "coverage": 0.95,
}


def rate(spread=100.0, **changes):
    return {measure.label: measure for measure in forecast_quality(_, {**GOOD, **changes}, "bar", spread)}


def test_a_good_forecaster_is_rated_good_throughout():
    result = rate()

    assert {measure.weight for measure in result.values()} == {0}
    assert result["Skill"].value == "+30 %"
    assert result["MAE"].value == "1 bar"


@pytest.mark.parametrize(("spread", "words"), [(100, "small"), (10, "moderate"), (3, "large")])
def test_an_error_is_rated_relative_to_the_range_of_the_sensor(spread, words):
    assert rate(spread)["MAE"].rating.startswith(words)


def test_an_error_of_a_constant_sensor_has_no_rating():
    assert rate(0.0)["MAE"].rating == ""


@pytest.mark.parametrize(
    ("measure", "value", "label", "weight", "words"),
    [
        ("skill", -0.1, "Skill", 2, "no better"),
        ("skill", 0.04, "Skill", 1, "slightly better"),
        ("mape", 15.0, "MAPE", 1, "fair"),
        ("mape", 40.0, "MAPE", 2, "poor"),
        ("mape_share_used", 0.5, "MAPE", 1, "from 50 %"),
        ("mape_share_used", 0.0, "MAPE", 1, "undefined"),
        ("mase", 1.0, "MASE", 1, "like repeating"),
        ("mase", 2.0, "MASE", 2, "worse than repeating"),
        ("coverage", 0.85, "Coverage", 1, "too narrow"),
        ("coverage", 0.5, "Coverage", 2, "too narrow"),
        ("coverage", 1.0, "Coverage", 1, "wider than needed"),
    ],
)
def test_a_poor_measure_is_rated_so(measure, value, label, weight, words):
    result = rate(**{measure: value})[label]

    assert result.weight == weight
    assert words in result.rating


def test_an_unknown_measure_is_left_out():
    assert forecast_quality(_, {"mae": float("nan")}, "bar", 1.0)[0].label == "MAPE"
    assert "Skill" not in {measure.label for measure in forecast_quality(_, {}, "bar", 1.0)}


@pytest.mark.parametrize(
    ("score", "weight", "words"),
    [(0.0, 0, "normal"), (0.3, 1, "elevated"), (0.6, 2, "probable"), (0.9, 3, "clear anomaly")],
)
def test_a_score_means_the_same_on_each_sensor(score, weight, words):
    result = score_text(_, score)

    assert result[0] == weight
    assert words in result[1]


def test_directions_and_volatility_have_words():
    assert direction_text(_, "rising") == "↗ rising"
    assert [volatility_text(_, v, 10.0) for v in (0.1, 2.0, 9.0)] == [
        "nearly constant",
        "normal variation",
        "strong variation",
    ]
    assert volatility_text(_, 1.0, 0.0) == "nearly constant"


def test_a_kind_is_named_in_the_language_of_the_reader():
    assert kind_name(_, "forecaster") == "forecaster"
    assert kind_name(Translator("pt"), "forecaster") != "forecaster"


def test_every_drift_verdict_has_words_and_a_severity():
    weights = {verdict: drift_verdict_text(_, verdict)[0] for verdict in DriftVerdict}

    assert (
        weights[DriftVerdict.STEADY]
        < weights[DriftVerdict.WITHHELD]
        < weights[DriftVerdict.AGED]
        < weights[DriftVerdict.DRIFTED]
    )


def test_a_version_shows_its_two_main_measures():
    detector = {"recall_mean": 0.9, "false_alarms_per_day": 0.168, "naive_recall_mean": 0.5}

    assert [value for _label, value, _below in grade_cards(_, Kind.DETECTOR, detector)] == ["90 %", "0.17"]
    assert grade_cards(_, Kind.FORECASTER, {"skill": float("nan")}) == []
