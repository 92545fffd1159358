"""What people do about an alert: acknowledge it, shelve it, say what it was.

Knows which answer is possible when, as pure functions. Keeping them, and what a verdict teaches, belongs to
`alerts` and `verdicts`.
"""

from datetime import datetime, timedelta
from typing import Any

from monitoring.alerts.alert import Alert, Chapter
from monitoring.alerts.kinds import Change, Judgement, State
from training.common.formatting import format_duration
from training.errors import ConfigurationError


def acknowledge(alert: Alert, by: str, at: datetime) -> Chapter:
    """Somebody has seen it; twice is once.

    Raises:
        ConfigurationError: it is closed.
    """
    _alive(alert, "acknowledged")
    if alert.acknowledged_at is not None:
        return Chapter(alert)
    return Chapter(alert).then(Change.ACKNOWLEDGED, at, by=by, **_seen(by, at))


def shelve(alert: Alert, until: datetime, by: str, at: datetime, *, longest: timedelta) -> Chapter:
    """Nobody is told of it until then; shelving always ends.

    Raises:
        ConfigurationError: it is closed, or that moment is past or too far away.
    """
    _alive(alert, "shelved")
    if not at < until <= at + longest:
        raise ConfigurationError(
            f"An alert cannot be shelved until {until:%Y-%m-%d %H:%M} UTC: at most {format_duration(longest)} from "
            f"now on, until {at + longest:%Y-%m-%d %H:%M}. Choose an earlier end, or life.longest_shelving."
        )
    if alert.shelved_until == until:
        return Chapter(alert)
    told = f"until {until:%Y-%m-%d %H:%M} UTC"
    return Chapter(alert).then(Change.SHELVED, at, by=by, detail=told, shelved_until=until, shelved_by=by)


def unshelve(alert: Alert, by: str, at: datetime) -> Chapter:
    """It is told again from now on.

    Raises:
        ConfigurationError: it is not shelved.
    """
    if alert.shelved_until is None:
        raise ConfigurationError(f"Alert {alert.id} is not shelved; nothing is to be taken off the shelf.")
    waiting = None if alert.acknowledged_at else at
    return Chapter(alert).then(
        Change.UNSHELVED, at, by=by, shelved_until=None, shelved_by=None, waiting_since=waiting, escalations=0
    )


def judge(alert: Alert, verdict: Judgement, by: str, at: datetime, *, note: str | None = None) -> Chapter:
    """Somebody says what it was; who judges has seen it. A later verdict replaces an earlier one."""
    if alert.verdict is verdict and alert.note == note:
        return Chapter(alert)
    said: dict[str, Any] = {"verdict": verdict, "verdict_by": by, "verdict_at": at, "note": note}
    seen = {} if alert.acknowledged_at or alert.state is State.CLOSED else _seen(by, at)
    told = verdict.value if note is None else f"{verdict.value}: {note}"
    return Chapter(alert).then(Change.JUDGED, at, by=by, detail=told, **said, **seen)


def _seen(by: str, at: datetime) -> dict[str, Any]:
    return {"acknowledged_at": at, "acknowledged_by": by, "waiting_since": None}


def _alive(alert: Alert, done: str) -> None:
    if alert.state is State.CLOSED:
        raise ConfigurationError(
            f"Alert {alert.id} was closed at {alert.closed_at:%Y-%m-%d %H:%M} UTC and cannot be {done} any "
            "more. A verdict can still be given: safeplan alerts verdict."
        )
