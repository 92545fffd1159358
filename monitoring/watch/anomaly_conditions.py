"""Signs of anomalies: scored readings in the light of the rules.

Knows scores, thresholds and deviations. Which readings are scored, and how, is the detector's.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.alerts.alert import Evidence, Sign
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import AnomalyRules, Direction


@dataclass(frozen=True)
class Scored:
    """One scored reading, as it was kept."""

    at: datetime
    value: float
    score: float
    threshold: float  # of the detector
    usual: float | None
    reason: str
    model_version: str


@dataclass(frozen=True)
class Thresholds:
    """From which score on each severity counts: the alarm budget's part for this sensor."""

    warning: float = 0.0
    danger: float = 0.0


def signs_of_anomalies(
    scored: Sequence[Scored],
    rules: AnomalyRules,
    thresholds: Thresholds,
    *,
    explained: Container[datetime] = frozenset(),
) -> list[Sign]:
    """One sign a reading; `explained` are the times of those that are the instrument's fault.

    Severity 3 above the danger score, 2 from the threshold on, which is the detector's or the budget's,
    whichever is higher.
    """
    return [
        Sign(reading.at, explained=True) if reading.at in explained else _sign(reading, rules, thresholds)
        for reading in scored
        if math.isfinite(reading.score)
    ]


def warning_threshold(reading: Scored, thresholds: Thresholds) -> float:
    """The score from which a reading counts."""
    return max(reading.threshold, thresholds.warning)


def _sign(reading: Scored, rules: AnomalyRules, thresholds: Thresholds) -> Sign:
    warning = warning_threshold(reading, thresholds)
    danger = max(rules.danger_score, thresholds.danger, warning)
    deviation = _deviation(reading, rules.direction)
    counts = deviation >= rules.min_deviation
    lasts = deviation > rules.min_deviation - rules.deadband or counts
    score = reading.score
    reaches = (Severity.DANGER if score > danger else Severity.WARNING if score >= warning else 0) * counts
    softer = score + rules.hysteresis
    keeps = (Severity.DANGER if softer > danger else Severity.WARNING if softer >= warning else 0) * lasts
    evidence = Evidence(
        weight=score,
        value=reading.value,
        score=score,
        threshold=warning,
        reason=reading.reason,
        model_version=reading.model_version,
    )
    return Sign(reading.at, int(reaches), int(max(reaches, keeps)), evidence)


def _deviation(reading: Scored, direction: Direction) -> float:
    """How far from the usual, towards the side that counts; infinite where the usual is not known."""
    if reading.usual is None or not math.isfinite(reading.usual):
        return math.inf
    deviation = reading.value - reading.usual
    if direction is Direction.BOTH:
        return abs(deviation)
    return deviation if direction is Direction.HIGH else -deviation
