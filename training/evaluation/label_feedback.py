"""What people said about alarms, heeded: what was confirmed is not learned, what was false is learned well.

Knows labelled stretches. Leaves the search, which labels steer as well, to `detector_tuning`, and what the
grades lead to, to `gate`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.anomaly.detector import AnomalyDetector

Flags = NDArray[np.bool_]


class Told(Protocol):
    """What somebody said of a stretch: start and end (both included), and whether it was an anomaly."""

    @property
    def start(self) -> datetime: ...  # noqa: D102

    @property
    def end(self) -> datetime: ...  # noqa: D102

    @property
    def anomalous(self) -> bool: ...  # noqa: D102


def usual(values: pd.Series, labels: Iterable[Told]) -> pd.Series:
    """The readings without those of confirmed anomalies."""
    odd = _rows(values, stretches_of(values, labels, anomalous=True))
    return values[~odd] if odd.any() else values


def learn(detector: AnomalyDetector, values: pd.Series, labels: Sequence[Told]) -> AnomalyDetector:
    """Fit a detector to readings as people spoke of them: what was confirmed is left out, what was called
    false counts several times.
    """
    learned = usual(values, labels)
    dismissed = stretches_of(learned, labels, anomalous=False)
    return detector.fit(learned, dismissed=_rows(learned, dismissed) if dismissed else None)


def grade_verdicts(detector: AnomalyDetector, values: pd.Series, labels: Sequence[Told]) -> dict[str, float]:
    """How a detector stands to what people said: the same stretches for challenger and champion.

    Empty where nobody said anything of these readings.
    """
    confirmed, dismissed = (stretches_of(values, labels, anomalous=said) for said in (True, False))
    if not confirmed and not dismissed:
        return {}
    alarmed = detector.score(values) >= detector.threshold
    caught, raised = (
        sum(bool(alarmed[stretch].any()) for stretch in stretches) for stretches in (confirmed, dismissed)
    )
    grades: dict[str, float] = {
        "verdicts_confirmed": len(confirmed),
        "verdicts_confirmed_caught": caught,
        "verdicts_false": len(dismissed),
        "verdicts_false_raised": raised,
    }
    if caught + raised:
        grades["verdicts_precision"] = caught / (caught + raised)
    return {name: float(value) for name, value in grades.items()}


def stretches_of(values: pd.Series, labels: Iterable[Told], *, anomalous: bool) -> list[slice]:
    """The rows of each labelled stretch that holds any."""
    times = pd.DatetimeIndex(values.index)
    found = []
    for label in labels:
        if label.anomalous is anomalous:
            first = int(times.searchsorted(pd.Timestamp(label.start), side="left"))
            last = int(times.searchsorted(pd.Timestamp(label.end), side="right"))
            if last > first:
                found.append(slice(first, last))
    return found


def _rows(values: pd.Series, stretches: Iterable[slice]) -> Flags:
    flags = np.zeros(len(values), dtype=np.bool_)
    for stretch in stretches:
        flags[stretch] = True
    return flags
