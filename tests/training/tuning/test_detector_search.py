"""The search for a sensor's detector."""

import numpy as np
import pandas as pd
import pytest

from training.anomaly.base_detectors import BASE_DETECTORS, DetectorParameters, family_of, fit_base_detectors
from training.anomaly.detector import AnomalyDetector
from training.anomaly.ensemble import fit_ensemble
from training.anomaly.features import compute_features, fit_profile
from training.anomaly.sequence import to_sequence
from training.errors import NotTrainable
from training.tuning import detector_search
from training.tuning.detector_search import prepare_trials, shrink_to_default, tune_detector
from training.tuning.study import StudyPlan
from training.tuning.trial_cache import TREE_SIZES, TrialCache

INDEX = pd.date_range("2026-01-01", periods=1200, freq="10min")
READINGS = pd.Series(np.random.default_rng(0).normal(20, 0.5, 1200), index=INDEX)
SHORT_PLAN = StudyPlan(trials=6)


def test_a_study_gives_usable_parameters_and_a_table_of_its_trials():
    tuned = tune_detector(READINGS, plan=SHORT_PLAN, alarms_per_day=0.5)
    assert tuned.parameters.alarms_per_day == 0.5
    assert tuned.loss >= 0
    assert len(tuned.trials) == 6
    assert {"trial", "loss", "forest_weight", "missed", "false_alarms"} <= set(tuned.trials.columns)
    assert np.isfinite(AnomalyDetector(tuned.parameters).fit(READINGS).score(READINGS)).all()


def test_equal_seeds_find_equal_parameters():
    first, second = (tune_detector(READINGS, plan=SHORT_PLAN) for _ in range(2))
    assert first.parameters == second.parameters
    assert first.trials.drop(columns="seconds").equals(second.trials.drop(columns="seconds"))


def test_the_defaults_are_tried_first_and_known_good_parameters_next():
    known_good = {"forest_weight": 2.0, "trees": 96}
    trials = tune_detector(READINGS, plan=SHORT_PLAN, first=[known_good]).trials
    assert trials.forest_weight.iloc[0] == 1.0
    assert trials.forest_weight.iloc[1] == 2.0
    assert trials.trees.iloc[1] == 96


def test_the_defaults_stay_unless_clearly_beaten(monkeypatch):
    monkeypatch.setattr(detector_search, "MIN_IMPROVEMENT", 2.0)
    assert tune_detector(READINGS, plan=SHORT_PLAN).parameters == DetectorParameters()


def test_a_winner_is_believed_in_part():
    winner = DetectorParameters(forest_weight=4.0, windows_share=0.9, trees=96)
    moved = shrink_to_default(DetectorParameters(), winner)
    assert 1.0 < moved.forest_weight < 2.0
    assert DetectorParameters().windows_share < moved.windows_share < 0.7
    assert moved.trees == 96


def test_a_small_history_is_left_at_the_defaults():
    assert tune_detector(READINGS[:60], plan=SHORT_PLAN).parameters == DetectorParameters()


def test_too_few_readings_are_refused():
    with pytest.raises(NotTrainable, match="20 finite readings"):
        tune_detector(READINGS[:20], plan=SHORT_PLAN)


def test_a_labelled_anomaly_is_something_to_find_and_nothing_to_learn():
    odd = READINGS.copy()
    odd.iloc[300:320] += 8
    label = (INDEX[300], INDEX[319], True)
    trials = prepare_trials(odd, alarms_per_day=None, labels=[label], seed=0)
    labelled = [fault for fault in trials.faults if fault.kind == "labelled"]
    assert len(labelled) == 1
    assert labelled[0].rows.stop - labelled[0].rows.start == 20
    kinds = trials.loss(DetectorParameters())[1]
    assert kinds["missed"] < 0.5


def test_an_alarm_that_people_dismissed_costs():
    odd = READINGS.copy()
    odd.iloc[1100:1110] += 8
    label = (INDEX[1100], INDEX[1109], False)
    losses = [
        prepare_trials(odd, alarms_per_day=10.0, labels=labels, seed=0).loss(DetectorParameters())[0]
        for labels in ([], [label])
    ]
    assert losses[1] > losses[0] + 0.5


def test_false_alarms_beyond_the_budget_cost():
    changed = READINGS.copy()
    changed.iloc[900:] += np.where(np.arange(300) % 50 < 2, 8.0, 0.0)
    loss, notes = prepare_trials(changed, alarms_per_day=0.1, labels=[], seed=0).loss(DetectorParameters())
    assert notes["excess"] > 0.5
    assert loss > notes["missed"]


def test_the_workbench_says_what_fitted_voices_say():
    """One forest and one search at the largest sizes serve the smaller ones without a refit."""
    sequence = to_sequence(READINGS)
    profile = fit_profile(sequence.seconds, sequence.values, clocked=True)
    design = compute_features(profile, sequence.seconds, sequence.values)
    judged = design.select(slice(500, 700))
    bench = TrialCache.build(design, judged, profile, seed=0)
    for trees, neighbours in ((96, 10), (96, 40)):
        parameters = DetectorParameters(trees=trees, neighbours=neighbours)
        voices, held_out = fit_base_detectors(design, profile, parameters, seed=0)
        sizes = {"forest": trees, "density": neighbours, "deviation": 0}
        for part, fitted in (
            (bench.training_scores, held_out),
            (bench.holdout_scores, voices.raw_scores(judged)),
        ):
            said = np.column_stack([part[voice, sizes[family_of(voice)]] for voice in BASE_DETECTORS])
            assert said == pytest.approx(fitted, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("weights", [{}, {"windows_share": 0.8, "deviation_weight": 0.3}])
def test_a_trial_scores_as_the_ensemble_does(weights):
    """Rarities are learned once a voice and size, not once a trial; the scores must not know."""
    parameters = DetectorParameters(trees=TREE_SIZES[-1], **weights)
    sequence = to_sequence(READINGS)
    profile = fit_profile(sequence.seconds, sequence.values, clocked=True)
    design = compute_features(profile, sequence.seconds, sequence.values)
    judged = design.select(slice(500, 700))
    voices, held_out = fit_base_detectors(design, profile, parameters, seed=0)
    ensemble = fit_ensemble(held_out, parameters, step=profile.step)

    learned, asked = TrialCache.build(design, judged, profile, seed=0).surprise(parameters)

    assert learned == pytest.approx(ensemble.surprise(held_out), abs=1e-9)
    assert asked == pytest.approx(ensemble.surprise(voices.raw_scores(judged)), abs=1e-9)
