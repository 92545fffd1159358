"""The audit log: who changed what and when. Entries are added and never changed.

MLflow does not record who moved an alias in its UI, nor when, so `record_external_changes` compares the
registry with the newest entries. Promoting and rolling back are in `training.operations.promotion`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, text

from training.errors import without_passwords
from training.registry.model_registry import CHAMPION, Listing
from training.settings import conf_folder, read_yaml
from training.storage.database import audit, reading, writing

PROMOTED, ROLLED_BACK, WITHDRAWN = "promoted", "rolled back", "withdrawn"
ALIAS_MOVES = (PROMOTED, ROLLED_BACK, WITHDRAWN)
CONFIGURED = "configured"
UNKNOWN_USER = "unknown: in MLflow, or by an interrupted command"
# Settings that may hold a secret: the log records that they are set, not their values.
SECRET_WORDS = ("token", "password", "secret", "channel")
MAX_VALUE_LENGTH = 200  # characters of a setting's value; a longer one is recorded as a digest


@dataclass(frozen=True)
class AuditEntry:
    """One entry; the time is naive UTC.

    `sensor_id` is empty if the entry is not about a sensor; `subject` is a registered model, or the command
    whose settings changed; `version` is the champion after a change.
    """

    at: datetime
    who: str
    action: str
    sensor_id: str = ""
    subject: str = ""
    version: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def record_entry(engine: Engine, entry: AuditEntry) -> None:
    """Write one entry."""
    with writing(engine) as connection:
        add_entry(connection, entry)


def add_entry(connection: Connection, entry: AuditEntry) -> None:
    """Write one entry in the transaction of the change itself."""
    connection.execute(insert(audit).values(**entry.as_dict()))


def entries(
    engine: Engine, *, sensor_id: str | None = None, since: datetime | None = None, limit: int = 1_000
) -> list[AuditEntry]:
    """The newest entries, newest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if sensor_id is not None:
        query = query.where(audit.c.sensor_id == sensor_id)
    if since is not None:
        query = query.where(audit.c.at >= since)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return [_entry_of(row) for row in rows]


def record_external_changes(
    engine: Engine, listings: Mapping[Any, Listing], *, who: str = UNKNOWN_USER, now: datetime
) -> list[AuditEntry]:
    """Record every champion that differs from the one in the newest entry; return the new entries.

    Several processes may call this at once: each change is recorded once.
    """
    with writing(engine) as connection:
        _lock_audit(connection)
        last_entries = _last_champions(connection)
        changes = [
            change
            for listing in sorted(listings.values(), key=lambda listing: listing.name)
            if (change := _champion_change(listing, last_entries.get(listing.name), who, now)) is not None
        ]
        for entry in changes:
            add_entry(connection, entry)
    return changes


def record_settings_changes(
    engine: Engine, command: str, *, who: str, now: datetime, environ: Mapping[str, str] | None = None
) -> AuditEntry | None:
    """Record which settings of a command differ from those of its last run; None if none does.

    Compared per command, because cron, a service and a shell have different environments.
    """
    current = current_settings(os.environ if environ is None else environ)
    with writing(engine) as connection:
        _lock_audit(connection)
        newest = (
            select(audit.c.detail)
            .where(audit.c.action == CONFIGURED, audit.c.subject == command)
            .order_by(audit.c.id.desc())
            .limit(1)
        )
        before = (connection.execute(newest).scalar() or {}).get("settings")
        if before == current:
            return None
        changes = {} if before is None else _changes(before, current)
        entry = AuditEntry(
            now, who, CONFIGURED, subject=command, detail={"changed": changes, "settings": current}
        )
        add_entry(connection, entry)
    return entry


def current_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Every setting that a file or the environment sets, as text, without secrets."""
    written = {}
    for path in sorted(conf_folder(environ).glob("*.yaml")):
        for section, content in read_yaml(path).items():
            fields = content if isinstance(content, dict) else {"": content}
            for name, value in fields.items():
                written[f"{path.stem}.{section}.{name}".rstrip(".")] = value
    written |= {name: value for name, value in environ.items() if name.startswith("SAFEPLAN_")}
    return {name: _redacted(name, value) for name, value in sorted(written.items())}


def _redacted(name: str, value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
    if any(word in name.lower() for word in SECRET_WORDS) and shown not in ("", "null"):
        return "(set)"
    shown = without_passwords(shown) if "://" in shown else shown
    return (
        shown
        if len(shown) <= MAX_VALUE_LENGTH
        else f"SHA-256 {hashlib.sha256(shown.encode()).hexdigest()[:12]}"
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str | None]]:
    """Old and new value of each setting that differs; None where it is not set."""
    names = sorted(before.keys() | after.keys())
    return {
        name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)
    }


def _champion_change(
    listing: Listing, last_entry: AuditEntry | None, who: str, now: datetime
) -> AuditEntry | None:
    """How a model's champion changed since the newest entry, or None."""
    champion = listing.aliases.get(CHAMPION)
    before = None if last_entry is None else last_entry.version
    if champion == before:
        return None
    if champion is None:
        action = WITHDRAWN
    else:
        action = ROLLED_BACK if before is not None and champion < before else PROMOTED
    return AuditEntry(now, who, action, listing.sensor_id, listing.name, champion, {"before": before})


def _last_champions(connection: Connection) -> dict[str, AuditEntry]:
    newest = select(func.max(audit.c.id)).where(audit.c.action.in_(ALIAS_MOVES)).group_by(audit.c.subject)
    rows = connection.execute(select(audit).where(audit.c.id.in_(newest))).all()
    return {row.subject: _entry_of(row) for row in rows}


def _lock_audit(connection: Connection) -> None:
    """Block other writers of the table until the transaction ends; SQLite allows one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE"))


def _entry_of(row: Row[Any]) -> AuditEntry:
    return AuditEntry(row.at, row.who, row.action, row.sensor_id, row.subject, row.version, row.detail)
