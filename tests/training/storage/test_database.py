"""Opening the database: its tables, its address, simultaneous programs, and errors with advice."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, inspect, select, text

from training.errors import ConfigurationError, StoreError
from training.storage.alembic_adapter import SCRIPTS
from training.storage.database import labels, metadata, open_database, reading, writing
from training.storage.schema import CURRENT_REVISION


def test_the_migrations_create_the_tables_that_the_code_declares(engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_current_schema_is_the_newest_migration():
    assert SCRIPTS.get_current_head() == CURRENT_REVISION


@pytest.mark.fault("four programs that create the schema at once", "all get it")
def test_several_programs_can_open_a_new_database_at_once(database_url):
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(open_database, [database_url] * 4))

    for engine in engines:
        assert inspect(engine).has_table("sensor_readings")
        engine.dispose()


@pytest.mark.fault("a database of a newer program", "refused; the message asks for an upgrade")
def test_a_newer_schema_is_refused(engine, database_url):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StoreError, match=r"schema 9999.*upgrade"):
        open_database(database_url)


@pytest.mark.fault("tables of another program under our names", "left alone")
def test_tables_of_another_program_are_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "theirs.db") as theirs:
        theirs.execute("CREATE TABLE sensors (id INTEGER)")
    theirs.close()

    with pytest.raises(StoreError, match="database of its own"):
        open_database(f"sqlite:///{tmp_path / 'theirs.db'}")

    engine = create_engine(f"sqlite:///{tmp_path / 'theirs.db'}")
    assert inspect(engine).get_table_names() == ["sensors"]
    engine.dispose()


def test_the_default_database_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_HOME", str(tmp_path / "plant"))
    monkeypatch.delenv("SAFEPLAN_DATABASE_URL", raising=False)

    open_database().dispose()

    assert (tmp_path / "plant" / "safeplan.db").exists()


def test_the_environment_selects_the_database(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")

    open_database().dispose()

    assert (tmp_path / "other.db").exists()


@pytest.mark.parametrize("url", ["nonsense", "mysql://root@host/db", "postgresql+asyncpg://host/db"])
def test_an_invalid_url_is_refused(url):
    with pytest.raises(ConfigurationError, match="database"):
        open_database(url)


@pytest.mark.fault("a database server that is unreachable", "one line, without the password")
def test_the_error_of_an_unreachable_server_hides_the_password():
    with pytest.raises(StoreError, match=r"nobody:\*\*\*@127.0.0.1:1") as caught:
        open_database("postgres://nobody:secret@127.0.0.1:1/plant")

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.fault("a database file that is damaged", "named, with what to do")
def test_the_error_names_a_file_that_is_not_a_database(tmp_path):
    (tmp_path / "notes.db").write_text(
        "a shopping list, not a database, and long enough to be read as one" * 50
    )

    with pytest.raises(StoreError, match=r"notes\.db.*restore a back-up"):
        open_database(f"sqlite:///{tmp_path / 'notes.db'}")


def test_the_error_names_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=r"database\.url"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'safeplan.db'}")


@pytest.mark.fault('"database is locked"', "waited for, then named")
def test_the_error_names_a_database_that_stays_locked(tmp_path, monkeypatch):
    monkeypatch.setattr("training.storage.database.SQLITE_TIMEOUT_SECONDS", 0.01)
    engine = open_database(f"sqlite:///{tmp_path / 'safeplan.db'}")
    with (
        writing(engine),
        pytest.raises(StoreError, match="Another program uses the database"),
        writing(engine) as second,
    ):
        second.execute(select(labels))
    engine.dispose()


@pytest.mark.fault("a statement that fails in a transaction", "nothing of it is stored")
def test_a_failed_transaction_stores_nothing(engine):
    row = {"sensor_id": "PT-1", "source": "operator", "anomalous": True}
    moment = datetime(2026, 3, 1, tzinfo=UTC)

    def label_and_fail():
        with writing(engine) as connection:
            connection.execute(insert(labels), row | {"start": moment, "end": moment, "made_at": moment})
            connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(StoreError, match="nowhere"):
        label_and_fail()

    with reading(engine) as connection:
        assert connection.execute(select(labels)).all() == []


def test_times_are_stored_in_utc(engine):
    noon_in_brazil = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=-3)))
    row = {"sensor_id": "PT-1", "source": "operator", "anomalous": True, "start": noon_in_brazil}
    with writing(engine) as connection:
        moment = datetime(2026, 3, 1, 16, tzinfo=UTC)
        connection.execute(insert(labels), row | {"end": moment, "made_at": moment})

    with reading(engine) as connection:
        result = connection.execute(
            select(labels.c.start).where(labels.c.start == noon_in_brazil)
        ).scalar_one()
    assert result.isoformat() == "2026-03-01T15:00:00"
