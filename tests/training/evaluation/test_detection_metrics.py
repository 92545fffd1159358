"""The metrics of the detection benchmark, on cases that can be calculated by hand."""

import numpy as np
import pytest

from benchmarks.detection import strongest_period
from benchmarks.detection_measures import (
    at_budget,
    auc_pr,
    evaluate_threshold,
    false_episodes,
    range_auc_pr,
    soften_labels,
    vus_pr,
)

LABELS = np.zeros(40, bool)
LABELS[20:30] = True


def by_definition(scores: np.ndarray, labels: np.ndarray, buffer: int) -> float:
    """The definition: threshold by threshold, without cumulative sums."""
    events = [(20, 29)]
    soft = soften_labels(labels, events, buffer)
    extended = np.flatnonzero(soft > 0)
    area, before = 0.0, 0.0
    for threshold in np.sort(scores)[::-1]:
        predicted = scores >= threshold
        hits = float(soft[predicted].sum())
        positives = labels.sum() + soft[predicted & ~labels].sum() / 2
        result = min(hits / positives, 1.0) * float(predicted[extended].any())
        area += (result - before) * hits / predicted.sum()
        before = result
    return area


def test_a_perfect_score_has_the_whole_area_without_a_buffer():
    assert range_auc_pr(LABELS.astype(float), LABELS, np.array([0]))[0] == pytest.approx(1.0)


@pytest.mark.parametrize("buffer", [0, 1, 2, 5, 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fast_area_equals_the_definition(seed, buffer):
    scores = np.random.default_rng(seed).normal(size=40) + LABELS
    fast = range_auc_pr(scores, LABELS, np.array([buffer]))[0]
    assert fast == pytest.approx(by_definition(scores, LABELS, buffer))


def test_labels_soften_over_half_a_buffer_on_both_sides():
    soft = soften_labels(LABELS, [(20, 29)], 4)
    assert soft[19] == pytest.approx(np.sqrt(1 - 1 / 4))
    assert soft[18] == pytest.approx(np.sqrt(1 - 2 / 4))
    assert soft[30] == pytest.approx(np.sqrt(1 - 1 / 4))
    assert soft[[17, 31]].tolist() == [0.0, 0.0]
    assert (soft[20:30] == 1).all()


def test_a_late_alarm_counts_more_with_a_buffer():
    late = np.zeros(40)
    late[30:33] = 1.0
    assert vus_pr(late, LABELS, longest_buffer=10) > range_auc_pr(late, LABELS, np.array([0]))[0]


def test_noise_has_the_share_of_anomalies_as_its_area():
    labels = np.tile(LABELS, 100)
    scores = np.random.default_rng(0).normal(size=labels.size)
    assert auc_pr(scores, labels) == pytest.approx(0.25, abs=0.03)


def test_average_precision_treats_ties_as_one():
    assert auc_pr(np.zeros(40), LABELS) == pytest.approx(0.25)
    assert auc_pr(LABELS.astype(float), LABELS) == 1.0


def test_an_event_is_found_only_when_a_twentieth_of_it_is_alarmed():
    labels = np.zeros(200, bool)
    labels[50:150] = True
    scores = np.zeros(200)
    scores[60:64] = 1.0
    assert evaluate_threshold(scores, labels, 0.5).recall == 0.0
    scores[64] = 1.0
    verdict = evaluate_threshold(scores, labels, 0.5)
    assert verdict.recall == 1.0
    assert verdict.delay == 10


def test_a_false_alarm_that_stays_on_is_raised_again():
    alarmed = np.zeros(600, bool)
    alarmed[10:12] = alarmed[100:350] = True
    assert false_episodes(alarmed, np.zeros(600, bool)) == 1 + 3


def test_always_alarming_does_not_pass_the_budget():
    labels = np.zeros(5000, bool)
    labels[2000:2100] = True
    assert at_budget(np.zeros(5000), labels).recall == 0.0
    useful = at_budget(np.where(labels, 1.0, 0.0), labels)
    assert useful.recall == 1.0
    assert useful.false_episodes == 0


def test_the_period_is_the_strongest_peak_within_bounds():
    rows = np.arange(1000)
    assert strongest_period(np.sin(2 * np.pi * rows / 40)) == 40
    assert strongest_period(np.sin(2 * np.pi * rows / 5)) == 10
    assert strongest_period(rows.astype(float)) == 100
