"""Alerts a day that stored scores would have raised with any threshold.

Applies hold time and return of `life_cycle` to a whole array of scores at once: a month of one-minute scores
takes a millisecond. A property test checks that the counts equal those of `life_cycle`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from monitoring.alerts.rules import AnomalyRules
from training.common.arrays import Flags, Floats, true_runs
from training.common.times import to_seconds

DAY = timedelta(days=1)


@dataclass(frozen=True)
class ScoreHistory:
    """Those scores of one sensor, in order of time, that can be part of an alert or end one."""

    seconds: Floats
    scores: Floats
    thresholds: Floats  # the detector's, reading by reading
    until: float
    days: float

    @classmethod
    def of(
        cls,
        seconds: Floats,
        scores: Floats,
        thresholds: Floats,
        *,
        hysteresis: float,
        until: datetime,
        days: float,
    ) -> "ScoreHistory":
        """Drop the scores that are below every threshold and end nothing."""
        near_threshold = scores + hysteresis >= thresholds
        ends = np.append(False, near_threshold[:-1])
        relevant = near_threshold | ends
        return cls(seconds[relevant], scores[relevant], thresholds[relevant], to_seconds(until), days)

    def warnings_per_day(self, level: float, *, rules: AnomalyRules, return_after: timedelta) -> float:
        """Alerts a day with a threshold of `level`, or the detector's where that is higher."""
        effective_thresholds = np.maximum(self.thresholds, level)
        raises, sustains = (
            self.scores >= effective_thresholds,
            self.scores + rules.hysteresis >= effective_thresholds,
        )
        return self._alerts_per_day(raises, sustains, rules.hold, return_after)

    def dangers_per_day(self, level: float, *, rules: AnomalyRules, return_after: timedelta) -> float:
        """Alerts a day of severity 3 with a threshold of `level`, at least the danger score."""
        effective_thresholds = np.maximum(self.thresholds, max(level, rules.danger_score))
        raises, sustains = (
            self.scores > effective_thresholds,
            self.scores + rules.hysteresis > effective_thresholds,
        )
        return self._alerts_per_day(raises, sustains, rules.danger_hold, return_after)

    def _alerts_per_day(
        self, met: Flags, sustained: Flags, hold: timedelta, return_after: timedelta
    ) -> float:
        alert_count = count_alerts(
            self.seconds,
            met,
            sustained,
            hold=hold.total_seconds(),
            return_after=return_after.total_seconds(),
            until=self.until,
        )
        return alert_count / self.days


def count_alerts(
    seconds: Floats, met: Flags, sustained: Flags, *, hold: float, return_after: float, until: float
) -> int:
    """How often an alert opens or repeats; times in seconds, `met` implies `sustained`.

    >>> met = np.array([0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1], bool)
    >>> count_alerts(np.arange(11.0), met, met, hold=1.5, return_after=2, until=10)
    2
    """
    firsts, lasts = true_runs(sustained)
    if not firsts.size:
        return 0
    ends = lasts + 1
    end_times = np.append(seconds, np.inf)[ends]
    raise_indices = np.append(np.flatnonzero(met), seconds.size)
    reached = raise_indices[np.searchsorted(raise_indices[:-1], firsts)]
    since = np.append(seconds, np.inf)[reached]
    opens = (reached < ends) & (since + hold < end_times) & (since + hold <= until)
    # A condition that is met again before the alert has returned to normal continues it.
    is_new_alert = np.append(True, seconds[firsts[1:]] > end_times[:-1] + return_after)
    return int(np.unique(np.cumsum(is_new_alert)[opens]).size)
