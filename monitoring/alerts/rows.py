"""Alerts between values and table rows.

Knows the columns of `alerts` and `alert_watches`. Knows no SQL; that is `alert_store`'s.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from monitoring.alerts.alert import Alert, AlertEvidence, AlertTopic, PendingAlert, recency_weight
from monitoring.alerts.kinds import AlertState, AlertType, AlertVerdict, Severity
from training.storage.alert_tables import alerts

TOPIC_FIELDS = tuple(field.name for field in fields(AlertTopic))
EVIDENCE_FIELDS = tuple(field.name for field in fields(AlertEvidence) if field.name in alerts.c)
ALERT_FIELDS = tuple(field.name for field in fields(Alert) if field.name not in {"id", "topic", "evidence"})


def alert_to_row(alert: Alert) -> dict[str, Any]:
    """What is kept of an alert, without its id."""
    row = {name: getattr(alert.topic, name) for name in TOPIC_FIELDS}
    row |= {name: getattr(alert.evidence, name) for name in EVIDENCE_FIELDS}
    row |= {name: getattr(alert, name) for name in ALERT_FIELDS}
    verdict = None if alert.verdict is None else alert.verdict.value
    enum_values = {
        "type": alert.topic.type.value,
        "severity": int(alert.severity),
        "state": alert.state.value,
    }
    return row | enum_values | {"verdict": verdict}


def alert_from_row(row: Mapping[str, Any]) -> Alert:
    """The inverse of `row_of`, with the id."""
    fields_of_alert = {name: row[name] for name in ALERT_FIELDS}
    fields_of_alert |= {
        "severity": Severity(row["severity"]),
        "state": AlertState(row["state"]),
        "verdict": None if row["verdict"] is None else AlertVerdict(row["verdict"]),
    }
    topic = AlertTopic(AlertType(row["type"]), *(row[name] for name in TOPIC_FIELDS[1:]))
    evidence = AlertEvidence(weight=_evidence_weight(row), **{name: row[name] for name in EVIDENCE_FIELDS})
    return Alert(topic=topic, evidence=evidence, id=row["id"], **fields_of_alert)


def _evidence_weight(row: Mapping[str, Any]) -> float:
    """What the evidence that is kept weighs, by what it says."""
    if row["probability"] is not None:
        return float(row["probability"])
    if row["score"] is not None or row["type"] == AlertType.DRIFT.value:
        return float(row["score"] or 0.0)
    if row["limit"] is not None and row["value"] is not None:
        return float(abs(row["value"] - row["limit"]))
    return recency_weight(row["last_at"])


def pending_to_row(pending: PendingAlert) -> dict[str, Any]:
    """What is kept of a topic that is watched, beside its key."""
    evidence = (
        None if pending.evidence is None else {k: _to_json(v) for k, v in vars(pending.evidence).items()}
    )
    return {
        "seen": pending.seen,
        "pending": {
            "since": {str(severity): _to_json(since) for severity, since in pending.since.items()},
            "clear_since": _to_json(pending.clear_since),
            "last_at": _to_json(pending.last_at),
            "evidence": evidence,
        },
    }


def pending_from_row(row: Mapping[str, Any]) -> PendingAlert:
    """The inverse of `pending_row`."""
    stored = row["pending"]
    evidence = stored["evidence"]
    if evidence is not None:
        evidence = AlertEvidence(**{**evidence, "crosses_at": _parse_time(evidence["crosses_at"])})
    return PendingAlert(
        since={int(severity): datetime.fromisoformat(since) for severity, since in stored["since"].items()},
        clear_since=_parse_time(stored["clear_since"]),
        last_at=_parse_time(stored["last_at"]),
        seen=row["seen"],
        evidence=evidence,
    )


def _to_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
