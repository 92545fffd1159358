"""Bring the schema of a database up to date when it is opened, also when several programs open it at once.

The migrations are in `migrations/versions`; a test compares them with the tables of
`training.storage.database` and `training.storage.alert_tables`. They are run by
`training.storage.alembic_adapter`.
"""

from sqlalchemy import Connection, Engine, inspect, text

from training.errors import StoreError

CURRENT_REVISION = "0009"
# A key of an advisory lock that other programs are unlikely to use: "safeplan" in ASCII.
SCHEMA_LOCK = 0x73616665706C616E


def upgrade_schema(engine: Engine) -> None:
    """Create the tables, or migrate them; one query where they are up to date.

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
    """Create the tables of an earlier schema in a database that has none.

    Raises:
        StoreError: the schema is unknown.
    """
    _migrate(connection, None, to=schema)


def schema_revision(connection: Connection) -> str | None:
    """The schema revision of a database; None where it has no tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection, revision: str | None, *, to: str = CURRENT_REVISION) -> None:
    # Alembic takes 0.2 s to import; a database that is up to date does not need it.
    from training.storage.alembic_adapter import known_revisions, migrate  # noqa: PLC0415

    unknown = {revision or CURRENT_REVISION, to} - known_revisions()
    if unknown:
        raise StoreError(
            f"The database has schema {unknown.pop()}; this program knows schemas up to {CURRENT_REVISION}. "
            "It was written by a newer safeplan: upgrade this one, or use a database of its own."
        )
    migrate(connection, to)
