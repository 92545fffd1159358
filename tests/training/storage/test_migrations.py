"""Every schema there ever was comes up to date with its rows, and goes down without losing others'."""

from datetime import UTC, datetime

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, DateTime, Float, Integer, MetaData, func, insert, select, text

from training.storage import schema
from training.storage.database import metadata, open_database, writing

SCRIPTS = ScriptDirectory(str(schema.MIGRATIONS))
RELEASED = sorted(step.revision for step in SCRIPTS.walk_revisions())
MOMENT = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@pytest.fixture
def at_schema(engine):
    """The same database as an earlier program left it, a row in each of its tables; the rows by table."""

    def make(revision):
        with writing(engine) as connection:
            metadata.drop_all(connection)
            connection.execute(text("DROP TABLE alembic_version"))
            schema.create_schema(connection, revision)
            for table in tables(connection):
                connection.execute(insert(table), {c.name: dummy(c) for c in table.columns})
            return counts(connection)

    return make


@pytest.mark.parametrize("revision", RELEASED)
@pytest.mark.fault("a database of each earlier schema", "brought up to date with its rows")
def test_an_older_schema_comes_up_to_date_with_its_rows(engine, at_schema, database_url, revision):
    before = at_schema(revision)

    open_database(database_url).dispose()

    with writing(engine) as connection:
        assert schema.schema_revision(connection) == schema.CURRENT_REVISION
        after = counts(connection)
    assert before.keys() <= after.keys()
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("revision", RELEASED)
def test_the_newest_schema_goes_down_with_the_rows_of_the_tables_that_stay(engine, at_schema, revision):
    before = at_schema(schema.CURRENT_REVISION)

    with writing(engine) as connection:
        downgrade(connection, revision)
        after = counts(connection)

    assert after
    assert {name: before[name] for name in after} == after


def downgrade(connection, revision):
    with EnvironmentContext(
        Config(), SCRIPTS, fn=lambda at, _: SCRIPTS._downgrade_revs(revision, at), destination_rev=revision
    ) as environment:
        environment.configure(connection=connection, transactional_ddl=False)
        environment.run_migrations()


def tables(connection):
    result = MetaData()
    result.reflect(connection)
    return [table for table in result.sorted_tables if table.name != "alembic_version"]


def counts(connection):
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar()
        for table in tables(connection)
    }


def dummy(column):
    kinds = {Boolean: True, Integer: 1, Float: 1.5, DateTime: MOMENT, JSON: {"a": 1}}
    return next((value for kind, value in kinds.items() if isinstance(column.type, kind)), "x")
