"""What an alert is based on, in sentences that name value and time: for page, messages, reports and commands.

Makes reasons of the readings that the alert keeps; the life cycle that keeps them is in `life_cycle`.
"""

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertType
from monitoring.i18n.translation import Translator
from training.reasons import Reason, ReasonCode, render_all

# These contain the times that matter.
TIMED_CODES = {ReasonCode.INSTRUMENT_NO_DATA, ReasonCode.FLOOD}


def evidence_text(_: Translator, alert: Alert, unit: str | None) -> str:
    """The evidence in the reader's language; `unit` is that of the sensor."""
    return render_all(evidence_reasons(alert), _, unit=unit)


def evidence_reasons(alert: Alert) -> tuple[Reason, ...]:
    """The worst reading with its time, a new level, and the newest reading where that is another one.

    A reading outside the normal band is compared with the band, not with the detector's statistics: an alert
    has one definition of normal.
    """
    return (*_worst(alert), *_settled(alert), *_current(alert))


def _worst(alert: Alert) -> tuple[Reason, ...]:
    evidence, worst, normal = alert.evidence, alert.worst, alert.normal
    if alert.topic.type is AlertType.ANOMALY and worst and normal and worst.value not in normal:
        code = (
            ReasonCode.EVIDENCE_ABOVE_NORMAL
            if worst.value > normal.level
            else ReasonCode.EVIDENCE_BELOW_NORMAL
        )
        values = {"value": worst.value, "time": worst.at.isoformat(), "low": normal.low, "high": normal.high}
        return (Reason(code, values),)
    reasons = evidence.reasons
    if not reasons:
        reasons = (Reason(ReasonCode.TEXT, {"text": evidence.reason}),) if evidence.reason else ()
    if evidence.at is None or not reasons or reasons[0].code in TIMED_CODES:
        return reasons
    return (Reason(ReasonCode.EVIDENCE_AT, {"time": evidence.at.isoformat(), "reason": reasons}),)


def _settled(alert: Alert) -> tuple[Reason, ...]:
    if alert.settled is None or alert.normal is None:
        return ()
    level, since = alert.settled.value, alert.settled.at.isoformat()
    values = {"level": level, "time": since, "before": alert.normal.level}
    return (Reason(ReasonCode.LEVEL_SETTLED, values),)


def _current(alert: Alert) -> tuple[Reason, ...]:
    current, worst = alert.current, alert.evidence.at
    if current is None or worst is None or current.at <= worst:
        return ()
    values = {"value": current.value, "time": current.at.isoformat()}
    return (Reason(ReasonCode.EVIDENCE_CURRENT, values),)
