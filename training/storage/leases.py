"""Leases: at most one process at a time does a named piece of work, on whichever host.

Leases are rows of the shared database. A killed process does not block the work: on its own host the process
is known to have ended, on other hosts its lease expires.
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

TAKEN_MEANWHILE = "Another process has just started to {name}. Run this again later."


class LeaseTaken(StoreError):
    """Another running process does this work."""


@dataclass(frozen=True)
class Owner:
    """A process: its host, its id, and its start time, because ids are reused."""

    host: str
    pid: int
    started: str

    @classmethod
    def this_process(cls) -> "Owner":
        """The current process."""
        return cls(socket.gethostname(), os.getpid(), _start_time(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """The inverse of `str()`."""
        host, pid, started = text.rsplit(" ", 2)
        return cls(host, int(pid), started)

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.started}"

    def is_gone(self) -> bool:
        """Whether the process is known to have ended; always False for processes of other hosts."""
        return self.host == socket.gethostname() and _start_time(self.pid) != self.started


@contextmanager
def lease(engine: Engine, name: str, *, duration: timedelta = timedelta(hours=1)) -> Iterator[None]:
    """Hold the named lease while the block runs.

    Raises:
        LeaseTaken: another process holds it, is not known to have ended, and the lease has not expired.
    """
    owner = str(Owner.this_process())
    _acquire(engine, name, owner, datetime.now(UTC), duration)
    try:
        yield
    finally:
        with writing(engine) as connection:
            connection.execute(delete(leases).where(leases.c.name == name, leases.c.owner == owner))


def _acquire(engine: Engine, name: str, owner: str, now: datetime, duration: timedelta) -> None:
    try:
        with writing(engine) as connection:
            holder = _holder(connection, name)
            if holder is None:
                connection.execute(insert(leases).values(name=name, owner=owner, expires_at=now + duration))
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
                .values(owner=owner, expires_at=now + duration)
            )
            if updated.rowcount != 1:
                raise LeaseTaken(TAKEN_MEANWHILE.format(name=name))
    except StoreError as error:
        if isinstance(error.__cause__, IntegrityError):
            raise LeaseTaken(TAKEN_MEANWHILE.format(name=name)) from error
        raise


def _holder(connection: Connection, name: str) -> tuple[str, datetime] | None:
    row = connection.execute(select(leases.c.owner, leases.c.expires_at).where(leases.c.name == name)).first()
    return None if row is None else (row.owner, row.expires_at)


def _start_time(pid: int) -> str:
    """The start of a process on this host in ticks since boot; `gone` where there is no such process.

    Source: proc(5), field 22 of /proc/PID/stat. On other systems than Linux it is `unknown`, and a lease of a
    killed process ends when it expires.
    """
    if not Path("/proc/self/stat").exists():
        return "unknown"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return "gone" if fields[0] in ("Z", "X") else fields[19]
