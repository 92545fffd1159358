"""The search of a detector's parameters."""

import numpy as np
import pandas as pd
import pytest

from training.anomaly.detector import AnomalyDetector
from training.anomaly.ensemble import fit_ensemble
from training.anomaly.models.base_detectors import (
    BASE_DETECTORS,
    DetectorParameters,
    family_of,
    fit_base_detectors,
)
from training.anomaly.profile import compute_features, fit_profile
from training.anomaly.sequence import to_sequence
from training.errors import NotTrainable
from training.tuning import detector_search
from training.tuning.detector_search import prepare_trials, shrink_to_default, tune_detector
from training.tuning.study import StudyPlan
from training.tuning.trial_cache import TREE_SIZES, TrialCache

INDEX = pd.date_range("2026-01-01", periods=1200, freq="10min")
READINGS = pd.Series(np.random.default_rng(0).normal(20, 0.5, 1200), index=INDEX)
SHORT_PLAN = StudyPlan(trials=6)


def test_a_search_gives_usable_parameters_and_a_table_of_its_trials():
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


def test_the_result_lies_between_the_defaults_and_the_best_trial():
    best = DetectorParameters(forest_weight=4.0, windows_share=0.9, trees=96)
    moved = shrink_to_default(DetectorParameters(), best)
    assert 1.0 < moved.forest_weight < 2.0
    assert DetectorParameters().windows_share < moved.windows_share < 0.7
    assert moved.trees == 96


def test_a_short_history_keeps_the_defaults():
    assert tune_detector(READINGS[:60], plan=SHORT_PLAN).parameters == DetectorParameters()


def test_too_few_readings_are_refused():
    with pytest.raises(NotTrainable, match="20 finite readings"):
        tune_detector(READINGS[:20], plan=SHORT_PLAN)


def test_a_labelled_anomaly_is_to_be_found_and_not_trained_on():
    changed = READINGS.copy()
    changed.iloc[300:320] += 8
    label = (INDEX[300], INDEX[319], True)
    trials = prepare_trials(changed, alarms_per_day=None, labels=[label], seed=0)
    labelled = [fault for fault in trials.faults if fault.kind == "labelled"]
    assert len(labelled) == 1
    assert labelled[0].rows.stop - labelled[0].rows.start == 20
    kinds = trials.loss(DetectorParameters())[1]
    assert kinds["missed"] < 0.5


def test_an_alarm_in_an_interval_labelled_normal_costs():
    changed = READINGS.copy()
    changed.iloc[1100:1110] += 8
    label = (INDEX[1100], INDEX[1109], False)
    losses = [
        prepare_trials(changed, alarms_per_day=10.0, labels=labels, seed=0).loss(DetectorParameters())[0]
        for labels in ([], [label])
    ]
    assert losses[1] > losses[0] + 0.5


def test_false_alarms_beyond_the_budget_cost():
    changed = READINGS.copy()
    changed.iloc[900:] += np.where(np.arange(300) % 50 < 2, 8.0, 0.0)
    loss, notes = prepare_trials(changed, alarms_per_day=0.1, labels=[], seed=0).loss(DetectorParameters())
    assert notes["excess"] > 0.5
    assert loss > notes["missed"]


def test_the_cache_scores_as_fitted_base_detectors_do():
    """One forest and one neighbour search at the largest sizes serve the smaller ones without a refit."""
    sequence = to_sequence(READINGS)
    profile = fit_profile(sequence.seconds, sequence.values, clocked=True)
    design = compute_features(profile, sequence.seconds, sequence.values)
    held_out_design = design.select(slice(500, 700))
    cache = TrialCache.build(design, held_out_design, profile, seed=0)
    for trees, neighbours in ((96, 10), (96, 40)):
        parameters = DetectorParameters(trees=trees, neighbours=neighbours)
        detectors, held_out = fit_base_detectors(design, profile, parameters, seed=0)
        sizes = {"forest": trees, "density": neighbours, "deviation": 0}
        for part, fitted in (
            (cache.training_scores, held_out),
            (cache.holdout_scores, detectors.raw_scores(held_out_design)),
        ):
            cached = np.column_stack([part[name, sizes[family_of(name)]] for name in BASE_DETECTORS])
            assert cached == pytest.approx(fitted, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("weights", [{}, {"windows_share": 0.8, "deviation_weight": 0.3}])
def test_a_trial_scores_as_the_ensemble_does(weights):
    """Rarities are fitted once per base detector and size, not once per trial; the scores must be equal."""
    parameters = DetectorParameters(trees=TREE_SIZES[-1], **weights)
    sequence = to_sequence(READINGS)
    profile = fit_profile(sequence.seconds, sequence.values, clocked=True)
    design = compute_features(profile, sequence.seconds, sequence.values)
    held_out_design = design.select(slice(500, 700))
    detectors, held_out = fit_base_detectors(design, profile, parameters, seed=0)
    ensemble = fit_ensemble(held_out, parameters, step=profile.step)

    training, holdout = TrialCache.build(design, held_out_design, profile, seed=0).surprise(parameters)

    assert training == pytest.approx(ensemble.surprise(held_out), abs=1e-9)
    assert holdout == pytest.approx(ensemble.surprise(detectors.raw_scores(held_out_design)), abs=1e-9)
