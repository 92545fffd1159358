"""A detector without a model: the robust z-score, which the gate compares detectors with.

Ignores time and history.
"""

from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from training.anomaly.robust_statistics import robust_spread
from training.common.arrays import Floats


class NaiveDetector:
    """Scores by the robust z-score, at a threshold that a given share of the training readings reaches.

    >>> naive = NaiveDetector(alarm_rate=0.1).fit(pd.Series([1.0, 2, 3, 2, 1, 2, 3, 2, 1, 9]))
    >>> naive.score([2.0, 9.0]) >= naive.threshold
    array([False,  True])
    """

    def __init__(self, *, alarm_rate: float, step_seconds: float = 60.0) -> None:
        self.alarm_rate = alarm_rate
        self.step_seconds = step_seconds
        self.threshold = 0.5
        self._centre, self._spread, self._limit = 0.0, 1.0, 1.0

    def fit(self, readings: pd.Series) -> Self:
        """Learn the median, the spread and the distance that the given share of readings exceeds."""
        values = readings.to_numpy(np.float64)
        self._centre = float(np.median(values))
        self._spread = robust_spread(values) or 1e-3 * abs(self._centre) or 1.0
        self._limit = float(np.quantile(self._distance(values), 1 - self.alarm_rate)) or 1e-9
        return self

    def score(self, data: ArrayLike, *, history: ArrayLike | None = None) -> Floats:  # noqa: ARG002
        """distance / (distance + limit), in [0, 1]: 0.5 at the limit."""
        distance = self._distance(np.asarray(data, np.float64))
        scores: Floats = distance / (distance + self._limit)
        return scores

    def _distance(self, values: Floats) -> Floats:
        distance: Floats = np.abs(values - self._centre) / self._spread
        return distance
