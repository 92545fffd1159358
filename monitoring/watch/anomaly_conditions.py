"""Signs of anomalies: scored readings in the light of the rules.

Knows scores, thresholds and deviations. Which readings are scored, and how, is the detector's.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import AnomalyRules, DeviationDirection


@dataclass(frozen=True)
class ScoredReading:
    """One scored reading, as it was kept."""

    at: datetime
    value: float
    score: float
    threshold: float  # of the detector
    usual: float | None
    reason: str
    model_version: str


@dataclass(frozen=True)
class SeverityThresholds:
    """From which score on each severity counts: the alarm budget's part for this sensor."""

    warning: float = 0.0
    danger: float = 0.0


def anomaly_conditions(
    scored: Sequence[ScoredReading],
    rules: AnomalyRules,
    thresholds: SeverityThresholds,
    *,
    explained: Container[datetime] = frozenset(),
) -> list[Condition]:
    """One sign a reading; `explained` are the times of those that are the instrument's fault.

    Severity 3 above the danger score, 2 from the threshold on, which is the detector's or the budget's,
    whichever is higher.
    """
    return [
        Condition(reading.at, explained=True)
        if reading.at in explained
        else _condition(reading, rules, thresholds)
        for reading in scored
        if math.isfinite(reading.score)
    ]


def warning_threshold(reading: ScoredReading, thresholds: SeverityThresholds) -> float:
    """The score from which a reading counts."""
    return max(reading.threshold, thresholds.warning)


def _condition(reading: ScoredReading, rules: AnomalyRules, thresholds: SeverityThresholds) -> Condition:
    warning = warning_threshold(reading, thresholds)
    danger = max(rules.danger_score, thresholds.danger, warning)
    deviation = _deviation(reading, rules.direction)
    deviation_met = deviation >= rules.min_deviation
    deviation_sustained = deviation > rules.min_deviation - rules.deadband or deviation_met
    score = reading.score
    met_severity = (
        Severity.DANGER if score > danger else Severity.WARNING if score >= warning else 0
    ) * deviation_met
    score_with_hysteresis = score + rules.hysteresis
    sustained_severity = (
        Severity.DANGER
        if score_with_hysteresis > danger
        else Severity.WARNING
        if score_with_hysteresis >= warning
        else 0
    ) * deviation_sustained
    evidence = AlertEvidence(
        weight=score,
        value=reading.value,
        score=score,
        threshold=warning,
        reason=reading.reason,
        model_version=reading.model_version,
    )
    return Condition(reading.at, int(met_severity), int(max(met_severity, sustained_severity)), evidence)


def _deviation(reading: ScoredReading, direction: DeviationDirection) -> float:
    """How far from the usual, towards the side that counts; infinite where the usual is not known."""
    if reading.usual is None or not math.isfinite(reading.usual):
        return math.inf
    deviation = reading.value - reading.usual
    if direction is DeviationDirection.BOTH:
        return abs(deviation)
    return deviation if direction is DeviationDirection.HIGH else -deviation
