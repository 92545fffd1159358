"""The border where errors of database drivers become `StoreError`, in words a maintainer can act on.

Knows what SQLite and PostgreSQL say when they refuse. Leaves retrying to whoever asked.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from training.errors import StoreError

ADVICE = {
    "locked": "Another program holds the database; wait for it or stop it, then run this again.",
    "readonly": "Make the file and its folder writable for this user.",
    "read-only": "Connect as a user who may write, or to the primary server.",
    "unable to open": "Check that the folder exists and that this user may write there.",
    "not a database": "The file is damaged or something else; restore a back-up or name another file.",
    "malformed": "The file is damaged; restore a back-up.",
    "full": "Free some disk space, then run this again; what was committed is kept.",
    "No space left": "Free some disk space, then run this again; what was committed is kept.",
    "already exists": "These are tables of another program; give this one a database of its own.",
    "connection": "Check that the server runs and that host, port, user and password are right.",
}


@contextmanager
def store_errors(address: URL) -> Iterator[None]:
    """Inside, what a driver raises becomes a `StoreError` that names the database, its cause kept."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as error:
        raise StoreError(f"{address.render_as_string(hide_password=True)}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """The driver's own words, with what to do.

    Never the statement: it may hold a password or a thousand rows.

    >>> explain(sqlite3.OperationalError("database is locked"))
    'database is locked. Another program holds the database; wait for it or stop it, then run this again.'
    """
    message = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    advice = next((advice for sign, advice in ADVICE.items() if sign in message), None)
    return f"{message}. {advice or 'Run safeplan doctor for more.'}"
