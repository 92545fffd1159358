"""Convert errors of database drivers to `StoreError`, with advice on what to do.

Covers SQLite and PostgreSQL. Does not retry.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from training.errors import StoreError

# What to do, by a part of the driver's message.
ADVICE = {
    "locked": "Another program uses the database; wait for it or stop it, then run this again.",
    "readonly": "Make the file and its folder writable for this user.",
    "read-only": "Connect as a user who may write, or to the primary server.",
    "unable to open": "Check that the folder exists and that this user may write there.",
    "not a database": "The file is damaged or not a database; restore a back-up or choose another file.",
    "malformed": "The file is damaged; restore a back-up.",
    "full": "Free some disk space, then run this again; what was committed is stored.",
    "No space left": "Free some disk space, then run this again; what was committed is stored.",
    "already exists": "The tables belong to another program; use a database of its own for this one.",
    "connection": "Check that the server runs and that host, port, user and password are correct.",
}


@contextmanager
def store_errors(address: URL) -> Iterator[None]:
    """Inside the block, an error of a driver becomes a `StoreError` that names the database."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as error:
        raise StoreError(f"{address.render_as_string(hide_password=True)}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """The first line of the driver's message, with what to do.

    Never the statement: it may contain a password or a thousand rows.

    >>> explain(sqlite3.OperationalError("database is locked"))
    'database is locked. Another program uses the database; wait for it or stop it, then run this again.'
    """
    message = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    advice = next((advice for part, advice in ADVICE.items() if part in message), None)
    return f"{message}. {advice or 'Run safeplan doctor for more.'}"
