"""What people do about an alert: acknowledge it, shelve it, say what it was.

Knows which answer is possible when, as pure functions. Keeping them, and what a verdict teaches, belongs to
`alerts` and `verdicts`.
"""

from datetime import datetime, timedelta
from typing import Any

from monitoring.alerts.alert import Alert, Transition
from monitoring.alerts.kinds import AlertChange, AlertState, AlertVerdict
from training.common.formatting import format_duration
from training.errors import ConfigurationError


def acknowledge(alert: Alert, by: str, at: datetime) -> Transition:
    """Somebody has seen it; twice is once.

    Raises:
        ConfigurationError: it is closed.
    """
    _require_not_closed(alert, "acknowledged")
    if alert.acknowledged_at is not None:
        return Transition(alert)
    return Transition(alert).with_event(AlertChange.ACKNOWLEDGED, at, by=by, **_acknowledged_fields(by, at))


def shelve(alert: Alert, until: datetime, by: str, at: datetime, *, longest: timedelta) -> Transition:
    """Nobody is told of it until then; shelving always ends.

    Raises:
        ConfigurationError: it is closed, or that moment is past or too far away.
    """
    _require_not_closed(alert, "shelved")
    if not at < until <= at + longest:
        raise ConfigurationError(
            f"An alert cannot be shelved until {until:%Y-%m-%d %H:%M} UTC: at most {format_duration(longest)} from "
            f"now on, until {at + longest:%Y-%m-%d %H:%M}. Choose an earlier end, or life.longest_shelving."
        )
    if alert.shelved_until == until:
        return Transition(alert)
    detail = f"until {until:%Y-%m-%d %H:%M} UTC"
    return Transition(alert).with_event(
        AlertChange.SHELVED, at, by=by, detail=detail, shelved_until=until, shelved_by=by
    )


def unshelve(alert: Alert, by: str, at: datetime) -> Transition:
    """It is told again from now on.

    Raises:
        ConfigurationError: it is not shelved.
    """
    if alert.shelved_until is None:
        raise ConfigurationError(f"Alert {alert.id} is not shelved; nothing is to be taken off the shelf.")
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
    """Somebody says what it was; who judges has seen it. A later verdict replaces an earlier one."""
    if alert.verdict is verdict and alert.note == note:
        return Transition(alert)
    verdict_fields: dict[str, Any] = {"verdict": verdict, "verdict_by": by, "verdict_at": at, "note": note}
    acknowledged = (
        {} if alert.acknowledged_at or alert.state is AlertState.CLOSED else _acknowledged_fields(by, at)
    )
    detail = verdict.value if note is None else f"{verdict.value}: {note}"
    return Transition(alert).with_event(
        AlertChange.JUDGED, at, by=by, detail=detail, **verdict_fields, **acknowledged
    )


def _acknowledged_fields(by: str, at: datetime) -> dict[str, Any]:
    return {"acknowledged_at": at, "acknowledged_by": by, "waiting_since": None}


def _require_not_closed(alert: Alert, done: str) -> None:
    if alert.state is AlertState.CLOSED:
        raise ConfigurationError(
            f"Alert {alert.id} was closed at {alert.closed_at:%Y-%m-%d %H:%M} UTC and cannot be {done} any "
            "more. A verdict can still be given: safeplan alerts verdict."
        )
