"""How the fleet's benchmark makes detectors alarm equally often before it compares what they find."""

import numpy as np
import pytest

from benchmarks.fleet_recall import lowest_threshold_within
from training.anomaly.calibration import count_episodes


def test_an_alarm_that_never_ends_is_no_threshold():
    """Below all scores there is one single episode; a threshold there would find nothing new."""
    scores = np.full(100, 0.1)
    scores[[10, 40, 70]] = 0.9, 0.8, 0.7

    threshold = lowest_threshold_within(scores, allowed=2.0)

    assert threshold == 0.7
    assert count_episodes(scores > threshold) == 2


@pytest.mark.parametrize("allowed", [0.0, 0.5])
def test_without_any_alarm_allowed_nothing_alarms(allowed):
    scores = np.random.default_rng(0).random(50)

    assert lowest_threshold_within(scores, allowed) == scores.max()
