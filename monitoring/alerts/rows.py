"""Alerts between values and table rows.

Knows the columns of `alerts` and `alert_watches`. Knows no SQL; that is `alert_store`'s.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from monitoring.alerts.alert import Alert, Evidence, Pending, Topic, heft
from monitoring.alerts.kinds import AlertType, Judgement, Severity, State
from training.storage.alert_tables import alerts

TOPIC = tuple(field.name for field in fields(Topic))
EVIDENCE = tuple(field.name for field in fields(Evidence) if field.name in alerts.c)
OWN = tuple(field.name for field in fields(Alert) if field.name not in {"id", "topic", "evidence"})


def row_of(alert: Alert) -> dict[str, Any]:
    """What is kept of an alert, without its id."""
    said = {name: getattr(alert.topic, name) for name in TOPIC}
    said |= {name: getattr(alert.evidence, name) for name in EVIDENCE}
    said |= {name: getattr(alert, name) for name in OWN}
    verdict = None if alert.verdict is None else alert.verdict.value
    plain = {"type": alert.topic.type.value, "severity": int(alert.severity), "state": alert.state.value}
    return said | plain | {"verdict": verdict}


def alert_of(row: Mapping[str, Any]) -> Alert:
    """The inverse of `row_of`, with the id."""
    own = {name: row[name] for name in OWN}
    own |= {
        "severity": Severity(row["severity"]),
        "state": State(row["state"]),
        "verdict": None if row["verdict"] is None else Judgement(row["verdict"]),
    }
    topic = Topic(AlertType(row["type"]), *(row[name] for name in TOPIC[1:]))
    evidence = Evidence(weight=_weight(row), **{name: row[name] for name in EVIDENCE})
    return Alert(topic=topic, evidence=evidence, id=row["id"], **own)


def _weight(row: Mapping[str, Any]) -> float:
    """What the evidence that is kept weighs, by what it says."""
    if row["probability"] is not None:
        return float(row["probability"])
    if row["score"] is not None or row["type"] == AlertType.DRIFT.value:
        return float(row["score"] or 0.0)
    if row["limit"] is not None and row["value"] is not None:
        return float(abs(row["value"] - row["limit"]))
    return heft(row["last_at"])


def pending_row(pending: Pending) -> dict[str, Any]:
    """What is kept of a topic that is watched, beside its key."""
    evidence = None if pending.evidence is None else {k: _text(v) for k, v in vars(pending.evidence).items()}
    return {
        "seen": pending.seen,
        "pending": {
            "since": {str(severity): _text(since) for severity, since in pending.since.items()},
            "clear_since": _text(pending.clear_since),
            "last_at": _text(pending.last_at),
            "evidence": evidence,
        },
    }


def pending_of(row: Mapping[str, Any]) -> Pending:
    """The inverse of `pending_row`."""
    said = row["pending"]
    evidence = said["evidence"]
    if evidence is not None:
        evidence = Evidence(**{**evidence, "crosses_at": _time(evidence["crosses_at"])})
    return Pending(
        since={int(severity): datetime.fromisoformat(since) for severity, since in said["since"].items()},
        clear_since=_time(said["clear_since"]),
        last_at=_time(said["last_at"]),
        seen=row["seen"],
        evidence=evidence,
    )


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
