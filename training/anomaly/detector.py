"""AnomalyDetector: Isolation Forest, LOF and deviation as one calibrated score in [0, 1], with a reason.

Features are computed in `features`, base detectors fitted in `base_detectors` and combined in `ensemble`,
scores calibrated in `calibration`, reasons chosen in `explanations`, files written by `serialization`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.anomaly.ensemble import MIN_MEAN_EXCESS, Ensemble, fit_ensemble
from training.anomaly.extrapolation import extrapolation_reach
from training.anomaly.features import Design
from training.anomaly.models.base_detectors import BaseDetectors, DetectorParameters, fit_base_detectors
from training.anomaly.profile import compute_features, fit_profile
from training.anomaly.profile_detector import ProfileDetector, finite_training_sequence
from training.anomaly.sequence import ReadingSequence, Times
from training.anomaly.serialization import load_detector, save_detector
from training.anomaly.split_half import split_half_surprises
from training.common.arrays import Floats
from training.errors import DataError

Labels = NDArray[np.int64]

DAY = 86_400.0  # seconds
MAX_TRAINING_ROWS = 10_000  # newest readings the base detectors are fitted to; the profile uses all
# How often a reading of a dismissed alarm counts in the base detectors. After two such episodes a similar one
# scores 0.64 to 0.72 instead of 0.68 to 0.79, and the opposite deviation as before; ten times is worse.
DISMISSED_WEIGHT = 6


class AnomalyDetector(ProfileDetector):
    """Scores how anomalous each reading of one sensor is, given those before it.

    >>> training = np.sin(np.arange(500) / 5)
    >>> detector = AnomalyDetector().fit(training)
    >>> bool(detector.score([9.0], history=training)[0] > 0.9)
    True
    """

    base_detectors: BaseDetectors
    ensemble: Ensemble

    def __init__(
        self, parameters: DetectorParameters | None = None, *, threshold: float = 0.5, seed: int = 0
    ) -> None:
        super().__init__(threshold)
        self.parameters = parameters or DetectorParameters()
        self.seed = seed

    def fit(
        self, data: ArrayLike, timestamps: Times = None, *, dismissed: NDArray[np.bool_] | None = None
    ) -> Self:
        """Fit to readings; infinite and missing values are left out.

        `dismissed` marks readings of alarms that somebody dismissed as false: they count six times.

        Raises:
            NotTrainable: fewer than 30 finite readings.
        """
        sequence = finite_training_sequence(data, timestamps)
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
        # The calibration counts each reading once. Counted six times, dismissed readings of ten units for six
        # hours became the tail, and no other fault was found any more.
        first_copies = np.append(True, np.diff(rows) > 0)
        self.ensemble = self._fit_ensemble(recent, raw_scores[first_copies])
        return self

    def promised_share(self, score: float) -> float:
        """The expected share of ordinary readings with at least this score, for scores from 0.3 to 0.9."""
        return self.ensemble.scales["ensemble"].share_above(score)

    def detect_isolation_forest(self, data: ArrayLike) -> tuple[Labels, Floats]:
        """Labels (-1 anomalous, 1 normal, by `contamination`) and scores of Isolation Forest alone."""
        return self._detect_family("forest", data)

    def detect_lof(self, data: ArrayLike) -> tuple[Labels, Floats]:
        """Labels and scores of LOF alone; all normal if LOF was skipped (`base_detectors.skipped`)."""
        return self._detect_family("density", data)

    def detect_ensemble(self, data: ArrayLike, threshold: float = 0.5) -> tuple[Labels, Floats]:
        """Labels (-1 where the score reaches the threshold) and scores of the whole ensemble."""
        scores = self.score(data)
        return np.where(scores >= threshold, -1, 1), scores

    def calculate_anomaly_threshold(self, data: ArrayLike, percentile: float = 95.0) -> float:
        """The score that this percentage of the readings stays below.

        Raises:
            DataError: no reading has a score, or the percentile is outside 0 to 100.
        """
        scores = self.score(data)
        if not 0 <= percentile <= 100 or not np.isfinite(scores).any():
            raise DataError(
                f"there is no percentile {percentile:g} of {np.count_nonzero(np.isfinite(scores))} scores: "
                "give at least one finite reading and a percentile from 0 to 100."
            )
        return float(np.nanpercentile(scores, percentile))

    def get_anomaly_summary(self, data: ArrayLike) -> dict[str, float | int]:
        """Counts and scores of the readings that have a score."""
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
            UntrustedModel: a file is missing, invalid or of another version.
        """
        return load_detector(cls, folder)

    def _scores(self, sequence: ReadingSequence, design: Design) -> Floats:  # noqa: ARG002
        return self.ensemble.score(self.base_detectors.raw_scores(design))

    def _fit_ensemble(self, sequence: ReadingSequence, raw_scores: Floats) -> Ensemble:
        """The calibration for readings as far beyond the training as the lifetime reaches."""
        days = float(sequence.seconds[-1] - sequence.seconds[0]) / DAY
        reach = extrapolation_reach(self.parameters.lifetime_days, learned_days=days)
        halves = split_half_surprises(sequence, self.parameters, seed=self.seed) if reach else []
        return fit_ensemble(raw_scores, self.parameters, step=self.profile.step, reach=reach, halves=halves)

    def _detect_family(self, family: str, data: ArrayLike) -> tuple[Labels, Floats]:
        sequence = self._sequence(data, None, None)
        if family not in self.ensemble.scales:
            return np.ones(sequence.input_size, np.int64), np.zeros(sequence.input_size)
        raw_scores = self.base_detectors.raw_scores(self._design(sequence))
        # Tied readings nearly all have one score, a hundredth higher in training than held out: LOF labelled
        # every reading of a flag anomalous that was zero in 99 of 100.
        conservative_surprise = self.ensemble.surprise(raw_scores - MIN_MEAN_EXCESS[family] / 2, family)
        rarity = self.ensemble.scales[family].rarity.of(conservative_surprise)
        anomalous = sequence.in_input_order(rarity) > -np.log10(self.parameters.contamination)
        return np.where(anomalous, -1, 1), sequence.in_input_order(self.ensemble.score(raw_scores, family))


def create_anomaly_detector(contamination: float = 0.1) -> AnomalyDetector:
    """A detector with default parameters, not fitted yet."""
    return AnomalyDetector(DetectorParameters(contamination=contamination))
