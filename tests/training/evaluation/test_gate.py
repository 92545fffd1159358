"""The gate: what a challenger must show, one condition a row."""

import pytest

from training.evaluation.gate import GateDecision, GateSettings, evaluate_gate
from training.kinds import Kind

FORECASTER = {"skill": 0.2, "coverage": 0.95, "mae": 1.0}
DETECTOR = {
    "false_alarms_per_day": 0.5,
    "alarm_budget_per_day": 1.0,
    "judged_days": 12.0,
    "recall_mean": 0.8,
    "naive_recall_mean": 0.6,
}
NAN = float("nan")


def verdict(kind, challenger, champion=None, **settings):
    good = FORECASTER if kind is Kind.FORECASTER else DETECTOR
    champion = None if champion is None else {**good, **champion}
    return evaluate_gate(kind, {**good, **challenger}, champion, GateSettings(**settings))


@pytest.mark.parametrize(
    ("challenger", "champion", "passes"),
    [
        ({}, None, True),
        ({"skill": 0.0}, None, False),
        ({"skill": -0.1}, None, False),
        ({"skill": NAN}, None, False),
        ({"coverage": 0.79}, None, False),
        ({"coverage": 0.80}, None, True),
        ({"coverage": NAN}, None, False),
        ({"mae": 9.0}, None, True),
        ({"mae": 1.05}, {"mae": 1.0}, True),
        ({"mae": 1.06}, {"mae": 1.0}, False),
        ({"mae": NAN}, {"mae": 1.0}, False),
        ({"mae": 0.5}, {"mae": 1.0}, True),
        ({"skill": -0.1, "mae": 0.1}, {"mae": 1.0}, False),
    ],
)
def test_a_forecaster_must_beat_the_naive_one_hold_its_band_and_not_fall_behind(challenger, champion, passes):
    assert verdict(Kind.FORECASTER, challenger, champion).passed is passes


@pytest.mark.parametrize(
    ("challenger", "champion", "passes"),
    [
        ({}, None, True),
        ({"false_alarms_per_day": 3.0}, None, True),
        ({"false_alarms_per_day": 3.1}, None, False),
        ({"false_alarms_per_day": NAN}, None, False),
        # Three alarms in a short judged window are always allowed: 3 a half day are 6 a day.
        ({"false_alarms_per_day": 6.0, "judged_days": 0.5}, None, True),
        ({"false_alarms_per_day": 6.1, "judged_days": 0.5}, None, False),
        ({"recall_mean": 0.56}, None, True),
        ({"recall_mean": 0.54}, None, False),
        ({"recall_mean": NAN}, None, False),
        ({"recall_mean": 0.76}, {"recall_mean": 0.8}, True),
        ({"recall_mean": 0.74}, {"recall_mean": 0.8}, False),
        ({"recall_mean": 0.9}, {"recall_mean": 0.8}, True),
    ],
)
def test_a_detector_must_keep_its_budget_and_see_what_a_z_score_and_the_champion_see(
    challenger, champion, passes
):
    assert verdict(Kind.DETECTOR, challenger, champion).passed is passes


SAID = {
    "verdicts_confirmed": 2.0,
    "verdicts_confirmed_caught": 2.0,
    "verdicts_false": 4.0,
    "verdicts_false_raised": 3.0,
    "alarms_confirmed": 1.0,
    "alarms_false": 3.0,
}


@pytest.mark.parametrize(
    ("challenger", "passes"),
    [
        ({}, True),
        ({"verdicts_confirmed_caught": 1.0}, False),
        ({"verdicts_false_raised": 4.0}, False),
        # Fewer injected faults are found: that loses, but not where fewer false alarms are raised for it.
        ({"recall_mean": 0.7}, False),
        ({"recall_mean": 0.7, "verdicts_false_raised": 0.0}, True),
        ({"recall_mean": 0.59, "verdicts_false_raised": 0.0}, False),
        ({"recall_mean": 0.7, "verdicts_false_raised": 0.0, "verdicts_confirmed_caught": 1.0}, False),
    ],
)
def test_what_people_said_of_alarms_weighs_more_than_injected_faults(challenger, passes):
    assert verdict(Kind.DETECTOR, {**SAID, **challenger}, SAID).passed is passes


def test_the_reason_tells_how_right_the_champions_alarms_were():
    result = str(verdict(Kind.DETECTOR, {**SAID, "verdicts_false_raised": 0.0}, SAID))

    assert "catches 2 of 2 confirmed anomalies, champion 2" in result
    assert "raises 0 of 4 alarms judged false, champion 3 (1 of its 4 judged alarms were right)" in result


@pytest.mark.parametrize(
    ("settings", "challenger"),
    [({"min_skill": 0.3}, {}), ({"min_coverage": 0.96}, {}), ({"max_error_growth": 0}, {"mae": 1.01})],
)
def test_what_is_asked_of_a_forecaster_can_be_set(settings, challenger):
    assert verdict(Kind.FORECASTER, challenger, {}).passed
    assert not verdict(Kind.FORECASTER, challenger, {}, **settings).passed


def test_a_refusal_gives_only_the_reasons_against():
    result = verdict(Kind.FORECASTER, {"coverage": 0.5})

    assert not result.passed
    assert str(result).startswith("refused: 50% of truths inside the band")
    assert "skill" not in str(result)


def test_a_pass_gives_all_reasons_in_favour():
    result = str(verdict(Kind.DETECTOR, {}))

    assert result.startswith("passed: ")
    assert "0.5 false alarms a day" in result
    assert "robust z-score 60%" in result
    assert "no champion" in result


def test_a_verdict_reads_as_a_sentence():
    assert str(GateDecision(False, ("too late", "too loud"))) == "refused: too late; too loud"


@pytest.mark.parametrize(("learned", "told"), [(60.0, False), (10.0, True)])
def test_a_budget_that_outlives_its_training_is_called_extrapolated(learned, told):
    result = verdict(Kind.DETECTOR, {"learned_days": learned, "lifetime_days": 7.0}, None)
    assert result.passed
    assert ("extrapolated: learned from 10 days to serve 7" in str(result)) is told
