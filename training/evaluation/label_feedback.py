"""Use labels of alarms in training: leave out confirmed anomalies, give weight to dismissed ones, grade both.

Labels also steer the search (`training.tuning.detector_search`); the grades count in
`training.evaluation.gate`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
import pandas as pd

from training.anomaly.detector import AnomalyDetector
from training.anomaly.profile_detector import ProfileDetector
from training.common.arrays import Flags


class LabelledInterval(Protocol):
    """A labelled interval: start and end (both included), and whether it was an anomaly."""

    @property
    def start(self) -> datetime: ...  # noqa: D102

    @property
    def end(self) -> datetime: ...  # noqa: D102

    @property
    def anomalous(self) -> bool: ...  # noqa: D102


def exclude_confirmed_anomalies(values: pd.Series, labels: Iterable[LabelledInterval]) -> pd.Series:
    """The readings outside confirmed anomalies."""
    anomalous = _row_mask(values, labelled_slices(values, labels, anomalous=True))
    return values[~anomalous] if anomalous.any() else values


def fit_with_feedback(
    detector: AnomalyDetector, values: pd.Series, labels: Sequence[LabelledInterval]
) -> AnomalyDetector:
    """Fit a detector without confirmed anomalies; readings of dismissed alarms count several times."""
    training_values = exclude_confirmed_anomalies(values, labels)
    dismissed = labelled_slices(training_values, labels, anomalous=False)
    return detector.fit(
        training_values, dismissed=_row_mask(training_values, dismissed) if dismissed else None
    )


def grade_label_feedback(
    detector: ProfileDetector, values: pd.Series, labels: Sequence[LabelledInterval]
) -> dict[str, float]:
    """How many confirmed anomalies a detector finds, and how many dismissed alarms it repeats.

    Empty where no label overlaps the readings.
    """
    confirmed, dismissed = (
        labelled_slices(values, labels, anomalous=anomalous) for anomalous in (True, False)
    )
    if not confirmed and not dismissed:
        return {}
    alarmed = detector.score(values) >= detector.threshold
    caught, raised = (
        sum(bool(alarmed[rows].any()) for rows in intervals) for intervals in (confirmed, dismissed)
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


def labelled_slices(values: pd.Series, labels: Iterable[LabelledInterval], *, anomalous: bool) -> list[slice]:
    """The rows of each labelled interval that has any."""
    times = pd.DatetimeIndex(values.index)
    slices = []
    for label in labels:
        if label.anomalous is anomalous:
            first = int(times.searchsorted(pd.Timestamp(label.start), side="left"))
            last = int(times.searchsorted(pd.Timestamp(label.end), side="right"))
            if last > first:
                slices.append(slice(first, last))
    return slices


def _row_mask(values: pd.Series, slices: Iterable[slice]) -> Flags:
    flags = np.zeros(len(values), dtype=np.bool_)
    for rows in slices:
        flags[rows] = True
    return flags
