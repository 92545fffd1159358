"""How far each topic has been looked at, what is pending there, and what is remembered of each instrument.

Knows `alert_watches` and SQL. It is written in the transaction that keeps the alerts which came of it: so no
reading counts twice, and none is passed over.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from monitoring.alerts.alert import Pending
from monitoring.alerts.instrument_baseline import Memory
from monitoring.alerts.kinds import AlertType
from monitoring.alerts.rows import pending_of, pending_row
from monitoring.alerts.store import Key
from training.storage.alert_tables import alert_watches

HABITS = "habits"  # the row of an instrument's memory, among those of its troubles
AT_ONCE = 5_000


def pendings(connection: Connection, sensor_ids: Sequence[str]) -> dict[Key, Pending]:
    """How far the topics of these sensors have been looked at, and what is on its way."""
    return {
        (AlertType(row["type"]), row["sensor_id"], row["subject"]): pending_of(row)
        for row in _rows(connection, sensor_ids)
        if row["subject"] != HABITS
    }


def memories(connection: Connection, sensor_ids: Sequence[str]) -> dict[str, Memory]:
    """What is remembered of these instruments."""
    return {
        row["sensor_id"]: Memory.from_dict(row["pending"], row["seen"])
        for row in _rows(connection, sensor_ids)
        if row["subject"] == HABITS
    }


def keep_pendings(connection: Connection, found: Mapping[Key, Pending]) -> None:
    """Keep how far topics have been looked at."""
    _keep(connection, ((key, pending_row(pending)) for key, pending in found.items()))


def keep_memories(connection: Connection, found: Mapping[str, Memory]) -> None:
    """Keep what is remembered of instruments."""
    _keep(
        connection,
        (
            ((AlertType.INSTRUMENT, sensor_id, HABITS), {"seen": memory.last, "pending": memory.as_dict()})
            for sensor_id, memory in found.items()
        ),
    )


def seen_until(connection: Connection, sensor_ids: Sequence[str], kind: AlertType) -> dict[str, datetime]:
    """The newest sign of each sensor that was taken, of one type."""
    found: dict[str, datetime] = {}
    for row in _rows(connection, sensor_ids):
        if row["type"] == kind.value and row["subject"] != HABITS and row["seen"] is not None:
            found[row["sensor_id"]] = max(row["seen"], found.get(row["sensor_id"], row["seen"]))
    return found


def _rows(connection: Connection, sensor_ids: Sequence[str]) -> Iterable[dict[str, Any]]:
    for first in range(0, len(sensor_ids), AT_ONCE):
        some = alert_watches.c.sensor_id.in_(sensor_ids[first : first + AT_ONCE])
        for row in connection.execute(select(alert_watches).where(some)).mappings():
            yield dict(row)


def _keep(connection: Connection, rows: Iterable[tuple[Key, dict[str, Any]]]) -> None:
    written = [
        {"type": kind.value, "sensor_id": sensor_id, "subject": subject, **said}
        for (kind, sensor_id, subject), said in rows
    ]
    if not written:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(alert_watches)
    renewed = {"seen": statement.excluded.seen, "pending": statement.excluded.pending}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["type", "sensor_id", "subject"], set_=renewed),
        written,
    )
