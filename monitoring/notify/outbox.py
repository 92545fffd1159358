"""The outbox: messages on their way, kept until a channel has taken them.

Knows the table and the order in which messages may go: of one alert and channel, the older first. Sending is
`delivery`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, case, delete, func, select, update

from training.storage.alert_tables import outbox
from training.storage.database import reading, writing

KEPT = outbox.c
MOST = 200  # messages of one channel looked at in one round


@dataclass(frozen=True)
class Letter:
    """One message on its way to one channel."""

    id: int
    alert_id: int
    message: Mapping[str, Any]
    made_at: datetime
    attempts: int
    next_at: datetime


@dataclass(frozen=True)
class Queue:
    """How one channel stands."""

    channel: str
    waiting: int
    given_up: int
    oldest: datetime | None
    error: str | None


class Outbox:
    """All messages that are on their way."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def channels(self) -> list[str]:
        """Those that something waits for."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(KEPT.channel).where(*WAITING).distinct()).scalars())

    def waiting(self, channel: str) -> list[Letter]:
        """A channel's messages, the oldest first."""
        query = select(outbox).where(*WAITING, KEPT.channel == channel).order_by(KEPT.id).limit(MOST)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [Letter(r.id, r.alert_id, r.message, r.made_at, r.attempts, r.next_at) for r in rows]

    def begin(self, letter: Letter, next_at: datetime) -> None:
        """An attempt begins; if it is cut off, the next one is made at that time."""
        self._note(letter, attempts=letter.attempts + 1, next_at=next_at)

    def sent(self, letter: Letter, at: datetime) -> None:
        """The channel has taken it."""
        self._note(letter, sent_at=at, error=None)

    def failed(self, letter: Letter, error: str) -> None:
        """The channel has not taken it."""
        self._note(letter, error=error)

    def give_up(self, older_than: datetime, at: datetime) -> int:
        """Stop trying what is older than that; how many they were."""
        with writing(self.engine) as connection:
            given_up = update(outbox).where(*WAITING, KEPT.made_at < older_than).values(given_up_at=at)
            return connection.execute(given_up).rowcount

    def queues(self) -> list[Queue]:
        """Every channel that something waits for, or has given up on."""
        waiting = KEPT.sent_at.is_(None) & KEPT.given_up_at.is_(None)
        query = (
            select(
                KEPT.channel,
                func.sum(case((waiting, 1), else_=0)),
                func.sum(case((KEPT.given_up_at.is_not(None), 1), else_=0)),
                func.min(case((waiting, KEPT.made_at))),
                func.max(case((waiting, KEPT.error))),
            )
            .where(KEPT.sent_at.is_(None))
            .group_by(KEPT.channel)
            .order_by(KEPT.channel)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [Queue(*row) for row in rows]

    def delete_sent_before(self, moment: datetime) -> int:
        """Forget messages that were delivered or given up before a moment; how many they were."""
        done = func.coalesce(KEPT.sent_at, KEPT.given_up_at)
        with writing(self.engine) as connection:
            return connection.execute(delete(outbox).where(done < moment)).rowcount

    def _note(self, letter: Letter, **said: Any) -> None:
        with writing(self.engine) as connection:
            connection.execute(update(outbox).where(KEPT.id == letter.id).values(**said))


WAITING: Sequence[ColumnElement[bool]] = (KEPT.sent_at.is_(None), KEPT.given_up_at.is_(None))


def backoff(attempts: int, first: timedelta, longest: timedelta) -> timedelta:
    """How long to wait after so many attempts.

    >>> [backoff(n, timedelta(seconds=10), timedelta(minutes=1)).seconds for n in (1, 2, 3, 4, 99)]
    [10, 20, 40, 60, 60]
    """
    return min(longest, first * float(2 ** min(attempts - 1, 30)))
