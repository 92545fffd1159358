"""Convert alerts and pending alerts to and from rows of `alerts` and `alert_watches`.

The SQL is in `store` and `watch_store`.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from monitoring.alerts.alert import Alert, AlertEvidence, AlertTopic, PendingAlert, Recovery, recency_weight
from monitoring.alerts.kinds import AlertState, AlertType, AlertVerdict, Severity
from monitoring.alerts.levels import LevelMemory, ObservedReading
from training.anomaly.normal_band import NormalBand
from training.data.limits import LimitKind
from training.reasons import dump_reasons, load_reasons
from training.storage.alert_tables import alerts

TOPIC_FIELDS = tuple(field.name for field in fields(AlertTopic))
EVIDENCE_FIELDS = tuple(field.name for field in fields(AlertEvidence) if field.name in alerts.c)
ALERT_FIELDS = tuple(field.name for field in fields(Alert) if field.name != "id" and field.name in alerts.c)


def alert_to_row(alert: Alert) -> dict[str, Any]:
    """The columns of an alert, without its id."""
    row = {name: getattr(alert.topic, name) for name in TOPIC_FIELDS}
    row |= {name: getattr(alert.evidence, name) for name in EVIDENCE_FIELDS}
    row |= {name: getattr(alert, name) for name in ALERT_FIELDS}
    verdict = None if alert.verdict is None else alert.verdict.value
    enum_values = {
        "type": alert.topic.type.value,
        "severity": int(alert.severity),
        "state": alert.state.value,
    }
    settled = alert.settled
    return (
        row
        | enum_values
        | {
            "verdict": verdict,
            "reason_data": dump_reasons(alert.evidence.reasons),
            "settled_at": None if settled is None else settled.at,
            "settled_level": None if settled is None else settled.value,
            "observed": _observed_to_json(alert),
        }
    )


def alert_from_row(row: Mapping[str, Any]) -> Alert:
    """The inverse of `alert_to_row`, with the id."""
    fields_of_alert = {name: row[name] for name in ALERT_FIELDS}
    fields_of_alert |= {
        "severity": Severity(row["severity"]),
        "state": AlertState(row["state"]),
        "verdict": None if row["verdict"] is None else AlertVerdict(row["verdict"]),
    }
    topic = AlertTopic(AlertType(row["type"]), *(row[name] for name in TOPIC_FIELDS[1:]))
    observed = row["observed"] or {}
    evidence = AlertEvidence(
        weight=_evidence_weight(row),
        reasons=load_reasons(row["reason_data"]),
        at=_parse_time(observed.get("worst_at")),
        **{name: row[name] for name in EVIDENCE_FIELDS},
    )
    if row["settled_at"] is not None:
        fields_of_alert["settled"] = ObservedReading(row["settled_at"], row["settled_level"])
    return Alert(
        topic=topic,
        evidence=evidence,
        id=row["id"],
        first=ObservedReading.from_dict(observed.get("first")),
        current=ObservedReading.from_dict(observed.get("current")),
        normal=_band_from_json(observed.get("normal")),
        deviated=observed.get("deviated", False),
        **fields_of_alert,
    )


def _observed_to_json(alert: Alert) -> dict[str, Any]:
    return {
        "first": _as_dict(alert.first),
        "worst_at": _to_json(alert.evidence.at),
        "current": _as_dict(alert.current),
        "normal": _as_dict(alert.normal),
        "deviated": alert.deviated,
    }


def _evidence_weight(row: Mapping[str, Any]) -> float:
    """The weight of stored evidence; it has no column of its own."""
    if row["probability"] is not None:
        return float(row["probability"])
    if row["type"] == AlertType.LIMIT.value and row["subject"] == LimitKind.RATE_OF_CHANGE.value:
        # Scripts raise alerts without reasons.
        rates = [abs(reason.values["rate"]) for reason in load_reasons(row["reason_data"])]
        return max(rates, default=0.0) - (row["limit"] or 0.0)
    if row["score"] is not None or row["type"] == AlertType.DRIFT.value:
        return float(row["score"] or 0.0)
    if row["limit"] is not None and row["value"] is not None:
        return float(abs(row["value"] - row["limit"]))
    return recency_weight(row["last_at"])


def pending_to_row(pending: PendingAlert) -> dict[str, Any]:
    """The columns of a pending alert, without its key."""
    return {
        "seen": pending.seen,
        "pending": {
            "since": {str(severity): _to_json(since) for severity, since in pending.since.items()},
            "clear_since": _to_json(pending.clear_since),
            "last_at": _to_json(pending.last_at),
            "evidence": None if pending.evidence is None else _evidence_to_json(pending.evidence),
            "first": _as_dict(pending.first),
            "current": _as_dict(pending.current),
            "normal": _as_dict(pending.normal),
            "deviated": pending.deviated,
            "raised": pending.raised,
            "lingers_until": _to_json(pending.lingers_until),
            "steady": _as_dict(pending.steady),
            "levels": pending.levels.as_dict(),
            "recovery": _recovery_to_json(pending.recovery),
        },
    }


def pending_from_row(row: Mapping[str, Any]) -> PendingAlert:
    """The inverse of `pending_to_row`; rows of 0.1.0 have no readings."""
    stored = row["pending"]
    return PendingAlert(
        since={int(severity): datetime.fromisoformat(since) for severity, since in stored["since"].items()},
        clear_since=_parse_time(stored["clear_since"]),
        last_at=_parse_time(stored["last_at"]),
        seen=row["seen"],
        evidence=None if stored["evidence"] is None else _evidence_from_json(stored["evidence"]),
        first=ObservedReading.from_dict(stored.get("first")),
        current=ObservedReading.from_dict(stored.get("current")),
        normal=_band_from_json(stored.get("normal")),
        deviated=stored.get("deviated", False),
        raised=stored.get("raised", False),
        lingers_until=_parse_time(stored.get("lingers_until")),
        steady=ObservedReading.from_dict(stored.get("steady")),
        levels=LevelMemory.from_dict(stored.get("levels")),
        recovery=_recovery_from_json(stored.get("recovery")),
    )


def _recovery_to_json(recovery: Recovery | None) -> dict[str, str | None] | None:
    if recovery is None:
        return None
    return {"until": _to_json(recovery.until), "clear_since": _to_json(recovery.clear_since)}


def _recovery_from_json(stored: Mapping[str, Any] | None) -> Recovery | None:
    if stored is None:
        return None
    return Recovery(datetime.fromisoformat(stored["until"]), _parse_time(stored["clear_since"]))


def _evidence_to_json(evidence: AlertEvidence) -> dict[str, Any]:
    reasons = [reason.as_dict() for reason in evidence.reasons]
    times = {"crosses_at": _to_json(evidence.crosses_at), "at": _to_json(evidence.at)}
    return {**vars(evidence), **times, "reasons": reasons}


def _evidence_from_json(stored: Mapping[str, Any]) -> AlertEvidence:
    """The inverse of `_evidence_to_json`; rows of 0.1.0 have no reasons."""
    times = {name: _parse_time(stored.get(name)) for name in ("crosses_at", "at")}
    return AlertEvidence(**{**stored, **times, "reasons": load_reasons(stored.get("reasons"))})


def _as_dict(value: ObservedReading | NormalBand | None) -> dict[str, Any] | None:
    return None if value is None else value.as_dict()


def _band_from_json(stored: Mapping[str, float] | None) -> NormalBand | None:
    return None if stored is None else NormalBand.from_dict(stored)


def _to_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
