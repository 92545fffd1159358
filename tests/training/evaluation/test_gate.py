"""The gate: what a challenger must achieve, one condition per row."""

import pytest

from training.evaluation.gate import (
    GateDecision,
    GateSettings,
    decide_fallback,
    evaluate_gate,
)
from training.kinds import GateStatus, Kind
from training.reasons import Reason, ReasonCode, dump_reasons, load_reasons

FORECASTER = {"skill": 0.2, "coverage": 0.95, "mae": 1.0}
DETECTOR = {
    "false_alarms_per_day": 0.5,
    "alarm_budget_per_day": 1.0,
    "judged_days": 12.0,
    "recall_mean": 0.8,
    "naive_recall_mean": 0.6,
}
VERDICTS = {
    "verdicts_confirmed": 2.0,
    "verdicts_confirmed_caught": 2.0,
    "verdicts_false": 4.0,
    "verdicts_false_raised": 3.0,
    "alarms_confirmed": 1.0,
    "alarms_false": 3.0,
}
NAN = float("nan")


def decide(kind, challenger, champion=None, **settings):
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
def test_a_forecaster_must_beat_the_naive_one_hold_its_interval_and_match_the_champion(
    challenger, champion, passes
):
    assert decide(Kind.FORECASTER, challenger, champion).passed is passes


@pytest.mark.parametrize(
    ("challenger", "champion", "passes"),
    [
        ({}, None, True),
        ({"false_alarms_per_day": 3.0}, None, True),
        ({"false_alarms_per_day": 3.1}, None, False),
        ({"false_alarms_per_day": NAN}, None, False),
        # Three alarms in a short backtest are always allowed: 3 in half a day are 6 a day.
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
def test_a_detector_must_keep_its_budget_and_match_the_recall_of_z_score_and_champion(
    challenger, champion, passes
):
    assert decide(Kind.DETECTOR, challenger, champion).passed is passes


@pytest.mark.parametrize(
    ("challenger", "passes"),
    [
        ({}, True),
        ({"verdicts_confirmed_caught": 1.0}, False),
        ({"verdicts_false_raised": 4.0}, False),
        # Lower recall of injected faults is refused, except where fewer dismissed alarms are repeated for it.
        ({"recall_mean": 0.7}, False),
        ({"recall_mean": 0.7, "verdicts_false_raised": 0.0}, True),
        ({"recall_mean": 0.59, "verdicts_false_raised": 0.0}, False),
        ({"recall_mean": 0.7, "verdicts_false_raised": 0.0, "verdicts_confirmed_caught": 1.0}, False),
    ],
)
def test_verdicts_on_alarms_outweigh_injected_faults(challenger, passes):
    assert decide(Kind.DETECTOR, {**VERDICTS, **challenger}, VERDICTS).passed is passes


def test_the_reasons_state_how_many_alarms_of_the_champion_were_confirmed():
    result = str(decide(Kind.DETECTOR, {**VERDICTS, "verdicts_false_raised": 0.0}, VERDICTS))

    assert "finds 2 of 2 confirmed anomalies, champion 2" in result
    assert "repeats 0 of 4 dismissed alarms, champion 3 (1 of its 4 judged alarms were confirmed)" in result


def test_the_record_of_the_champion_is_left_out_where_no_alarm_of_it_was_judged():
    unjudged = {**VERDICTS, "alarms_confirmed": 0.0, "alarms_false": 0.0}

    assert str(decide(Kind.DETECTOR, unjudged, unjudged)).count("judged") == 0


@pytest.mark.parametrize(
    ("settings", "challenger"),
    [({"min_skill": 0.3}, {}), ({"min_coverage": 0.96}, {}), ({"max_error_growth": 0}, {"mae": 1.01})],
)
def test_the_conditions_of_a_forecaster_can_be_set(settings, challenger):
    assert decide(Kind.FORECASTER, challenger, {}).passed
    assert not decide(Kind.FORECASTER, challenger, {}, **settings).passed


@pytest.mark.parametrize(
    ("settings", "challenger"),
    [
        ({"max_alarm_excess": 1}, {"false_alarms_per_day": 1.1}),
        ({"min_recall": 0.81}, {}),
        ({"max_recall_loss": 0}, {"recall_mean": 0.79}),
        ({"max_verdict_cost": 0}, {"recall_mean": 0.7, "verdicts_false_raised": 0.0}),
    ],
)
def test_the_conditions_of_a_detector_can_be_set(settings, challenger):
    assert decide(Kind.DETECTOR, {**VERDICTS, **challenger}, VERDICTS).passed
    assert not decide(Kind.DETECTOR, {**VERDICTS, **challenger}, VERDICTS, **settings).passed


def test_a_refusal_gives_only_the_unmet_conditions():
    result = decide(Kind.FORECASTER, {"coverage": 0.5})

    assert result.status is GateStatus.REFUSED
    assert result.reasons == (Reason(ReasonCode.GATE_COVERAGE, {"coverage": 0.5}),)
    assert str(result) == "refused: 50 % of the readings inside the forecast interval"


def test_a_pass_gives_all_reasons():
    result = decide(Kind.DETECTOR, {})

    assert result.status is GateStatus.PASSED
    assert str(result) == (
        "passed: 0.5 false alarms a day, at most 3 allowed; "
        "finds 80 % of the injected faults, a robust z-score 60 %; no champion to compare with"
    )


def test_reasons_are_joined_by_semicolons():
    reasons = tuple(Reason(ReasonCode.TEXT, {"text": text}) for text in ("too late", "too many alarms"))

    assert str(GateDecision(GateStatus.REFUSED, reasons)) == "refused: too late; too many alarms"


def test_a_metric_that_is_nan_is_a_reason_that_can_be_stored_and_read():
    result = decide(Kind.FORECASTER, {"skill": NAN, "coverage": NAN, "mae": NAN}, {})

    (stored,) = load_reasons(dump_reasons([result.reason]))
    assert str(result) == (
        "refused: skill +nan over the best naive forecast; "
        "nan % of the readings inside the forecast interval; mean error nan, champion 1"
    )
    assert [reason.code for reason in stored.values["reasons"]] == [reason.code for reason in result.reasons]


@pytest.mark.parametrize(("learned", "extrapolated"), [(60.0, False), (10.0, True)])
def test_a_budget_extrapolated_beyond_its_training_window_is_stated(learned, extrapolated):
    result = decide(Kind.DETECTOR, {"learned_days": learned, "lifetime_days": 7.0})

    assert result.passed
    text = "the alarm budget is extrapolated: trained on 10 d, valid for 7 d"
    assert (text in str(result)) is extrapolated


@pytest.mark.parametrize(
    ("recall", "naive", "champion", "passes"),
    [
        (0.0, 0.0, None, False),  # a robust z-score that finds nothing either is no excuse
        (0.0, 0.0, 0.02, False),  # nor is a champion that found 2 %: this replaced it
        (0.29, 0.1, None, False),
        (0.30, 0.1, None, True),
        (0.35, 0.1, 0.02, True),
        (NAN, 0.0, None, False),
    ],
)
def test_a_detector_must_find_the_floor_whatever_the_others_find(recall, naive, champion, passes):
    grades = {"recall_mean": recall, "naive_recall_mean": naive}
    result = decide(Kind.DETECTOR, grades, None if champion is None else {"recall_mean": champion})

    assert result.passed is passes
    codes = {reason.code for reason in result.reasons}
    assert (ReasonCode.GATE_MIN_RECALL in codes) is not passes


@pytest.mark.parametrize(
    ("champion", "serves"),
    [
        (None, True),  # there is none, or it is a fallback itself
        ({"recall_mean": 0.02}, True),
        ({"recall_mean": 0.2}, True),
        ({"recall_mean": 0.29}, False),  # below the floor, and still more than fixed rules find
        ({"recall_mean": 0.5}, False),
    ],
)
def test_the_fallback_serves_unless_the_champion_finds_enough_or_more(champion, serves):
    refused = decide(Kind.DETECTOR, {"recall_mean": 0.0, "naive_recall_mean": 0.0})
    fallback = {"recall_mean": 0.25, "false_alarms_per_day": 0.5}

    decision = decide_fallback(refused, fallback, champion, GateSettings())

    assert (decision is not None) is serves
    if decision is not None:
        assert decision.passed
        assert str(decision) == (
            "rule-based fallback: fixed rules find 25 % of the injected faults, with 0.5 false alarms a day; "
            "the trained detector was refused: finds 0 % of the injected faults, at least 30 % required"
        )
