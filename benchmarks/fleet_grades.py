"""How many faults a detector finds where it may alarm as often as any other: its own threshold set aside.

A detector that alarms six times as often finds more; at its own threshold that would pass for skill. Here
every one gets the threshold that serves it best, of those at which the untouched readings alarm no more than
once a day. It need not be the lowest: an alarm lasts until sixteen readings are calm, so that of hourly ones
a dozen alarms far down cover all of two weeks, and a fault among them raises none of its own. Two weeks of
hours have room for two long faults of a kind, so that the faults are drawn several times.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.anomaly.calibration import episodes
from training.anomaly.sequence import seconds_of
from training.evaluation.fault_injection import Scorer, character_of, inject

Floats = NDArray[np.float64]

ALARMS_A_DAY = 1.0
THRESHOLDS = 50  # tried, from the highest score of the untouched readings down
DRAWS = 4  # of the faults' places and sizes


def recall_at_one_alarm_a_day(detector: Scorer, newest: pd.Series, older: pd.Series) -> float:
    """Mean over the kinds of faults, on readings that the detector was not fitted to."""
    values = newest.to_numpy(np.float64)
    usual = detector.score(newest, history=older)
    allowed = ALARMS_A_DAY * len(newest) * detector.step_seconds / 86_400.0
    lowest = lowest_within(usual, allowed)
    levels = np.unique(usual[usual >= lowest])
    thresholds = np.quantile(levels, np.linspace(0, 1, THRESHOLDS), method="nearest")
    character = character_of(values, seconds_of(pd.DatetimeIndex(newest.index)))
    found = []
    for injection in (one for seed in range(DRAWS) for one in inject(values, character, seed=seed)):
        scores = detector.score(pd.Series(injection.values, index=newest.index), history=older)
        found.append([np.mean(injection.found(scores > at, usual > at) or [False]) for at in thresholds])
    return float(np.mean(found, axis=0).max())


def lowest_within(scores: Floats, allowed: float) -> float:
    """The lowest threshold that raises at most so many episodes, coming down from the highest score.

    Further down the count falls again, because all alarms run into one that never ends, which helps nobody.
    """
    threshold = float(scores.max())
    for level in np.unique(scores)[::-1]:
        if episodes(scores > level) > allowed:
            break
        threshold = float(level)
    return threshold
