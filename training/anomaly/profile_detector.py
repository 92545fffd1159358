"""ProfileDetector: what every detector of one sensor does with readings, whatever its scores are made of.

Puts readings in order after their history, computes their features by the sensor's profile, and explains the
scores. `detector.AnomalyDetector` scores by an ensemble, `rule_based_detector.RuleBasedDetector` by fixed
rules.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from training.anomaly.explanations import explain, severity_of, trailing_statistics
from training.anomaly.features import Design
from training.anomaly.profile import Profile, compute_features
from training.anomaly.sequence import ReadingSequence, Times, join_history, to_sequence
from training.common.arrays import Flags, Floats
from training.errors import ConfigurationError, NotTrainable
from training.reasons import Reason, render

MIN_READINGS = 30  # of a training


class AnomalyScores(NamedTuple):
    """The scores of one sensor's readings; one entry per reading, in the order of the request."""

    scores: Floats  # in [0, 1]; NaN where the value is
    averages: Floats  # of the readings before
    deviations: Floats
    reasons: Sequence[Reason | None]  # None where the score is normal
    threshold: float

    @property
    def anomalous(self) -> Flags:
        """Which scores reach the threshold."""
        return self.scores >= self.threshold

    @property
    def severities(self) -> NDArray[np.object_]:
        """The severity of each score."""
        return severity_of(self.scores)

    @property
    def texts(self) -> list[str]:
        """The reasons in English, empty where there is none."""
        return [render(reason) if reason else "" for reason in self.reasons]


class ProfileDetector(ABC):
    """Scores how anomalous each reading of one sensor is, given those before it."""

    profile: Profile

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    @property
    def threshold(self) -> float:
        """The lowest score of an anomaly."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not 0.3 <= value <= 0.8:
            raise ConfigurationError(f"threshold {value} is outside 0.3 to 0.8; the default is 0.5.")
        self._threshold = float(value)

    @property
    def step_seconds(self) -> float:
        """The median time between two readings."""
        return self.profile.step

    @abstractmethod
    def promised_share(self, score: float) -> float:
        """The expected share of ordinary readings with at least this score, for scores from 0.3 to 0.9."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model's files."""

    def score(self, data: ArrayLike, timestamps: Times = None, *, history: ArrayLike | None = None) -> Floats:
        """The score of each reading in [0, 1], from it and earlier readings; NaN where the value is.

        `history` are the readings before. Without them, features of windows are 0 and base detectors of
        windows are skipped.
        """
        sequence = self._sequence(data, timestamps, history)
        return sequence.in_input_order(self._scores(sequence, self._design(sequence)))

    def explain(self, readings: pd.Series, *, history: ArrayLike | None = None) -> AnomalyScores:
        """Scores and reasons of readings, with what was normal before each one."""
        sequence = self._sequence(readings, None, history)
        design = self._design(sequence)
        scores = self._scores(sequence, design)
        average, deviation = trailing_statistics(sequence, self.profile)
        reasons: list[Reason | None] = [None] * sequence.input_size
        explained = self._reasons(sequence, design, scores)
        for position, reason in zip(sequence.input_positions.tolist(), explained, strict=True):
            reasons[position] = reason
        return AnomalyScores(
            sequence.in_input_order(scores),
            sequence.in_input_order(average),
            sequence.in_input_order(deviation),
            reasons,
            self.threshold,
        )

    def detect(self, readings: pd.Series, *, history: ArrayLike | None = None) -> pd.DataFrame:
        """One row per reading: score, severity, reason in English, and what was normal before it."""
        explained = self.explain(readings, history=history)
        return pd.DataFrame(
            {
                "timestamp": readings.index,
                "value": readings.to_numpy(np.float64),
                "anomaly_score": explained.scores,
                "is_anomaly": explained.anomalous,
                "severity": explained.severities,
                "reason": explained.texts,
                "historical_average": explained.averages,
                "historical_std": explained.deviations,
            }
        )

    @abstractmethod
    def _scores(self, sequence: ReadingSequence, design: Design) -> Floats:
        """The score of each row of the design, which are the readings after the history."""

    def _reasons(self, sequence: ReadingSequence, design: Design, scores: Floats) -> list[Reason | None]:
        """The reason of each row of the design; None where the score is normal."""
        return explain(self.profile, design, sequence.seconds, sequence.values, scores)

    def _sequence(self, data: ArrayLike, timestamps: Times, history: ArrayLike | None) -> ReadingSequence:
        if not hasattr(self, "profile"):
            raise NotTrainable("this detector is not fitted yet. Call fit(readings) first.")
        profile = self.profile
        requested = to_sequence(data, timestamps, step=profile.step, after=profile.last)
        if history is not None:
            before = to_sequence(history, step=profile.step, after=profile.last)
            requested = join_history(before, requested, step=profile.step, context=profile.context)
        return requested if profile.clocked else requested.with_regular_times(profile.step)

    def _design(self, sequence: ReadingSequence) -> Design:
        return compute_features(self.profile, sequence.seconds, sequence.values, first=sequence.history_size)


def finite_training_sequence(data: ArrayLike, timestamps: Times) -> ReadingSequence:
    """The readings of a training without infinite and missing values.

    Raises:
        NotTrainable: fewer than 30 are left.
    """
    sequence = to_sequence(data, timestamps).finite()
    if len(sequence.values) < MIN_READINGS:
        raise NotTrainable(
            f"{len(sequence.values)} finite readings; a detector needs {MIN_READINGS}. Collect more."
        )
    return sequence
