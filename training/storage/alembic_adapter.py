"""Run Alembic migrations inside a transaction that is already open.

The only module that uses Alembic's private interface: `ScriptDirectory._upgrade_revs` and `_downgrade_revs`,
which `alembic upgrade` calls too; the public way is a file `env.py` that opens its own transaction. Which
schema a database gets is decided in `training.storage.schema`.
"""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

SCRIPTS = ScriptDirectory(str(Path(__file__).parent / "migrations"))


def known_revisions() -> set[str]:
    """The revisions of all migrations."""
    return {script.revision for script in SCRIPTS.walk_revisions()}


def migrate(connection: Connection, revision: str, *, down: bool = False) -> None:
    """Upgrade, or downgrade, the tables of a connection to a known revision."""
    steps = SCRIPTS._downgrade_revs if down else SCRIPTS._upgrade_revs
    with EnvironmentContext(
        Config(), SCRIPTS, fn=lambda current, _: steps(revision, current), destination_rev=revision
    ) as environment:
        environment.configure(connection=connection, transactional_ddl=False)
        environment.run_migrations()
