"""The outbox: stored messages that wait for delivery to their channels.

Holds the SQL of `outbox`. Rows are written by `outbox_writer` and sent by `delivery`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, case, delete, func, select, update

from training.storage.alert_tables import outbox
from training.storage.database import reading, writing

COLUMNS = outbox.c
MAX_MESSAGES_PER_ROUND = 200  # of one channel


@dataclass(frozen=True)
class OutboxMessage:
    """One message for one channel."""

    id: int
    alert_id: int
    message: Mapping[str, Any]
    made_at: datetime
    attempts: int
    next_at: datetime


@dataclass(frozen=True)
class ChannelQueue:
    """The undelivered messages of one channel."""

    channel: str
    waiting: int
    given_up: int
    oldest: datetime | None
    error: str | None


def new_row(
    alert_id: int | None, revision: int, channel: str, message: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """The row of a message that waits for its first attempt; an alert that is not stored is refused."""
    return {
        "alert_id": alert_id,
        "revision": revision,
        "channel": channel,
        "message": message,
        "made_at": now,
        "attempts": 0,
        "next_at": now,
    }


class Outbox:
    """Reads and updates the stored messages."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def channels(self) -> list[str]:
        """The channels that have messages waiting."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(COLUMNS.channel).where(*IS_WAITING).distinct()).scalars())

    def waiting(self, channel: str) -> list[OutboxMessage]:
        """The waiting messages of a channel, oldest first."""
        query = (
            select(outbox)
            .where(*IS_WAITING, COLUMNS.channel == channel)
            .order_by(COLUMNS.id)
            .limit(MAX_MESSAGES_PER_ROUND)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [OutboxMessage(r.id, r.alert_id, r.message, r.made_at, r.attempts, r.next_at) for r in rows]

    def start_attempt(self, queued: OutboxMessage, next_at: datetime) -> None:
        """Record the start of an attempt; if it is interrupted, the next one is made at `next_at`."""
        self._update(queued, attempts=queued.attempts + 1, next_at=next_at)

    def mark_sent(self, queued: OutboxMessage, at: datetime) -> None:
        """Record that the channel accepted a message."""
        self._update(queued, sent_at=at, error=None)

    def mark_failed(self, queued: OutboxMessage, error: str) -> None:
        """Record that the channel did not accept a message."""
        self._update(queued, error=error)

    def give_up(self, older_than: datetime, at: datetime) -> int:
        """Give up the messages older than a time; returns their number."""
        with writing(self.engine) as connection:
            given_up = update(outbox).where(*IS_WAITING, COLUMNS.made_at < older_than).values(given_up_at=at)
            return connection.execute(given_up).rowcount

    def queues(self) -> list[ChannelQueue]:
        """The channels with messages that wait or were given up."""
        is_waiting = COLUMNS.sent_at.is_(None) & COLUMNS.given_up_at.is_(None)
        query = (
            select(
                COLUMNS.channel,
                func.sum(case((is_waiting, 1), else_=0)),
                func.sum(case((COLUMNS.given_up_at.is_not(None), 1), else_=0)),
                func.min(case((is_waiting, COLUMNS.made_at))),
                func.max(case((is_waiting, COLUMNS.error))),
            )
            .where(COLUMNS.sent_at.is_(None))
            .group_by(COLUMNS.channel)
            .order_by(COLUMNS.channel)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [ChannelQueue(*row) for row in rows]

    def delete_sent_before(self, before: datetime) -> int:
        """Delete the messages that were delivered or given up before a time; returns their number."""
        done = func.coalesce(COLUMNS.sent_at, COLUMNS.given_up_at)
        with writing(self.engine) as connection:
            return connection.execute(delete(outbox).where(done < before)).rowcount

    def _update(self, queued: OutboxMessage, **values: Any) -> None:
        with writing(self.engine) as connection:
            connection.execute(update(outbox).where(COLUMNS.id == queued.id).values(**values))


IS_WAITING: Sequence[ColumnElement[bool]] = (COLUMNS.sent_at.is_(None), COLUMNS.given_up_at.is_(None))


def backoff_delay(attempts: int, first: timedelta, longest: timedelta) -> timedelta:
    """The delay after a number of failed attempts; doubles with each.

    >>> [backoff_delay(n, timedelta(seconds=10), timedelta(minutes=1)).seconds for n in (1, 2, 3, 4, 99)]
    [10, 20, 40, 60, 60]
    """
    return min(longest, first * float(2 ** min(attempts - 1, 30)))
