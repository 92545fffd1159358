"""Scores of many sensors at once are those of each detector alone."""

import numpy as np
import pytest

from serving.recent_readings import EMPTY_TAIL, Tail
from serving.vectorized.batch_scoring import (
    ScoringCase,
    ScoringFailure,
    score_cases,
    score_unpacked,
)
from serving.vectorized.packed_detector import DetectorArrays, PackedDetector
from serving.vectorized.runtime import ScoringRuntime

HOUR = 3600.0


def tail_of(detector, values):
    """The training readings."""
    return Tail(detector.profile.last + HOUR * np.arange(1 - len(values), 1), values)


def cases_of(learned, seed):
    """Readings after each sensor's history: absurd ones, frozen ones, gaps, and histories of any length."""
    chance = np.random.default_rng(seed)
    result = []
    for detector, values in learned:
        rows = int(chance.integers(1, 30))
        steps = np.cumsum(np.where(chance.random(rows) < 0.1, 30, 1))
        asked = 20 + chance.normal(0, 0.5, rows)
        asked[chance.random(rows) < 0.1] = chance.choice([1e9, -1e9, 0.0, 35.0])
        if chance.random() < 0.3:
            asked[:] = asked[0]
        past = tail_of(detector, values).newest(int(chance.choice([0, 1, 5, 40, 500])) or 1)
        result.append(
            (Tail(detector.profile.last + HOUR * steps, asked), EMPTY_TAIL if chance.random() < 0.2 else past)
        )
    return result


@pytest.mark.parametrize("seed", range(12))
def test_packed_detectors_score_as_the_fitted_ones(trained_detectors, seed):
    cases = cases_of(trained_detectors, seed)
    runtime = ScoringRuntime()
    models = [PackedDetector.of(DetectorArrays.of(detector), runtime) for detector, _ in trained_detectors]

    together = score_cases([ScoringCase(model, *case) for model, case in zip(models, cases, strict=True)])

    for (detector, _), case, result in zip(trained_detectors, cases, together, strict=True):
        alone = score_unpacked(detector, *case)
        np.testing.assert_allclose(result.scores, alone.scores, atol=1e-7)
        np.testing.assert_allclose(result.averages, alone.averages, rtol=1e-6, atol=1e-6)
        scale = np.abs(case[0].values).max() + 1
        np.testing.assert_allclose(result.deviations / scale, alone.deviations / scale, atol=1e-6)
        assert result.texts == alone.texts
        assert [r and r.code for r in result.reasons] == [r and r.code for r in alone.reasons]


def test_a_score_does_not_depend_on_other_sensors_in_the_request(trained_detectors):
    cases = cases_of(trained_detectors, 99)
    runtime = ScoringRuntime()
    models = [PackedDetector.of(DetectorArrays.of(detector), runtime) for detector, _ in trained_detectors]
    asked = [ScoringCase(model, *case) for model, case in zip(models, cases, strict=True)]

    for alone, result in zip(asked, score_cases(asked), strict=True):
        np.testing.assert_array_equal(score_cases([alone])[0].scores, result.scores)


def test_a_sensor_that_fails_does_not_affect_the_others(trained_detectors, caplog):
    detector, values = trained_detectors[0]
    runtime = ScoringRuntime()
    good, bad = (PackedDetector.of(DetectorArrays.of(detector), runtime) for _ in range(2))
    bad.lofs.update(dict.fromkeys(bad.lofs, "nonsense"))
    case = (Tail(np.array([detector.profile.last + HOUR]), np.array([20.0])), tail_of(detector, values))

    result = score_cases([ScoringCase(good, *case), ScoringCase(bad, *case), ScoringCase(good, *case)])

    assert isinstance(result[1], ScoringFailure)
    assert result[0].scores == result[2].scores
    assert "could not be scored" in caplog.text
