"""Store of pending alerts and instrument memories: how far each topic has been evaluated.

Holds the SQL of `alert_watches`. Rows are written in the transaction of the alerts they lead to, so that no
reading counts twice and none is skipped.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from monitoring.alerts.alert import PendingAlert
from monitoring.alerts.instrument_baseline import InstrumentMemory
from monitoring.alerts.kinds import AlertType
from monitoring.alerts.rows import pending_from_row, pending_to_row
from monitoring.alerts.store import TopicKey
from training.storage.alert_tables import alert_watches

HABITS_SUBJECT = "habits"  # the row of an instrument's memory
QUERY_BATCH = 5_000


def load_pending(connection: Connection, sensor_ids: Sequence[str]) -> dict[TopicKey, PendingAlert]:
    """The pending alerts of these sensors, by topic."""
    return {
        (AlertType(row["type"]), row["sensor_id"], row["subject"]): pending_from_row(row)
        for row in _rows(connection, sensor_ids)
        if row["subject"] != HABITS_SUBJECT
    }


def load_memories(connection: Connection, sensor_ids: Sequence[str]) -> dict[str, InstrumentMemory]:
    """The memories of these instruments, by sensor."""
    return {
        row["sensor_id"]: InstrumentMemory.from_dict(row["pending"], row["seen"])
        for row in _rows(connection, sensor_ids)
        if row["subject"] == HABITS_SUBJECT
    }


def save_pending(connection: Connection, pending_by_topic: Mapping[TopicKey, PendingAlert]) -> None:
    """Store pending alerts."""
    _upsert(connection, ((key, pending_to_row(pending)) for key, pending in pending_by_topic.items()))


def save_memories(connection: Connection, memory_by_sensor: Mapping[str, InstrumentMemory]) -> None:
    """Store instrument memories."""
    _upsert(
        connection,
        (
            (
                (AlertType.INSTRUMENT, sensor_id, HABITS_SUBJECT),
                {"seen": memory.last, "pending": memory.as_dict()},
            )
            for sensor_id, memory in memory_by_sensor.items()
        ),
    )


def load_seen_until(
    connection: Connection, sensor_ids: Sequence[str], kind: AlertType
) -> dict[str, datetime]:
    """The newest evaluated condition of each sensor, of one type."""
    newest: dict[str, datetime] = {}
    for row in _rows(connection, sensor_ids):
        if row["type"] == kind.value and row["subject"] != HABITS_SUBJECT and row["seen"] is not None:
            newest[row["sensor_id"]] = max(row["seen"], newest.get(row["sensor_id"], row["seen"]))
    return newest


def _rows(connection: Connection, sensor_ids: Sequence[str]) -> Iterable[dict[str, Any]]:
    for first in range(0, len(sensor_ids), QUERY_BATCH):
        is_in_batch = alert_watches.c.sensor_id.in_(sensor_ids[first : first + QUERY_BATCH])
        for row in connection.execute(select(alert_watches).where(is_in_batch)).mappings():
            yield dict(row)


def _upsert(connection: Connection, rows: Iterable[tuple[TopicKey, dict[str, Any]]]) -> None:
    written = [
        {"type": kind.value, "sensor_id": sensor_id, "subject": subject, **columns}
        for (kind, sensor_id, subject), columns in rows
    ]
    if not written:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(alert_watches)
    updated = {"seen": statement.excluded.seen, "pending": statement.excluded.pending}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["type", "sensor_id", "subject"], set_=updated),
        written,
    )
