"""Each anomaly has a reason: the clearest feature that is far from normal, with its numbers."""

import numpy as np
import pytest

from training.anomaly.explanations import explain, severity_of
from training.anomaly.profile import compute_features, fit_profile
from training.reasons import Reason, ReasonCode, dump_reasons, load_reasons, render

STEP = 600.0
TIMES = 1_767_225_600.0 + STEP * np.arange(3000)
NOISE = np.random.default_rng(0).normal(size=3000)
DAILY = 20 + 5 * np.sin(2 * np.pi * TIMES / 86_400)


def reason_of(values: np.ndarray, row: int, *, training: np.ndarray = NOISE, clocked: bool = True) -> Reason:
    """The reason of one row, with a score that asks for one."""
    profile = fit_profile(TIMES, training, clocked=clocked)
    times, scores = TIMES[: len(values)], np.zeros(len(values))
    scores[row] = 0.9
    reasons = explain(profile, compute_features(profile, times, values), times, values, scores)
    assert [place for place, reason in enumerate(reasons) if reason] == [row]
    return reasons[row]


def changed(base: np.ndarray, part: slice, values: np.ndarray | float) -> np.ndarray:
    copy = base.copy()
    copy[part] = values
    return copy


def test_a_level_above_normal():
    reason = reason_of(changed(NOISE[:400], slice(300, 400), 30 + NOISE[300:400]), 390)

    assert reason.code is ReasonCode.LEVEL_ABOVE
    assert reason.values["size"] == pytest.approx(30, rel=0.2)
    assert reason.values["normal"] == pytest.approx(0, abs=0.1)


def test_a_level_below_normal_for_the_time_of_day():
    training = DAILY + 0.3 * NOISE
    peak = int(np.argmax(DAILY[:144])) + 288

    reason = reason_of(changed(training[:400], slice(peak, peak + 1), 16.0), peak, training=training)

    assert reason.code is ReasonCode.PROFILE_BELOW
    assert reason.values["value"] == 16.0
    assert reason.values["normal"] == pytest.approx(25, abs=0.5)


def test_a_frozen_sensor_has_the_duration():
    reason = reason_of(changed(NOISE[:400], slice(300, 400), NOISE[300]), 390)

    assert reason.code is ReasonCode.UNCHANGED_DURATION
    assert reason.values["duration"] == 91 * STEP


def test_a_frozen_sensor_without_times_has_the_number_of_readings():
    reason = reason_of(changed(NOISE[:400], slice(300, 400), NOISE[300]), 390, clocked=False)

    assert reason.code is ReasonCode.UNCHANGED_READINGS
    assert reason.values["readings"] == 91


def test_a_sensor_frozen_for_longer_than_the_context_is_frozen_for_at_least_that():
    reason = reason_of(changed(NOISE[:700], slice(300, 700), NOISE[300]), 690)

    assert reason.code is ReasonCode.UNCHANGED_DURATION_AT_LEAST


def test_more_spread_than_normal():
    reason = reason_of(changed(NOISE[:400], slice(380, 400), 2.5 * NOISE[380:400]), 399)

    assert reason.code in {ReasonCode.SPREAD_HIGH, ReasonCode.COMBINATION}


def test_no_single_feature_is_far_from_normal():
    reason = reason_of(NOISE[:400], 200)

    assert reason.code is ReasonCode.COMBINATION
    assert 0 < reason.values["size"] < 3


def test_reasons_can_be_stored_and_rendered():
    reason = reason_of(changed(NOISE[:400], slice(300, 301), 30.0), 300)

    assert load_reasons(dump_reasons([reason])) == (reason,)
    assert "30 bar" in render(reason, unit="bar")


def test_the_severity_of_a_score():
    scores = np.array([np.nan, 0.0, 0.29, 0.3, 0.6, 0.9])

    assert severity_of(scores).tolist() == ["normal", "normal", "normal", "look", "probable", "certain"]
