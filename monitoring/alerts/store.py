"""Store of alerts and their changes.

Holds the SQL. Alerts are changed by `life_cycle` and `actions`.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, func, insert, or_, select, update

from monitoring.alerts.alert import Alert, AlertEvent, AlertTopic, Transition
from monitoring.alerts.kinds import AlertChange, AlertState, AlertType, Severity
from monitoring.alerts.rows import alert_from_row, alert_to_row
from training.errors import ConfigurationError, StoreError
from training.reasons import dump_reasons, load_reasons
from training.storage.alert_tables import alert_changes, alerts
from training.storage.database import reading

CLOSED = AlertState.CLOSED.value
FLOOD_SUBJECT = "flood"  # the subject of an alert that groups many
TopicKey = tuple[AlertType, str, str]  # type, sensor, subject


class AlertStore:
    """Reads and writes alerts. Methods that write take the connection of their transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def load(self, alert_id: int) -> Alert:
        """One alert.

        Raises:
            ConfigurationError: there is no alert with this id.
        """
        with reading(self.engine) as connection:
            return self.load_for_update(connection, alert_id)

    def load_for_update(self, connection: Connection, alert_id: int) -> Alert:
        """One alert, locked until the transaction ends."""
        matches = self._fetch(connection, select(alerts).where(alerts.c.id == alert_id).with_for_update())
        if not matches:
            raise ConfigurationError(f"There is no alert {alert_id}. See: safeplan alerts list --all")
        return matches[0]

    def load_active(
        self, connection: Connection, platform: str, sensor_ids: Collection[str]
    ) -> dict[TopicKey, Alert]:
        """Alerts of a platform and its sensors that are not closed, locked until the transaction ends."""
        about = or_(alerts.c.platform == platform, alerts.c.sensor_id.in_(list(sensor_ids)))
        query = select(alerts).where(alerts.c.state != CLOSED, about).order_by(alerts.c.id)
        return {topic_key(a.topic): a for a in self._fetch(connection, query.with_for_update())}

    def active_platforms(self) -> set[str]:
        """The platforms that have alerts which are not closed."""
        query = select(alerts.c.platform).where(alerts.c.state != CLOSED).distinct()
        with reading(self.engine) as connection:
            return set(connection.execute(query).scalars())

    def group_members(self, connection: Connection, group_id: int) -> list[Alert]:
        """The alerts of a flood."""
        query = select(alerts).where(alerts.c.group_id == group_id).order_by(alerts.c.began_at, alerts.c.id)
        return self._fetch(connection, query)

    def notified_since(self, connection: Connection, platform: str, since: datetime) -> list[Alert]:
        """A platform's alerts that were raised after a time and belong to no flood."""
        notified_ids = select(alert_changes.c.alert_id).where(
            alert_changes.c.change == AlertChange.OPENED.value, alert_changes.c.recorded_at > since
        )
        query = select(alerts).where(
            alerts.c.platform == platform,
            alerts.c.subject != FLOOD_SUBJECT,
            alerts.c.group_id.is_(None),
            alerts.c.id.in_(notified_ids),
        )
        return self._fetch(connection, query.order_by(alerts.c.began_at, alerts.c.id))

    def add_to_group(self, connection: Connection, alert_ids: Collection[int], group_id: int) -> None:
        """Add alerts to a flood."""
        if alert_ids:
            connection.execute(update(alerts).where(alerts.c.id.in_(alert_ids)).values(group_id=group_id))

    def release_group(self, connection: Connection, group_id: int) -> None:
        """Remove the alerts that are not closed from a flood."""
        not_closed_members = and_(alerts.c.group_id == group_id, alerts.c.state != CLOSED)
        connection.execute(update(alerts).where(not_closed_members).values(group_id=None))

    def find(
        self,
        *,
        alive: bool | None = None,
        sensor_ids: Iterable[str] | None = None,
        kinds: Iterable[AlertType] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> list[Alert]:
        """Alerts not closed at some time from `start` until `end` (excluded), by severity, newest first."""
        query = select(alerts)
        if alive is not None:
            query = query.where(alerts.c.state != CLOSED if alive else alerts.c.state == CLOSED)
        if sensor_ids is not None:
            query = query.where(alerts.c.sensor_id.in_(list(sensor_ids)))
        if kinds is not None:
            query = query.where(alerts.c.type.in_([kind.value for kind in kinds]))
        if start is not None:
            query = query.where(or_(alerts.c.closed_at.is_(None), alerts.c.closed_at >= start))
        if end is not None:
            query = query.where(alerts.c.opened_at < end)
        order = (
            alerts.c.state == CLOSED,
            alerts.c.severity.desc(),
            alerts.c.opened_at.desc(),
            alerts.c.id.desc(),
        )
        with reading(self.engine) as connection:
            return self._fetch(connection, query.order_by(*order).limit(limit))

    def nearest_beginnings(
        self, sensor_ids: Iterable[str], before: datetime, after: datetime
    ) -> tuple[datetime | None, datetime | None]:
        """When the last alert of these sensors before a time began, and the first one after another time."""
        began = alerts.c.began_at
        chosen = and_(alerts.c.sensor_id.in_(list(sensor_ids)), alerts.c.subject != FLOOD_SUBJECT)
        previous = select(func.max(began)).where(chosen, began < before)
        following = select(func.min(began)).where(chosen, began > after)
        with reading(self.engine) as connection:
            return connection.execute(previous).scalar(), connection.execute(following).scalar()

    def changes(
        self, *, start: datetime | None = None, end: datetime | None = None, alert_id: int | None = None
    ) -> list[tuple[int, AlertEvent]]:
        """Changes with the ids of their alerts, in order of time."""
        query = select(alert_changes)
        if start is not None:
            query = query.where(alert_changes.c.at >= start)
        if end is not None:
            query = query.where(alert_changes.c.at < end)
        if alert_id is not None:
            query = query.where(alert_changes.c.alert_id == alert_id)
        order = (alert_changes.c.at, alert_changes.c.alert_id, alert_changes.c.revision)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(*order)).all()
        return [
            (
                row.alert_id,
                AlertEvent(
                    AlertChange(row.change),
                    row.at,
                    Severity(row.severity),
                    row.by,
                    load_reasons(row.reason_data),
                    row.detail or "",
                ),
            )
            for row in rows
        ]

    def save(self, connection: Connection, transition: Transition, *, now: datetime) -> Transition:
        """Store an alert with its new events; returns the transition with the id of the alert.

        Raises:
            StoreError: the alert was changed since it was read.
        """
        alert, stored_revision = transition.alert, transition.alert.revision - len(transition.events)
        if alert.id is None:
            key = connection.execute(insert(alerts).values(**alert_to_row(alert))).inserted_primary_key
            assert key is not None
            alert = replace(alert, id=key[0])
        else:
            changed = connection.execute(
                update(alerts)
                .where(and_(alerts.c.id == alert.id, alerts.c.revision == stored_revision))
                .values(**alert_to_row(alert))
            )
            if changed.rowcount != 1:
                raise StoreError(f"Alert {alert.id} was changed by another process meanwhile. Try again.")
        if transition.events:
            connection.execute(
                insert(alert_changes),
                [
                    {
                        "alert_id": alert.id,
                        "revision": stored_revision + place,
                        "change": event.change.value,
                        "at": event.at,
                        "recorded_at": now,
                        "severity": int(event.severity),
                        "by": event.by,
                        "detail": event.detail or None,
                        "reason_data": dump_reasons(event.reasons),
                    }
                    for place, event in enumerate(transition.events, start=1)
                ],
            )
        return Transition(alert, transition.events)

    def counts(self) -> dict[AlertState, int]:
        """The number of alerts in each state."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(alerts.c.state, func.count()).group_by(alerts.c.state)).all()
        return {AlertState(state): count for state, count in rows}

    def _fetch(self, connection: Connection, query: Select[Any]) -> list[Alert]:
        return [alert_from_row(dict(row)) for row in connection.execute(query).mappings().all()]


def topic_key(topic: AlertTopic) -> TopicKey:
    """The key that is unique among alerts that are not closed."""
    return topic.type, topic.sensor_id, topic.subject
