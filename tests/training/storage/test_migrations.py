"""Migrations: every earlier schema is upgraded with its rows, and downgrades keep the other tables."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import JSON, Boolean, DateTime, Float, Integer, MetaData, func, insert, select, text

from training.storage import schema
from training.storage.alembic_adapter import known_revisions, migrate
from training.storage.database import metadata, open_database, writing

RELEASED = sorted(known_revisions())
TIME = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@pytest.fixture
def at_schema(engine):
    """Set the database back to an earlier schema with a row in each table; the number of rows by table."""

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
def test_an_older_schema_is_upgraded_with_its_rows(engine, at_schema, database_url, revision):
    before = at_schema(revision)

    open_database(database_url).dispose()

    with writing(engine) as connection:
        assert schema.schema_revision(connection) == schema.CURRENT_REVISION
        after = counts(connection)
    assert before.keys() <= after.keys()
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("revision", RELEASED)
def test_a_downgrade_keeps_the_rows_of_the_tables_that_stay(engine, at_schema, revision):
    before = at_schema(schema.CURRENT_REVISION)

    with writing(engine) as connection:
        migrate(connection, revision, down=True)
        after = counts(connection)

    assert after
    assert {name: before[name] for name in after} == after


@pytest.mark.parametrize("table", ["ml_predictions", "drift_checks", "alerts", "alert_thresholds"])
def test_a_row_of_an_older_schema_has_no_reason_data(engine, at_schema, database_url, table):
    at_schema("0006")

    open_database(database_url).dispose()

    with writing(engine) as connection:
        assert connection.execute(select(metadata.tables[table].c.reason_data)).scalars().all() == [None]


def test_an_upgrade_of_alembic_that_changes_its_private_interface_fails(engine):
    """`migrate` runs the steps that `ScriptDirectory` finds for a revision, down and up again."""
    with writing(engine) as connection:
        migrate(connection, "0006", down=True)
        assert schema.schema_revision(connection) == "0006"
        migrate(connection, schema.CURRENT_REVISION)
        assert schema.schema_revision(connection) == schema.CURRENT_REVISION


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
    kinds = {Boolean: True, Integer: 1, Float: 1.5, DateTime: TIME, JSON: {"a": 1}}
    return next((value for kind, value in kinds.items() if isinstance(column.type, kind)), "x")
