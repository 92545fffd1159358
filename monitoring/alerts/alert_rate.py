"""How often stored scores would have called somebody, from any threshold on.

Knows the life cycle's arithmetic of hold and return for a whole stretch of scores at once: a month of minutes
takes a millisecond. What `life_cycle` does sign by sign, a law holds this to.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from monitoring.alerts.rules import AnomalyRules

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class ScoredPast:
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
    ) -> "ScoredPast":
        """Leave out what no threshold makes a difference for."""
        near = scores + hysteresis >= thresholds
        ends = np.append(False, near[:-1])
        kept = near | ends
        end = (until - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001 (naive UTC)
        return cls(seconds[kept], scores[kept], thresholds[kept], end, days)

    def warnings_per_day(self, level: float, *, rules: AnomalyRules, return_after: timedelta) -> float:
        """Calls a day where scores count from a level on, or from the detector's threshold where higher."""
        lines = np.maximum(self.thresholds, level)
        reaches, keeps = self.scores >= lines, self.scores + rules.hysteresis >= lines
        return self._calls(reaches, keeps, rules.hold, return_after)

    def dangers_per_day(self, level: float, *, rules: AnomalyRules, return_after: timedelta) -> float:
        """Calls a day of severity 3 where it begins above a level, and above the danger score."""
        lines = np.maximum(self.thresholds, max(level, rules.danger_score))
        reaches, keeps = self.scores > lines, self.scores + rules.hysteresis > lines
        return self._calls(reaches, keeps, rules.danger_hold, return_after)

    def _calls(self, reaches: Flags, keeps: Flags, hold: timedelta, return_after: timedelta) -> float:
        found = calls(
            self.seconds,
            reaches,
            keeps,
            hold=hold.total_seconds(),
            return_after=return_after.total_seconds(),
            until=self.until,
        )
        return found / self.days


def calls(
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
    over = np.append(seconds, np.inf)[ends]
    begun = np.append(np.flatnonzero(reaches), seconds.size)
    reached = begun[np.searchsorted(begun[:-1], firsts)]
    since = np.append(seconds, np.inf)[reached]
    held = (reached < ends) & (since + hold < over) & (since + hold <= until)
    # What is odd again before an alert has returned to normal is the same call.
    again = np.append(True, seconds[firsts[1:]] > over[:-1] + return_after)
    return int(np.unique(np.cumsum(again)[held]).size)
