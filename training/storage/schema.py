"""The schema's versions: a database is brought up to date when it is opened.

Knows Alembic, and that two programs may open a new database at once. The migrations themselves are in
`migrations/versions`; a test holds them equal to the tables of `database`.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from training.errors import StoreError

CURRENT_REVISION = "0007"
MIGRATIONS = Path(__file__).parent / "migrations"
# Any number that other programs on the same PostgreSQL server are unlikely to lock: "safeplan" in ASCII.
SCHEMA_LOCK = 0x73616665706C616E


def upgrade_schema(engine: Engine) -> None:
    """Create the tables, or migrate them; costs one query where nothing is to be done.

    Raises:
        StoreError: the schema is newer than this program.
    """
    with engine.connect() as connection:
        if schema_revision(connection) == CURRENT_REVISION:
            return
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
        revision = schema_revision(connection)
        if revision != CURRENT_REVISION:
            _migrate(connection, revision)


def create_schema(connection: Connection, schema: str) -> None:
    """Create the tables in a database that has none, as an earlier program had them.

    Raises:
        StoreError: this program never had that schema.
    """
    _migrate(connection, None, to=schema)


def schema_revision(connection: Connection) -> str | None:
    """The schema version a database is at; None before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection, revision: str | None, *, to: str = CURRENT_REVISION) -> None:
    # Alembic takes 0.2 s to import; a database that is up to date does without.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory(str(MIGRATIONS))
    unknown = {revision or CURRENT_REVISION, to} - {step.revision for step in scripts.walk_revisions()}
    if unknown:
        raise StoreError(
            f"The data have schema {unknown.pop()}; this program knows schemas up to {CURRENT_REVISION}. "
            "They were written by a newer safeplan: upgrade this one, or give it a database of its own."
        )
    # What `alembic upgrade head` does, without its files: the transaction is ours, and already open.
    with EnvironmentContext(
        Config(), scripts, fn=lambda at, _: scripts._upgrade_revs(to, at), destination_rev=to
    ) as environment:
        environment.configure(connection=connection, transactional_ddl=False)
        environment.run_migrations()
