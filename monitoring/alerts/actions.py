"""Actions of operators on an alert: acknowledge, shelve, unshelve, set a verdict, accept a new level.

Pure functions. They are stored, audited and notified in `monitoring.watch.operator_actions`; labels for
training are made in `monitoring.watch.verdict_labels`.
"""

from datetime import datetime, timedelta
from typing import Any

from monitoring.alerts.alert import Alert, AlertEvent, Transition
from monitoring.alerts.kinds import AlertChange, AlertState, AlertVerdict
from training.common.formatting import format_duration
from training.errors import ConfigurationError
from training.reasons import Reason, ReasonCode


def acknowledge(alert: Alert, by: str, at: datetime) -> Transition:
    """Acknowledge an alert; a second time changes nothing.

    Raises:
        ConfigurationError: the alert is closed.
    """
    _require_not_closed(alert, "acknowledged")
    if alert.acknowledged_at is not None:
        return Transition(alert)
    return Transition(alert).with_event(AlertChange.ACKNOWLEDGED, at, by=by, **_acknowledged_fields(by, at))


def shelve(alert: Alert, until: datetime, by: str, at: datetime, *, longest: timedelta) -> Transition:
    """Send no notifications of an alert until a time, at most `longest` from now.

    Raises:
        ConfigurationError: the alert is closed, or the time is in the past or too far in the future.
    """
    _require_not_closed(alert, "shelved")
    if not at < until <= at + longest:
        raise ConfigurationError(
            f"An alert cannot be shelved until {until:%Y-%m-%d %H:%M} UTC: the latest end is "
            f"{at + longest:%Y-%m-%d %H:%M} UTC, {format_duration(longest)} from now, and it must be in the "
            "future. Choose another end, or raise life.longest_shelving."
        )
    if alert.shelved_until == until:
        return Transition(alert)
    reasons = (Reason(ReasonCode.ACTION_SHELVED, {"until": until.isoformat()}),)
    return Transition(alert).with_event(
        AlertChange.SHELVED, at, by=by, reasons=reasons, shelved_until=until, shelved_by=by
    )


def unshelve(alert: Alert, by: str, at: datetime) -> Transition:
    """Send notifications of an alert again.

    Raises:
        ConfigurationError: the alert is not shelved.
    """
    if alert.shelved_until is None:
        raise ConfigurationError(f"Alert {alert.id} is not shelved. See: safeplan alerts show {alert.id}")
    waiting_since = None if alert.acknowledged_at else at
    return Transition(alert).with_event(
        AlertChange.UNSHELVED,
        at,
        by=by,
        shelved_until=None,
        shelved_by=None,
        waiting_since=waiting_since,
        escalations=0,
    )


def set_verdict(
    alert: Alert, verdict: AlertVerdict, by: str, at: datetime, *, note: str | None = None
) -> Transition:
    """Set the verdict of an alert, which also acknowledges it. A later verdict replaces an earlier one."""
    if alert.verdict is verdict and alert.note == note:
        return Transition(alert)
    verdict_fields: dict[str, Any] = {"verdict": verdict, "verdict_by": by, "verdict_at": at, "note": note}
    acknowledged = (
        {} if alert.acknowledged_at or alert.state is AlertState.CLOSED else _acknowledged_fields(by, at)
    )
    reason = Reason(ReasonCode.ACTION_VERDICT, {"verdict": verdict.value})
    if note is not None:
        reason = Reason(ReasonCode.ACTION_VERDICT_NOTE, {"verdict": verdict.value, "note": note})
    return Transition(alert).with_event(
        AlertChange.JUDGED, at, by=by, reasons=(reason,), **verdict_fields, **acknowledged
    )


def accept_level(alert: Alert, by: str, at: datetime) -> Transition:
    """Accept the new level of an alert as the normal one, which closes the alert.

    Raises:
        ConfigurationError: the alert has not settled at a new level.
    """
    if alert.settled is None:
        raise ConfigurationError(
            f"Alert {alert.id} has not settled at a new level. See: safeplan alerts show {alert.id}"
        )
    acknowledged = {} if alert.acknowledged_at else _acknowledged_fields(by, at)
    ended: dict[str, Any] = {
        "state": AlertState.CLOSED,
        "closed_at": at,
        "shelved_until": None,
        "shelved_by": None,
    }
    return Transition(alert).with_event(AlertChange.ACCEPTED, at, by=by, **ended, **acknowledged)


def verdict_and_note(event: AlertEvent) -> tuple[AlertVerdict, str]:
    """The verdict of a JUDGED event and its note."""
    values = event.reasons[0].values
    return AlertVerdict(values["verdict"]), str(values.get("note", ""))


def _acknowledged_fields(by: str, at: datetime) -> dict[str, Any]:
    return {"acknowledged_at": at, "acknowledged_by": by, "waiting_since": None}


def _require_not_closed(alert: Alert, action: str) -> None:
    if alert.state is AlertState.CLOSED:
        raise ConfigurationError(
            f"Alert {alert.id} was closed at {alert.closed_at:%Y-%m-%d %H:%M} UTC and can no longer be "
            f"{action}. A verdict is still possible: safeplan alerts verdict {alert.id}"
        )
