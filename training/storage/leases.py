"""Leases: at most one process at a time does a named piece of work, wherever it runs.

Knows names, owners and expiry, kept in the database that all processes share. A process that was killed
does not block: on its own machine it is seen to be gone at once, elsewhere its lease runs out.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from training.errors import StoreError
from training.storage.database import leases, writing


class LeaseTaken(StoreError):
    """Another process that is still alive does this work."""


@dataclass(frozen=True)
class Owner:
    """A process: its host, its id, and when it started, for ids are used again."""

    host: str
    pid: int
    started: str

    @classmethod
    def this_process(cls) -> "Owner":
        """The process that runs this line."""
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """The inverse of `str()`."""
        host, pid, started = text.rsplit(" ", 2)
        return cls(host, int(pid), started)

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.started}"

    def is_gone(self) -> bool:
        """Known to have ended; of another host's processes nothing is known."""
        return self.host == socket.gethostname() and _started(self.pid) != self.started


@contextmanager
def lease(engine: Engine, name: str, *, duration: timedelta = timedelta(hours=1)) -> Iterator[None]:
    """Hold the named lease while the block runs.

    Raises:
        LeaseTaken: another process holds it, is not known to be gone, and its time is not over.
    """
    owner = str(Owner.this_process())
    _acquire(engine, name, owner, datetime.now(UTC), duration)
    try:
        yield
    finally:
        with writing(engine) as connection:
            connection.execute(delete(leases).where(leases.c.name == name, leases.c.owner == owner))


def _acquire(engine: Engine, name: str, owner: str, now: datetime, lasts: timedelta) -> None:
    try:
        with writing(engine) as connection:
            holder = _holder(connection, name)
            if holder is None:
                connection.execute(insert(leases).values(name=name, owner=owner, expires_at=now + lasts))
                return
            held_by, expires_at = holder
            other = Owner.parse(held_by)
            if expires_at.replace(tzinfo=UTC) > now and not other.is_gone():
                raise LeaseTaken(
                    f"{name} is being done by process {other.pid} on {other.host}. "
                    "Wait for it to finish, or stop it, then run this again."
                )
            updated = connection.execute(
                update(leases)
                .where(leases.c.name == name, leases.c.owner == held_by)
                .values(owner=owner, expires_at=now + lasts)
            )
            if updated.rowcount != 1:
                raise LeaseTaken(f"{name} was taken by another process this moment. Run this again later.")
    except StoreError as error:
        if isinstance(error.__cause__, IntegrityError):
            raise LeaseTaken(
                f"{name} was taken by another process this moment. Run this again later."
            ) from error
        raise


def _holder(connection: Connection, name: str) -> tuple[str, datetime] | None:
    row = connection.execute(select(leases.c.owner, leases.c.expires_at).where(leases.c.name == name)).first()
    return None if row is None else (row.owner, row.expires_at)


def _started(pid: int) -> str:
    """When a process of this machine started, in ticks since boot; `gone` where there is none.

    Source: proc(5), field 22 of /proc/PID/stat; other systems than Linux answer `unknown`, and leases of
    killed processes run out there.
    """
    if not Path("/proc/self/stat").exists():
        return "unknown"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return "gone" if fields[0] in ("Z", "X") else fields[19]
