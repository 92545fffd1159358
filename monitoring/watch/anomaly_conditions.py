"""Conditions of anomaly alerts: scored readings compared with thresholds and rules.

Readings are scored by the detectors (`training.anomaly`); thresholds are set in `thresholds`.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import AnomalyRules, DeviationDirection
from training.anomaly.normal_band import NormalBand
from training.reasons import Reason


@dataclass(frozen=True)
class ScoredReading:
    """One scored reading as it is stored; of rows of 0.1.0 only the text of the reason."""

    at: datetime
    value: float
    score: float
    threshold: float  # of the detector
    normal: float | None
    reason: str
    model_version: str
    reasons: tuple[Reason, ...] = ()
    deviation: float | None = None  # standard deviation of the readings before, whose mean is `normal`


@dataclass(frozen=True)
class SeverityThresholds:
    """The lowest score that raises each severity: the sensor's share of the alarm budget."""

    warning: float = 0.0
    danger: float = 0.0


def anomaly_conditions(
    scored: Sequence[ScoredReading],
    rules: AnomalyRules,
    thresholds: SeverityThresholds,
    *,
    unit: str = "",
    explained: Container[datetime] = frozenset(),
) -> list[Condition]:
    """One condition per reading; `explained` are the times of readings with an instrument fault.

    Severity 3 above the danger score, 2 from the threshold on: the detector's or the budget's, whichever is
    higher.
    """
    return [
        Condition(reading.at, explained=True, value=reading.value)
        if reading.at in explained
        else _condition(reading, rules, thresholds, unit)
        for reading in scored
        if math.isfinite(reading.score)
    ]


def warning_threshold(reading: ScoredReading, thresholds: SeverityThresholds) -> float:
    """The lowest score that raises a warning."""
    return max(reading.threshold, thresholds.warning)


def _condition(
    reading: ScoredReading, rules: AnomalyRules, thresholds: SeverityThresholds, unit: str
) -> Condition:
    warning = warning_threshold(reading, thresholds)
    danger = max(rules.danger_score, thresholds.danger, warning)
    deviation = _deviation(reading, rules.direction)
    deviation_met = deviation >= rules.min_deviation
    deviation_sustained = deviation > rules.min_deviation - rules.deadband or deviation_met
    met_severity = _severity(reading.score, warning, danger) if deviation_met else 0
    sustained_severity = (
        _severity(reading.score + rules.hysteresis, warning, danger) if deviation_sustained else 0
    )
    # Detectors do not know the unit; in a flood the reason is shown with another sensor's.
    reasons = tuple(Reason(reason.code, {"unit": unit, **reason.values}) for reason in reading.reasons)
    evidence = AlertEvidence(
        weight=reading.score,
        value=reading.value,
        score=reading.score,
        threshold=warning,
        reason="" if reasons else reading.reason,
        model_version=reading.model_version,
        reasons=reasons,
    )
    return Condition(
        reading.at,
        met_severity,
        max(met_severity, sustained_severity),
        evidence,
        value=reading.value,
        band=NormalBand.of(reading.normal, reading.deviation),
    )


def _severity(score: float, warning: float, danger: float) -> int:
    return Severity.DANGER if score > danger else Severity.WARNING if score >= warning else 0


def _deviation(reading: ScoredReading, direction: DeviationDirection) -> float:
    """The deviation from normal in the direction that counts; infinite where normal is not known."""
    if reading.normal is None or not math.isfinite(reading.normal):
        return math.inf
    deviation = reading.value - reading.normal
    if direction is DeviationDirection.BOTH:
        return abs(deviation)
    return deviation if direction is DeviationDirection.HIGH else -deviation
