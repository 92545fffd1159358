"""One status per sensor: the worst of its alerts, limits, instrument, readings, scores and monitoring.

A pure function of `StatusInputs`; `status_loader` reads them. A sensor with an open alert is never normal,
and neither is one whose detector is known to find little: "normal" means that something looked and found
nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import (
    SEVERITY_SYMBOLS,
    AlertState,
    AlertType,
    InstrumentProblem,
    Severity,
)
from monitoring.i18n.translation import Translator
from training.data.physical_range import PhysicalRange
from training.reasons import Reason, ReasonCode, render_all

# A reading further from the mean of the readings before it is outside the normal band: 1 reading in 370 of
# normally distributed ones.
MAX_NORMAL_DEVIATIONS = 3.0


class SensorStatus(StrEnum):
    """What is true of a sensor now, the most urgent first."""

    ALARM = "alarm"  # an alert about the process is open, or a limit is exceeded
    INSTRUMENT_FAULT = "instrument_fault"  # the readings cannot be trusted
    NO_DATA = "no_data"
    DEVIATING = "deviating"  # outside its normal band, without an alarm
    NOT_MONITORED = "not_monitored"  # nothing would notice an anomaly
    WEAKLY_MONITORED = "weakly_monitored"  # by something that is known to find little
    NORMAL = "normal"


class Monitor(StrEnum):
    """What watches a sensor for anomalies."""

    DETECTOR = "detector"
    FALLBACK = "fallback"  # the rule-based detector
    LIMITS = "limits"  # operating limits only
    NOTHING = "nothing"
    UNKNOWN = "unknown"  # the registry cannot be reached


@dataclass(frozen=True)
class Coverage:
    """How well a sensor is monitored: by what, and the share of injected faults that it found at the gate."""

    monitor: Monitor
    version: int | None = None
    recall: float | None = None  # None: not measured
    min_recall: float = 0.0  # below it a detector is weak

    @property
    def is_monitored(self) -> bool:
        """Whether a detector that passed the gate watches the sensor, as far as is known."""
        if self.monitor is Monitor.DETECTOR:
            return self.recall is None or self.recall >= self.min_recall
        return self.monitor is Monitor.UNKNOWN

    @property
    def has_scores(self) -> bool:
        """Whether readings are expected to be scored."""
        return self.monitor in {Monitor.DETECTOR, Monitor.FALLBACK, Monitor.UNKNOWN}

    @property
    def reason(self) -> Reason | None:
        """Why the sensor is not well monitored; None if it is."""
        if self.monitor is Monitor.DETECTOR:
            values = {"recall": self.recall, "required": self.min_recall}
            return None if self.is_monitored else Reason(ReasonCode.STATUS_WEAK_DETECTOR, values)
        if self.monitor is Monitor.FALLBACK and self.recall is not None:
            return Reason(ReasonCode.STATUS_FALLBACK_RECALL, {"recall": self.recall})
        return Reason(COVERAGE_CODES[self.monitor])


COVERAGE_CODES = {
    Monitor.FALLBACK: ReasonCode.STATUS_FALLBACK,
    Monitor.LIMITS: ReasonCode.STATUS_LIMITS_ONLY,
    Monitor.NOTHING: ReasonCode.STATUS_NOT_MONITORED,
    Monitor.UNKNOWN: ReasonCode.STATUS_COVERAGE_UNKNOWN,
}


@dataclass(frozen=True)
class StatusInputs:
    """All that the status of one sensor depends on. Times are naive UTC."""

    now: datetime
    coverage: Coverage
    silent_after: timedelta  # without a reading
    reading_at: datetime | None = None  # of the newest reading, whatever its quality
    value: float | None = None
    is_good: bool = True  # sent with good quality
    step: timedelta | None = None  # normally between two readings
    low: float | None = None  # ends of the instrument's range
    high: float | None = None
    limit_severity: int = 0  # of the limit that the newest reading exceeds
    limit_reason: Reason | None = None
    scored_at: datetime | None = None  # time of the newest reading with a score
    score: float | None = None
    threshold: float | None = None
    average: float | None = None  # of the readings before that one
    deviation: float | None = None
    alerts: tuple[Alert, ...] = ()  # not closed


@dataclass(frozen=True)
class SensorCondition:
    """The status of one sensor with its reasons.

    `severity` orders and colours it on the scale of alerts: 0 normal, 1 information, 2 to 4 as `Severity`.
    """

    status: SensorStatus
    severity: int
    coverage: Coverage
    monitoring: SensorStatus = SensorStatus.NORMAL  # or weakly, or not monitored, whatever else is wrong
    reasons: tuple[Reason, ...] = ()
    since: datetime | None = None
    open_alerts: int = 0

    @property
    def symbol(self) -> str:
        """The symbol of its severity."""
        return SEVERITY_SYMBOLS[self.severity]

    @property
    def rank(self) -> tuple[int, int]:
        """The order of urgency: lower is more urgent."""
        return list(SensorStatus).index(self.status), -self.severity

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        coverage = self.coverage
        return {
            "status": self.status.value,
            "severity": self.severity,
            "reason": render_all(self.reasons),
            "since": self.since,
            "open_alerts": self.open_alerts,
            "monitoring": self.monitoring.value,
            "monitored_by": coverage.monitor.value,
            "detector_version": coverage.version,
            "recall": coverage.recall,
            "monitoring_reason": render_all([coverage.reason] if coverage.reason else []),
        }


def judge_status(inputs: StatusInputs) -> SensorCondition:
    """The most urgent status whose condition is met; the first match in the order of `SensorStatus`."""
    open_alerts = [alert for alert in inputs.alerts if alert.state is AlertState.OPEN]
    judges = (
        _judge_process_alerts,
        _judge_instrument,
        _judge_silence,
        _judge_deviation,
        _judge_coverage,
    )
    for judge in judges:
        condition = judge(inputs, open_alerts)
        if condition is not None:
            return condition
    return _condition(inputs, SensorStatus.NORMAL, 0, open_alerts)


def count_statuses(conditions: Iterable[SensorCondition]) -> dict[SensorStatus, int]:
    """The number of sensors with each status, every status named."""
    counts = dict.fromkeys(SensorStatus, 0)
    for condition in conditions:
        counts[condition.status] += 1
    return counts


def count_monitored(conditions: Iterable[SensorCondition]) -> int:
    """The number of sensors that a detector which passed the gate watches."""
    return sum(condition.monitoring is SensorStatus.NORMAL for condition in conditions)


def status_name(_: Translator, status: SensorStatus) -> str:
    """The name of a status.

    >>> status_name(Translator("pt"), SensorStatus.NO_DATA)
    'sem dados'
    """
    return {
        SensorStatus.ALARM: _("alarm"),
        SensorStatus.INSTRUMENT_FAULT: _("instrument fault"),
        SensorStatus.NO_DATA: _("no data"),
        SensorStatus.DEVIATING: _("deviating"),
        SensorStatus.NOT_MONITORED: _("not monitored"),
        SensorStatus.WEAKLY_MONITORED: _("weakly monitored"),
        SensorStatus.NORMAL: _("normal"),
    }[status]


def _judge_process_alerts(inputs: StatusInputs, open_alerts: list[Alert]) -> SensorCondition | None:
    """An open alert about the process, or a limit exceeded by the newest reading."""
    about_process = [a for a in open_alerts if a.topic.type not in {AlertType.INSTRUMENT, AlertType.DRIFT}]
    severity = max([inputs.limit_severity, *(int(alert.severity) for alert in about_process)])
    if severity == 0:
        return None
    reasons = [] if inputs.limit_reason is None else [inputs.limit_reason]
    since = inputs.reading_at
    if about_process:
        worst = max(about_process, key=lambda alert: (alert.severity, alert.last_at))
        since = min(alert.began_at for alert in about_process)
        reasons += [reason for reason in _alert_reasons(worst) if reason not in reasons]
    return _condition(inputs, SensorStatus.ALARM, severity, open_alerts, reasons, since)


def _judge_instrument(inputs: StatusInputs, open_alerts: list[Alert]) -> SensorCondition | None:
    """An open instrument alert, or a newest reading that the instrument cannot have measured."""
    faults = [
        alert
        for alert in open_alerts
        if alert.topic.type is AlertType.INSTRUMENT and alert.topic.subject != InstrumentProblem.NO_DATA
    ]
    if faults:
        worst = max(faults, key=lambda alert: (alert.severity, alert.last_at))
        since = min(alert.began_at for alert in faults)
        return _condition(
            inputs,
            SensorStatus.INSTRUMENT_FAULT,
            int(worst.severity),
            open_alerts,
            _alert_reasons(worst),
            since,
        )
    reason = _instrument_reason(inputs)
    if reason is None:
        return None
    severity = int(Severity.WARNING)
    return _condition(
        inputs, SensorStatus.INSTRUMENT_FAULT, severity, open_alerts, [reason], inputs.reading_at
    )


def _instrument_reason(inputs: StatusInputs) -> Reason | None:
    value = inputs.value
    if inputs.reading_at is None or value is None:
        return None
    exceeded = PhysicalRange.between(inputs.low, inputs.high).exceeded_end(value)
    if exceeded is not None:
        return Reason(ReasonCode.INSTRUMENT_OUT_OF_RANGE, {"value": value, "limit": exceeded})
    return None if inputs.is_good else Reason(ReasonCode.INSTRUMENT_MARKED_BAD, {"value": value})


def _judge_silence(inputs: StatusInputs, open_alerts: list[Alert]) -> SensorCondition | None:
    """No reading at all, none for too long, or an open alert about that."""
    silent = [alert for alert in open_alerts if alert.topic.subject == InstrumentProblem.NO_DATA]
    severity = max([int(Severity.WARNING), *(int(alert.severity) for alert in silent)])
    if inputs.reading_at is None:
        reason = Reason(ReasonCode.STATUS_NO_READINGS)
        return _condition(inputs, SensorStatus.NO_DATA, severity, open_alerts, [reason])
    if not silent and inputs.now - inputs.reading_at <= inputs.silent_after:
        return None
    values: dict[str, Any] = {"time": inputs.reading_at}
    if inputs.step is None:
        reason = Reason(ReasonCode.STATUS_SILENT_SINCE, values)
    else:
        reason = Reason(ReasonCode.INSTRUMENT_NO_DATA, values | {"step": inputs.step.total_seconds()})
    return _condition(inputs, SensorStatus.NO_DATA, severity, open_alerts, [reason], inputs.reading_at)


def _judge_deviation(inputs: StatusInputs, open_alerts: list[Alert]) -> SensorCondition | None:
    """An anomalous score, a reading outside the normal band, or drift."""
    reasons, since = [], None
    if _is_anomalous(inputs):
        values = {"score": inputs.score, "threshold": inputs.threshold, "time": inputs.scored_at}
        reasons.append(Reason(ReasonCode.STATUS_ANOMALOUS, values))
        since = inputs.scored_at
    size = _deviation_size(inputs)
    if size is not None and abs(size) > MAX_NORMAL_DEVIATIONS:
        code = ReasonCode.STATUS_DEVIATES_ABOVE if size > 0 else ReasonCode.STATUS_DEVIATES_BELOW
        values = {"value": inputs.value, "time": inputs.reading_at, "size": abs(size)}
        reasons.append(Reason(code, values | {"normal": inputs.average}))
        since = since or inputs.reading_at
    drifts = [alert for alert in open_alerts if alert.topic.type is AlertType.DRIFT]
    for alert in drifts[:1]:
        reasons += _alert_reasons(alert)
        since = since or alert.began_at
    if not reasons:
        return None
    severity = int(Severity.WARNING)
    return _condition(inputs, SensorStatus.DEVIATING, severity, open_alerts, reasons, since)


def _is_anomalous(inputs: StatusInputs) -> bool:
    known = inputs.score is not None and inputs.threshold is not None and not _is_unscored(inputs)
    return known and inputs.score >= inputs.threshold  # type: ignore[operator]


def _deviation_size(inputs: StatusInputs) -> float | None:
    """How far the newest reading is from the mean of those before it, in their standard deviations."""
    value, average, deviation = inputs.value, inputs.average, inputs.deviation
    if value is None or average is None or not deviation or _is_unscored(inputs):
        return None
    return (value - average) / deviation


def _judge_coverage(inputs: StatusInputs, open_alerts: list[Alert]) -> SensorCondition | None:
    """Nothing watches the sensor, what should watch it does not score, or it is known to find little."""
    monitoring = _monitoring_status(inputs)
    if monitoring is SensorStatus.NORMAL:
        return None
    coverage, since = inputs.coverage, None
    reason = coverage.reason
    if coverage.has_scores and _is_unscored(inputs):
        since = inputs.scored_at
        values = {} if since is None else {"time": since}
        code = ReasonCode.STATUS_NEVER_SCORED if since is None else ReasonCode.STATUS_UNSCORED_SINCE
        reason = Reason(code, values)
    return _condition(inputs, monitoring, 1, open_alerts, [reason] if reason else [], since)


def _monitoring_status(inputs: StatusInputs) -> SensorStatus:
    """Normal, weakly monitored or not monitored, whatever else is true of the sensor."""
    coverage = inputs.coverage
    if not coverage.has_scores or _is_unscored(inputs):
        return SensorStatus.NOT_MONITORED
    return SensorStatus.NORMAL if coverage.is_monitored else SensorStatus.WEAKLY_MONITORED


def _is_unscored(inputs: StatusInputs) -> bool:
    """Whether the newest score is missing or older than the newest reading by more than a silence."""
    if inputs.scored_at is None or inputs.reading_at is None:
        return True
    return inputs.reading_at - inputs.scored_at > inputs.silent_after


def _alert_reasons(alert: Alert) -> list[Reason]:
    evidence = alert.evidence
    return list(evidence.reasons) or [Reason(ReasonCode.TEXT, {"text": evidence.reason})]


def _condition(
    inputs: StatusInputs,
    status: SensorStatus,
    severity: int,
    open_alerts: list[Alert],
    reasons: Iterable[Reason] = (),
    since: datetime | None = None,
) -> SensorCondition:
    return SensorCondition(
        status,
        severity,
        inputs.coverage,
        _monitoring_status(inputs),
        tuple(reasons),
        since,
        len(open_alerts),
    )
