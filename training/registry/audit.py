"""The audit: who changed what, and when; entries are added and never altered.

Knows deeds and their table. What a deed means belongs to whoever does it. MLflow does not remember who moved
an alias in its UI, nor when; so `notice` compares the registry with what was written here last.
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
MOVES = (PROMOTED, ROLLED_BACK, WITHDRAWN)
CONFIGURED = "configured"
UNKNOWN = "unknown: in MLflow, or by a command that was cut off"
# Settings that may hold a secret: that they are set is told, what they are is not.
SECRET = ("token", "password", "secret", "channel")
LONGEST = 200  # characters of a setting's value; of a longer one its digest tells whether it changed


@dataclass(frozen=True)
class Deed:
    """One entry; the time is naive UTC.

    `sensor_id` is empty where no sensor is concerned; `subject` is a registered model, or the command whose
    settings changed; `version` is the champion after a move.
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


def record(engine: Engine, deed: Deed) -> None:
    """Write one entry."""
    with writing(engine) as connection:
        add(connection, deed)


def add(connection: Connection, deed: Deed) -> None:
    """Write one entry in a transaction that does the deed itself."""
    connection.execute(insert(audit).values(**deed.as_dict()))


def deeds(
    engine: Engine, *, sensor_id: str | None = None, since: datetime | None = None, limit: int = 1_000
) -> list[Deed]:
    """The newest entries, newest first."""
    wanted = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if sensor_id is not None:
        wanted = wanted.where(audit.c.sensor_id == sensor_id)
    if since is not None:
        wanted = wanted.where(audit.c.at >= since)
    with reading(engine) as connection:
        rows = connection.execute(wanted).all()
    return [_deed(row) for row in rows]


def notice(
    engine: Engine, listings: Mapping[Any, Listing], *, who: str = UNKNOWN, now: datetime
) -> list[Deed]:
    """Write down every champion that is not the one written down last; what was written.

    Safe to call from many processes at once: each move is written once.
    """
    standing = {one.name: one for one in listings.values()}
    with writing(engine) as connection:
        _alone(connection)
        last = _last_champions(connection)
        found = [
            move
            for name, one in sorted(standing.items())
            if (move := _move(one, last.get(name), who, now)) is not None
        ]
        for deed in found:
            add(connection, deed)
    return found


def notice_settings(
    engine: Engine, command: str, *, who: str, now: datetime, environ: Mapping[str, str] | None = None
) -> Deed | None:
    """Write down which settings of a command differ from those it ran with last; None where none does.

    Each command has its own, for cron, a service and a shell run with different environments.
    """
    current = settings_now(os.environ if environ is None else environ)
    with writing(engine) as connection:
        _alone(connection)
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
        deed = Deed(now, who, CONFIGURED, subject=command, detail={"changed": changes, "settings": current})
        add(connection, deed)
    return deed


def settings_now(environ: Mapping[str, str]) -> dict[str, str]:
    """Every setting that is written in a file or in the environment, as text, without secrets."""
    written = {}
    for path in sorted(conf_folder(environ).glob("*.yaml")):
        for section, content in read_yaml(path).items():
            fields = content if isinstance(content, dict) else {"": content}
            for name, value in fields.items():
                written[f"{path.stem}.{section}.{name}".rstrip(".")] = value
    written |= {name: value for name, value in environ.items() if name.startswith("SAFEPLAN_")}
    return {name: _shown(name, value) for name, value in sorted(written.items())}


def _shown(name: str, value: Any) -> str:
    told = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
    if any(word in name.lower() for word in SECRET) and told not in ("", "null"):
        return "(set)"
    told = without_passwords(told) if "://" in told else told
    return told if len(told) <= LONGEST else f"SHA-256 {hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str | None]]:
    """Old and new value of each setting that differs; None where it is not written."""
    names = sorted(before.keys() | after.keys())
    return {
        name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)
    }


def _move(one: Listing, last: Deed | None, who: str, now: datetime) -> Deed | None:
    """What happened to a model's champion since it was written down last."""
    champion = one.aliases.get(CHAMPION)
    before = None if last is None else last.version
    if champion == before:
        return None
    if champion is None:
        action = WITHDRAWN
    else:
        action = ROLLED_BACK if before is not None and champion < before else PROMOTED
    return Deed(now, who, action, one.sensor_id, one.name, champion, {"before": before})


def _last_champions(connection: Connection) -> dict[str, Deed]:
    newest = select(func.max(audit.c.id)).where(audit.c.action.in_(MOVES)).group_by(audit.c.subject)
    rows = connection.execute(select(audit).where(audit.c.id.in_(newest))).all()
    return {row.subject: _deed(row) for row in rows}


def _alone(connection: Connection) -> None:
    """Let nobody else write here until this transaction ends; on SQLite nobody can anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE"))


def _deed(row: Row[Any]) -> Deed:
    return Deed(row.at, row.who, row.action, row.sensor_id, row.subject, row.version, row.detail)
