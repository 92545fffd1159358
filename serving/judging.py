"""Many sensors' readings judged at once: what batch scoring and the endpoint both go through.

Knows how to put readings to detectors, each in the light of those before it. Leaves where readings come from
to `recent` and the command's store, and what becomes of verdicts to callers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.champions import ServingDetector
from serving.recent import NOTHING, Tail
from training.reasons import severity_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Readings of one sensor to be judged, in order of time, and those before them."""

    detector: ServingDetector
    asked: Tail
    before: Tail = NOTHING


@dataclass(frozen=True)
class Verdicts:
    """One entry a reading asked about."""

    scores: Floats
    averages: Floats
    deviations: Floats
    reasons: Sequence[str]
    threshold: float

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Which scores reach the threshold."""
        return self.scores >= self.threshold

    @property
    def severities(self) -> NDArray[np.object_]:
        """The band of each score."""
        return severity_of(self.scores)


def judge(cases: Sequence[Case]) -> list[Verdicts]:
    """The verdicts of each case."""
    return [_judge(case) for case in cases]


def _judge(case: Case) -> Verdicts:
    model = case.detector.model
    found = model.detect(case.asked.series, history=case.before.series)
    return Verdicts(
        scores=found["anomaly_score"].to_numpy(np.float64),
        averages=found["historical_average"].to_numpy(np.float64),
        deviations=found["historical_std"].to_numpy(np.float64),
        reasons=found["reason"].tolist(),
        threshold=model.threshold,
    )
