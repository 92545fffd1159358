"""Scores of many sensors at once are those of each detector alone."""

import numpy as np
import pytest

from serving.recent_readings import EMPTY_TAIL, Tail
from serving.vectorized.bad_samples import raw_history
from serving.vectorized.batch_scoring import ScoringCase, ScoringFailure, score_cases
from serving.vectorized.packed_detector import DetectorArrays, PackedDetector
from serving.vectorized.runtime import ScoringRuntime
from training.data.physical_range import PhysicalRange

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
        (alone,) = score_cases([ScoringCase(detector, *case)])
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


IN_RANGE = PhysicalRange(0, 300)


@pytest.fixture
def packed(trained_detectors):
    """A packed detector, and the readings of its training with fifty after them: times and values."""
    detector, values = trained_detectors[0]
    readings = np.concatenate([values, 20 + np.random.default_rng(9).normal(0, 0.3, 50).round(3)])
    seconds = detector.profile.last + HOUR * np.arange(1 - len(values), 51)
    return PackedDetector.of(DetectorArrays.of(detector), ScoringRuntime()), seconds, readings


def scores_of(model, seconds, values):
    """The scores of the last fifty readings in one call."""
    asked, before = Tail(seconds[-50:], values[-50:]), Tail(seconds[:-50], values[:-50])
    (result,) = score_cases([ScoringCase(model, asked, before, IN_RANGE)])
    return result


def one_by_one(model, seconds, values):
    """The same, each with the newest readings before it as they are read from the store."""
    scores = []
    for place in range(len(values) - 50, len(values)):
        before = Tail(seconds[:place], values[:place]).newest(raw_history(model.context))
        asked = Tail(seconds[place : place + 1], values[place : place + 1])
        (result,) = score_cases([ScoringCase(model, asked, before, IN_RANGE)])
        scores.append(result.scores[0])
    return np.array(scores)


def with_bad_samples(values):
    """A spike, and later two readings out of range."""
    spoiled = values.copy()
    spoiled[[-45, -30, -29]] = 32.0, 400.0, 400.0
    return spoiled


def test_a_bad_sample_changes_no_score_but_its_own(packed):
    """Each was carried through the windows of the 64 readings after it: danger for half an hour."""
    model, seconds, values = packed
    spoiled = with_bad_samples(values)
    is_bad = (spoiled != values)[-50:]

    result = scores_of(model, seconds, spoiled)
    asked = Tail(seconds[-50:][~is_bad], values[-50:][~is_bad])
    (clean,) = score_cases([ScoringCase(model, asked, Tail(seconds[:-50], values[:-50]))])

    assert (result.scores[is_bad] > 0.9).all()
    np.testing.assert_allclose(result.scores[~is_bad], clean.scores, atol=1e-12)
    np.testing.assert_allclose(result.averages[~is_bad], clean.averages, rtol=1e-9)
    assert result.scores[~is_bad].max() < 0.5


def test_scores_with_bad_samples_are_the_same_one_by_one(packed):
    """What is a spike is known with the reading after it, just when that one is scored."""
    model, seconds, values = packed
    spoiled = with_bad_samples(values)
    spoiled[-10:] += 6  # a step that stays

    np.testing.assert_allclose(
        scores_of(model, seconds, spoiled).scores, one_by_one(model, seconds, spoiled), atol=1e-12
    )


def test_a_step_that_stays_is_anomalous_from_its_first_reading_on(packed):
    model, seconds, values = packed
    values = values.copy()
    values[-25:] += 6

    assert (scores_of(model, seconds, values).scores[25:35] > 0.8).all()


def test_readings_after_a_long_time_out_of_range_are_scored(packed):
    model, seconds, values = packed
    values = values.copy()
    values[:-50] = 400.0

    assert np.isfinite(scores_of(model, seconds, values).scores).all()
