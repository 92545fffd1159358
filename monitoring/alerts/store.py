"""The alerts store: every alert, and what happened to it.

Knows SQL. Decides nothing: alerts are turned by `life_cycle` and `answers`.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, func, insert, or_, select, update

from monitoring.alerts.alert import Alert, Chapter, Event, Topic
from monitoring.alerts.kinds import AlertType, Change, Severity, State
from monitoring.alerts.rows import alert_of, row_of
from training.errors import ConfigurationError, StoreError
from training.storage.alert_tables import alert_changes, alerts
from training.storage.database import reading

CLOSED = State.CLOSED.value
FLOOD = "flood"  # the subject of an alert that stands for many
Key = tuple[AlertType, str, str]  # type, sensor, subject


class AlertStore:
    """What is kept of alerts. Methods that write are given the connection of their transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def alert(self, alert_id: int) -> Alert:
        """One alert.

        Raises:
            ConfigurationError: there is none with that id.
        """
        with reading(self.engine) as connection:
            return self.hold(connection, alert_id)

    def hold(self, connection: Connection, alert_id: int) -> Alert:
        """One alert, that nobody else changes until the transaction ends."""
        found = self._fetch(connection, select(alerts).where(alerts.c.id == alert_id).with_for_update())
        if not found:
            raise ConfigurationError(f"There is no alert {alert_id}. See: safeplan alerts list --all")
        return found[0]

    def alive(self, connection: Connection, platform: str, sensor_ids: Collection[str]) -> dict[Key, Alert]:
        """Alerts that are not closed, of a platform and its sensors, held until the transaction ends."""
        about = or_(alerts.c.platform == platform, alerts.c.sensor_id.in_(list(sensor_ids)))
        query = select(alerts).where(alerts.c.state != CLOSED, about).order_by(alerts.c.id)
        return {key_of(a.topic): a for a in self._fetch(connection, query.with_for_update())}

    def platforms_alive(self) -> set[str]:
        """The platforms that have an alert which is not closed."""
        query = select(alerts.c.platform).where(alerts.c.state != CLOSED).distinct()
        with reading(self.engine) as connection:
            return set(connection.execute(query).scalars())

    def members(self, connection: Connection, group_id: int) -> list[Alert]:
        """The alerts that one alert stands for."""
        query = select(alerts).where(alerts.c.group_id == group_id).order_by(alerts.c.began_at, alerts.c.id)
        return self._fetch(connection, query)

    def told_since(self, connection: Connection, platform: str, moment: datetime) -> list[Alert]:
        """A platform's alerts that people were told of after a moment and that no flood stands for."""
        told = select(alert_changes.c.alert_id).where(
            alert_changes.c.change == Change.OPENED.value, alert_changes.c.recorded_at > moment
        )
        query = select(alerts).where(
            alerts.c.platform == platform,
            alerts.c.subject != FLOOD,
            alerts.c.group_id.is_(None),
            alerts.c.id.in_(told),
        )
        return self._fetch(connection, query.order_by(alerts.c.began_at, alerts.c.id))

    def join(self, connection: Connection, alert_ids: Collection[int], group_id: int) -> None:
        """Let one alert stand for others."""
        if alert_ids:
            connection.execute(update(alerts).where(alerts.c.id.in_(alert_ids)).values(group_id=group_id))

    def leave(self, connection: Connection, group_id: int) -> None:
        """Let the alerts that are alive stand for themselves again."""
        living = and_(alerts.c.group_id == group_id, alerts.c.state != CLOSED)
        connection.execute(update(alerts).where(living).values(group_id=None))

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
        """Alerts that lived at some time from `start` until `end` (excluded), the worst and newest first."""
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

    def changes(
        self, *, start: datetime | None = None, end: datetime | None = None, alert_id: int | None = None
    ) -> list[tuple[int, Event]]:
        """What happened, with the id of the alert it happened to, in order."""
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
                Event(Change(row.change), row.at, Severity(row.severity), row.by, row.detail or ""),
            )
            for row in rows
        ]

    def keep(self, connection: Connection, chapter: Chapter, *, now: datetime) -> Chapter:
        """Keep an alert with what happened to it; the same chapter, its alert with an id.

        Raises:
            StoreError: somebody else changed it since it was read.
        """
        alert, before = chapter.alert, chapter.alert.revision - len(chapter.events)
        if alert.id is None:
            key = connection.execute(insert(alerts).values(**row_of(alert))).inserted_primary_key
            assert key is not None
            alert = replace(alert, id=key[0])
        else:
            changed = connection.execute(
                update(alerts)
                .where(and_(alerts.c.id == alert.id, alerts.c.revision == before))
                .values(**row_of(alert))
            )
            if changed.rowcount != 1:
                raise StoreError(f"Alert {alert.id} was changed by somebody else this moment. Try again.")
        if chapter.events:
            connection.execute(
                insert(alert_changes),
                [
                    {
                        "alert_id": alert.id,
                        "revision": before + place,
                        "change": event.change.value,
                        "at": event.at,
                        "recorded_at": now,
                        "severity": int(event.severity),
                        "by": event.by,
                        "detail": event.detail or None,
                    }
                    for place, event in enumerate(chapter.events, start=1)
                ],
            )
        return Chapter(alert, chapter.events)

    def counts(self) -> dict[State, int]:
        """How many alerts stand where."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(alerts.c.state, func.count()).group_by(alerts.c.state)).all()
        return {State(state): count for state, count in rows}

    def _fetch(self, connection: Connection, query: Select[Any]) -> list[Alert]:
        return [alert_of(dict(row)) for row in connection.execute(query).mappings().all()]


def key_of(topic: Topic) -> Key:
    """What is unique among alerts that are alive."""
    return topic.type, topic.sensor_id, topic.subject
