"""Recall of injected faults at an equal number of alarms, whatever a detector's own threshold.

A detector that alarms six times as often finds more; at its own threshold that would pass for skill. Here
every one gets the threshold that serves it best, of those at which the untouched readings alarm no more than
once a day. It need not be the lowest: an alarm lasts until sixteen readings are calm, so that of hourly ones
a dozen alarms far down cover all of two weeks, and a fault among them raises none of its own. Two weeks of
hours have room for two long faults of a kind, so that the faults are drawn several times.
"""

import numpy as np
import pandas as pd

from training.anomaly.calibration import count_episodes
from training.common.arrays import Floats
from training.common.times import epoch_seconds
from training.evaluation.fault_injection import AnomalyScorer, inject_faults, measure_noise

ALARMS_A_DAY = 1.0
THRESHOLDS = 50  # tried, from the highest score of the untouched readings down
FAULT_DRAWS = 4  # of the faults' places and sizes


def recall_at_one_alarm_a_day(detector: AnomalyScorer, newest: pd.Series, older: pd.Series) -> float:
    """Mean over the kinds of faults, on readings that the detector was not fitted to."""
    values = newest.to_numpy(np.float64)
    clean_scores = detector.score(newest, history=older)
    allowed = ALARMS_A_DAY * len(newest) * detector.step_seconds / 86_400.0
    lowest = lowest_threshold_within(clean_scores, allowed)
    levels = np.unique(clean_scores[clean_scores >= lowest])
    thresholds = np.quantile(levels, np.linspace(0, 1, THRESHOLDS), method="nearest")
    character = measure_noise(values, epoch_seconds(pd.DatetimeIndex(newest.index)))
    recalls = []
    for injection in (
        one for seed in range(FAULT_DRAWS) for one in inject_faults(values, character, seed=seed)
    ):
        scores = detector.score(pd.Series(injection.values, index=newest.index), history=older)
        recalls.append(
            [np.mean(injection.detected(scores > at, clean_scores > at) or [False]) for at in thresholds]
        )
    return float(np.mean(recalls, axis=0).max())


def lowest_threshold_within(scores: Floats, allowed: float) -> float:
    """The lowest threshold that raises at most this many episodes, coming down from the highest score.

    Further down the count falls again, because all alarms run into one that never ends, which helps nobody.
    """
    threshold = float(scores.max())
    for level in np.unique(scores)[::-1]:
        if count_episodes(scores > level) > allowed:
            break
        threshold = float(level)
    return threshold
