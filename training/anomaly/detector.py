"""AnomalyDetector: Isolation Forest, LOF and the plain deviation as one calibrated score in [0, 1].

Knows how readings become a score, a verdict and a reason, and how a fitted detector is kept in files.
Leaves features to `features`, the models to `voices`, calibration and the alarm budget to `ensemble`,
words to `reasons`.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from training.anomaly.base_detectors import BaseDetectors, DetectorParameters, fit_base_detectors
from training.anomaly.ensemble import MIN_MEAN_EXCESS, Ensemble, fit_ensemble
from training.anomaly.explanations import explain, severity_of, trailing_statistics
from training.anomaly.extrapolation import extrapolation_reach
from training.anomaly.features import Design
from training.anomaly.profile import Profile, compute_features, fit_profile
from training.anomaly.sequence import ReadingSequence, Times, join_history, to_sequence
from training.anomaly.serialization import load_detector, save_detector
from training.anomaly.split_half import split_half_surprises
from training.common.arrays import Floats
from training.errors import ConfigurationError, DataError, NotTrainable
from training.reasons import Reason, render

Labels = NDArray[np.int64]

MIN_READINGS = 30  # readings to learn from
DAY = 86_400.0  # seconds
MAX_TRAINING_ROWS = 10_000  # newest readings the models learn from; the usual course uses all
# How often a reading counts to the voices whose alarm was called false. After two such episodes the next one
# scores 0.64 to 0.72 instead of 0.68 to 0.79, the same deviation the other way as before; ten times is worse.
DISMISSED_WEIGHT = 6


class Explained(NamedTuple):
    """What a detector finds in readings; one entry per reading, in the order of the request."""

    scores: Floats  # in [0, 1]; NaN where the value is
    reasons: list[Reason | None]  # None where the score is normal
    averages: Floats  # of the readings before
    deviations: Floats


class AnomalyDetector:
    """How odd is each reading of one sensor, given those before it?

    >>> usual = np.sin(np.arange(500) / 5)
    >>> detector = AnomalyDetector().fit(usual)
    >>> bool(detector.score([9.0], history=usual)[0] > 0.9)
    True
    """

    profile: Profile
    base_detectors: BaseDetectors
    ensemble: Ensemble

    def __init__(
        self, parameters: DetectorParameters | None = None, *, threshold: float = 0.5, seed: int = 0
    ) -> None:
        self.parameters = parameters or DetectorParameters()
        self.threshold = threshold
        self.seed = seed

    @property
    def threshold(self) -> float:
        """Scores from here on are anomalies."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not 0.3 <= value <= 0.8:
            raise ConfigurationError(f"A threshold of {value} is outside 0.3 to 0.8; 0.5 is the default.")
        self._threshold = float(value)

    @property
    def step_seconds(self) -> float:
        """The usual time between two readings."""
        return self.profile.step

    def fit(
        self, data: ArrayLike, timestamps: Times = None, *, dismissed: NDArray[np.bool_] | None = None
    ) -> Self:
        """Learn what is usual; infinite and missing values are left out.

        `dismissed` says of each reading whether somebody called an alarm there false: it counts six times.

        Raises:
            NotTrainable: fewer than 30 finite readings.
        """
        sequence = to_sequence(data, timestamps).finite()
        if len(sequence.values) < MIN_READINGS:
            raise NotTrainable(
                f"{len(sequence.values)} finite readings; a detector needs {MIN_READINGS}. Collect more."
            )
        self.profile = fit_profile(sequence.seconds, sequence.values, clocked=sequence.clocked)
        newest = slice(-MAX_TRAINING_ROWS, None)
        recent = replace(sequence, seconds=sequence.seconds[newest], values=sequence.values[newest])
        design = compute_features(self.profile, recent.seconds, recent.values)
        rows = np.arange(len(design.points))
        if dismissed is not None:
            rows = np.repeat(rows, np.where(dismissed[sequence.input_positions[newest]], DISMISSED_WEIGHT, 1))
        self.base_detectors, raw_scores = fit_base_detectors(
            design.select(rows), self.profile, self.parameters, seed=self.seed
        )
        # The scale counts each reading once. Six times, they become the tail that all else is held to, and
        # of other faults none was found any more where ten units for six hours had been called false.
        first_copies = np.append(True, np.diff(rows) > 0)
        self.ensemble = self._fit_ensemble(recent, raw_scores[first_copies])
        return self

    def score(self, data: ArrayLike, timestamps: Times = None, *, history: ArrayLike | None = None) -> Floats:
        """Oddness of each reading in [0, 1]; NaN where the value is; nothing later is looked at.

        `history` are the readings before; without them, what needs a past stays silent.
        """
        sequence = self._sequence(data, timestamps, history)
        scores = self.ensemble.score(self.base_detectors.raw_scores(self._design(sequence)))
        return sequence.in_input_order(scores)

    def explain(self, readings: pd.Series, *, history: ArrayLike | None = None) -> Explained:
        """Scores and reasons of readings, with what was normal before each one."""
        sequence = self._sequence(readings, None, history)
        design = self._design(sequence)
        scores = self.ensemble.score(self.base_detectors.raw_scores(design))
        average, deviation = trailing_statistics(sequence, self.profile)
        reasons: list[Reason | None] = [None] * sequence.input_size
        explained = explain(self.profile, design, sequence.seconds, sequence.values, scores)
        for position, reason in zip(sequence.input_positions.tolist(), explained, strict=True):
            reasons[position] = reason
        return Explained(
            scores=sequence.in_input_order(scores),
            reasons=reasons,
            averages=sequence.in_input_order(average),
            deviations=sequence.in_input_order(deviation),
        )

    def detect(self, readings: pd.Series, *, history: ArrayLike | None = None) -> pd.DataFrame:
        """One row per reading: score, severity, reason in English, and what was normal before it."""
        explained = self.explain(readings, history=history)
        return pd.DataFrame(
            {
                "timestamp": readings.index,
                "value": readings.to_numpy(np.float64),
                "anomaly_score": explained.scores,
                "is_anomaly": explained.scores >= self.threshold,
                "severity": severity_of(explained.scores),
                "reason": [render(reason) if reason else "" for reason in explained.reasons],
                "historical_average": explained.averages,
                "historical_std": explained.deviations,
            }
        )

    def promised_share(self, score: float) -> float:
        """The share of ordinary readings that are to score at least this, for scores from 0.3 to 0.9."""
        return self.ensemble.scales["ensemble"].share_above(score)

    def detect_isolation_forest(self, data: ArrayLike) -> tuple[Labels, Floats]:
        """Labels (-1 odd, 1 usual, at the contamination chosen) and scores of Isolation Forest alone."""
        return self._detect_family("forest", data)

    def detect_lof(self, data: ArrayLike) -> tuple[Labels, Floats]:
        """Labels and scores of LOF alone; all usual where LOF had to be left out (`voices.silent`)."""
        return self._detect_family("density", data)

    def detect_ensemble(self, data: ArrayLike, threshold: float = 0.5) -> tuple[Labels, Floats]:
        """Labels (-1 where the score reaches the threshold) and scores of the whole ensemble."""
        scores = self.score(data)
        return np.where(scores >= threshold, -1, 1), scores

    def calculate_anomaly_threshold(self, data: ArrayLike, percentile: float = 95.0) -> float:
        """The score that this percentage of the readings stays below.

        Raises:
            DataError: none of the readings can be judged, or no percentile.
        """
        scores = self.score(data)
        if not 0 <= percentile <= 100 or not np.isfinite(scores).any():
            raise DataError(
                f"No score is at percentile {percentile:g} of {np.count_nonzero(np.isfinite(scores))} judged "
                "readings; give at least one finite reading and a percentile from 0 to 100."
            )
        return float(np.nanpercentile(scores, percentile))

    def get_anomaly_summary(self, data: ArrayLike) -> dict[str, float | int]:
        """Counts and scores over the readings that could be judged."""
        scores = self.score(data)
        judged = scores[np.isfinite(scores)]
        anomalies = int(np.count_nonzero(judged >= self.threshold))
        return {
            "total_readings": int(scores.size),
            "judged_readings": int(judged.size),
            "anomalies": anomalies,
            "anomaly_share": anomalies / judged.size if judged.size else 0.0,
            "mean_score": float(judged.mean()) if judged.size else 0.0,
            "max_score": float(judged.max()) if judged.size else 0.0,
            "threshold": self.threshold,
        }

    def save(self, folder: Path) -> None:
        """Write the fitted objects as skops files and everything else as `detector.json`."""
        save_detector(self, folder)

    @classmethod
    def load(cls, folder: Path) -> "AnomalyDetector":
        """Read what `save` wrote; scores are the same to the last bit.

        Raises:
            UntrustedModel: a file is missing, altered, of another version, or holds nonsense.
        """
        return load_detector(cls, folder)

    def _sequence(self, data: ArrayLike, timestamps: Times, history: ArrayLike | None) -> ReadingSequence:
        if not hasattr(self, "profile"):
            raise NotTrainable("This detector has learned nothing yet; call fit(readings) first.")
        profile = self.profile
        requested = to_sequence(data, timestamps, step=profile.step, after=profile.last)
        if history is not None:
            before = to_sequence(history, step=profile.step, after=profile.last)
            requested = join_history(before, requested, step=profile.step, context=profile.context)
        return requested if profile.clocked else requested.with_regular_times(profile.step)

    def _fit_ensemble(self, sequence: ReadingSequence, raw_scores: Floats) -> Ensemble:
        """The scale of all voices, for readings as far behind those learned from as the lifetime says."""
        days = float(sequence.seconds[-1] - sequence.seconds[0]) / DAY
        reach = extrapolation_reach(self.parameters.lifetime_days, learned_days=days)
        halves = split_half_surprises(sequence, self.parameters, seed=self.seed) if reach else []
        return fit_ensemble(raw_scores, self.parameters, step=self.profile.step, reach=reach, halves=halves)

    def _design(self, sequence: ReadingSequence) -> Design:
        return compute_features(self.profile, sequence.seconds, sequence.values, first=sequence.history_size)

    def _detect_family(self, family: str, data: ArrayLike) -> tuple[Labels, Floats]:
        sequence = self._sequence(data, None, None)
        if family not in self.ensemble.scales:
            return np.ones(sequence.input_size, np.int64), np.zeros(sequence.input_size)
        raw_scores = self.base_detectors.raw_scores(self._design(sequence))
        # On tied readings nearly all score alike, those seen while learning a hundredth above those held out:
        # LOF called every reading of a flag odd that was zero in 99 of 100.
        conservative_surprise = self.ensemble.surprise(raw_scores - MIN_MEAN_EXCESS[family] / 2, family)
        rarity = self.ensemble.scales[family].rarity.of(conservative_surprise)
        anomalous = sequence.in_input_order(rarity) > -np.log10(self.parameters.contamination)
        return np.where(anomalous, -1, 1), sequence.in_input_order(self.ensemble.score(raw_scores, family))


def create_anomaly_detector(contamination: float = 0.1) -> AnomalyDetector:
    """A detector at its defaults, not yet fitted."""
    return AnomalyDetector(DetectorParameters(contamination=contamination))
