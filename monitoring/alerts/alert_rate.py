"""How often stored scores would have called somebody, from any threshold on.

Knows the life cycle's arithmetic of hold and return for a whole stretch of scores at once: a month of minutes
takes a millisecond. What `life_cycle` does sign by sign, a law holds this to.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from monitoring.alerts.rules import AnomalyRules
from training.common.arrays import Flags, Floats

DAY = timedelta(days=1)


@dataclass(frozen=True)
class ScoreHistory:
    """One sensor's scores in order of time, as far as they can be part of an alert, or end one."""

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
        """Leave out what no threshold makes a difference for."""
        near_threshold = scores + hysteresis >= thresholds
        ends = np.append(False, near_threshold[:-1])
        relevant = near_threshold | ends
        end = (until - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001 (naive UTC)
        return cls(seconds[relevant], scores[relevant], thresholds[relevant], end, days)

    def warnings_per_day(self, level: float, *, rules: AnomalyRules, return_after: timedelta) -> float:
        """Calls a day where scores count from a level on, or from the detector's threshold where higher."""
        effective_thresholds = np.maximum(self.thresholds, level)
        raises, sustains = (
            self.scores >= effective_thresholds,
            self.scores + rules.hysteresis >= effective_thresholds,
        )
        return self._alerts_per_day(raises, sustains, rules.hold, return_after)

    def dangers_per_day(self, level: float, *, rules: AnomalyRules, return_after: timedelta) -> float:
        """Calls a day of severity 3 where it begins above a level, and above the danger score."""
        effective_thresholds = np.maximum(self.thresholds, max(level, rules.danger_score))
        raises, sustains = (
            self.scores > effective_thresholds,
            self.scores + rules.hysteresis > effective_thresholds,
        )
        return self._alerts_per_day(raises, sustains, rules.danger_hold, return_after)

    def _alerts_per_day(
        self, reaches: Flags, keeps: Flags, hold: timedelta, return_after: timedelta
    ) -> float:
        alert_count = count_alerts(
            self.seconds,
            reaches,
            keeps,
            hold=hold.total_seconds(),
            return_after=return_after.total_seconds(),
            until=self.until,
        )
        return alert_count / self.days


def count_alerts(
    seconds: Floats, reaches: Flags, keeps: Flags, *, hold: float, return_after: float, until: float
) -> int:
    """How often an alert opens or repeats; times in seconds, `reaches` nowhere without `keeps`.

    >>> odd = np.array([0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1], bool)
    >>> calls(np.arange(11.0), odd, odd, hold=1.5, return_after=2, until=10)
    2
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], keeps, [False]])))
    firsts, ends = edges[::2], edges[1::2]  # stretches that are not over
    if not firsts.size:
        return 0
    end_times = np.append(seconds, np.inf)[ends]
    raise_indices = np.append(np.flatnonzero(reaches), seconds.size)
    reached = raise_indices[np.searchsorted(raise_indices[:-1], firsts)]
    since = np.append(seconds, np.inf)[reached]
    opens = (reached < ends) & (since + hold < end_times) & (since + hold <= until)
    # What is odd again before an alert has returned to normal is the same call.
    is_new_alert = np.append(True, seconds[firsts[1:]] > end_times[:-1] + return_after)
    return int(np.unique(np.cumsum(is_new_alert)[opens]).size)
