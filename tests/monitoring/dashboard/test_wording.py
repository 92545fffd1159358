"""Numbers in words: good and bad are said beside the sensor's own scale."""

from datetime import timedelta

import pytest

from monitoring.dashboard.wording import (
    direction_text,
    drift_verdict_text,
    duration_text,
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


def told(spread=100.0, **changes):
    return {one.label: one for one in forecast_quality(_, {**GOOD, **changes}, "bar", spread)}


def test_a_good_forecaster_is_good_throughout():
    result = told()

    assert {one.weight for one in result.values()} == {0}
    assert result["Skill"].value == "+30 %"
    assert result["MAE"].value == "1 bar"


@pytest.mark.parametrize(("spread", "words"), [(100, "small"), (10, "moderate"), (3, "large")])
def test_an_error_is_small_or_large_beside_the_range_of_the_sensor(spread, words):
    assert told(spread)["MAE"].words.startswith(words)


def test_an_error_of_a_sensor_that_never_moves_is_told_without_a_share():
    assert told(0.0)["MAE"].words == ""


@pytest.mark.parametrize(
    ("measure", "value", "label", "weight", "words"),
    [
        ("skill", -0.1, "Skill", 2, "no better"),
        ("skill", 0.04, "Skill", 1, "hardly better"),
        ("mape", 15.0, "MAPE", 1, "fair"),
        ("mape", 40.0, "MAPE", 2, "poor"),
        ("mape_share_used", 0.5, "MAPE", 1, "rests on 50 %"),
        ("mape_share_used", 0.0, "MAPE", 1, "cannot be said"),
        ("mase", 1.0, "MASE", 1, "like repeating"),
        ("mase", 2.0, "MASE", 2, "worse than repeating"),
        ("coverage", 0.85, "Coverage", 1, "too narrow"),
        ("coverage", 0.5, "Coverage", 2, "too narrow"),
        ("coverage", 1.0, "Coverage", 1, "wider than needed"),
    ],
)
def test_what_is_not_good_is_said_so(measure, value, label, weight, words):
    result = told(**{measure: value})[label]

    assert result.weight == weight
    assert words in result.words


def test_a_measure_that_is_not_known_is_not_told():
    assert forecast_quality(_, {"mae": float("nan")}, "bar", 1.0)[0].label == "MAPE"
    assert "Skill" not in {one.label for one in forecast_quality(_, {}, "bar", 1.0)}


@pytest.mark.parametrize(
    ("score", "weight", "words"),
    [(0.0, 0, "normal"), (0.3, 1, "worth a look"), (0.6, 3, "probably"), (0.9, 4, "certainly")],
)
def test_a_score_means_the_same_on_each_sensor(score, weight, words):
    result = score_text(_, score)

    assert result[0] == weight
    assert words in result[1]


def test_directions_volatility_times_and_kinds_have_words():
    assert direction_text(_, "rising") == "↗ rising"
    assert [volatility_text(_, v, 10.0) for v in (0.1, 2.0, 9.0)] == [
        "hardly moves",
        "moves as usual",
        "swings widely",
    ]
    assert volatility_text(_, 1.0, 0.0) == "hardly moves"
    assert [duration_text(_, timedelta(seconds=s)) for s in (5, 90, 7_200, 172_800)] == [
        "5 s",
        "90 s",
        "2 h",
        "2 d",
    ]
    assert kind_name(Translator("pt"), "forecaster") == "preditor"


def test_every_drift_verdict_has_words_and_the_worse_ones_weigh_more():
    weights = {verdict: drift_verdict_text(_, verdict)[0] for verdict in DriftVerdict}

    assert (
        weights[DriftVerdict.STEADY]
        < weights[DriftVerdict.WITHHELD]
        < weights[DriftVerdict.AGED]
        < weights[DriftVerdict.DRIFTED]
    )


def test_a_version_is_told_by_the_two_grades_that_say_most():
    detector = {"recall_mean": 0.9, "false_alarms_per_day": 0.168, "naive_recall_mean": 0.5}

    assert [value for _label, value, _below in grade_cards(_, Kind.DETECTOR, detector)] == ["90 %", "0.17"]
    assert grade_cards(_, Kind.FORECASTER, {"skill": float("nan")}) == []
