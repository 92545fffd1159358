"""The fleet benchmark compares the recall of detectors at equal alarm rates."""

import numpy as np
import pytest

from benchmarks.fleet_recall import lowest_threshold_within
from training.anomaly.calibration import count_episodes


def test_a_threshold_below_all_scores_is_not_used():
    """Below all scores there is one single episode, so a threshold there would detect nothing new."""
    scores = np.full(100, 0.1)
    scores[[10, 40, 70]] = 0.9, 0.8, 0.7

    threshold = lowest_threshold_within(scores, allowed=2.0)

    assert threshold == 0.7
    assert count_episodes(scores > threshold) == 2


@pytest.mark.parametrize("allowed", [0.0, 0.5])
def test_without_an_allowed_alarm_the_threshold_is_the_highest_score(allowed):
    scores = np.random.default_rng(0).random(50)

    assert lowest_threshold_within(scores, allowed) == scores.max()
