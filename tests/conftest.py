"""What every test may ask for: a database of its own, on both kinds we support."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from sqlalchemy import Engine

from tests.support.distribution import sort_for_workers
from tests.support.reliability_report import TrialCollector, attach_markers, record_losses  # noqa: F401 (fixture)
from tests.support.requirements import skip_or_fail
from tests.support.sampling import SampleReporter, sample  # noqa: F401 (fixture)
from tests.support.workspaces import build_once, empty_mlflow, fitted_models, plan, training_stub, workspace  # noqa: F401 (fixtures)
from training.data.readings import ReadingStore
from training.storage.database import open_database

# No test depends on the clock: an example may take long on a busy machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

POSTGRES = os.environ.get("SAFEPLAN_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")


def pytest_configure(config: pytest.Config) -> None:
    """Gather what was tried, where all workers report to."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(TrialCollector(), "reliability")
        config.pluginmanager.register(SampleReporter(), "samples")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Attach what the reports need, and order the tests for the workers."""
    attach_markers(items)
    if hasattr(config, "workerinput"):
        sort_for_workers(items)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, once on SQLite and once on PostgreSQL; gone after the test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'safeplan.db'}"
        return
    schema = f"test_{uuid.uuid4().hex}"
    _in_postgres(f"CREATE SCHEMA {schema}")
    yield f"{POSTGRES}{'&' if '?' in POSTGRES else '?'}options=-csearch_path%3D{schema}"
    _in_postgres(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An open database with its tables, once on SQLite and once on PostgreSQL."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> ReadingStore:
    """An empty readings store, once on SQLite and once on PostgreSQL."""
    return ReadingStore(engine)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An open SQLite database, for tests that do not depend on the kind."""
    engine = open_database(f"sqlite:///{tmp_path / 'own.db'}")
    yield engine
    engine.dispose()


def _in_postgres(statement: str) -> None:
    try:
        with psycopg.connect(POSTGRES, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        skip_or_fail(f"no PostgreSQL at SAFEPLAN_TEST_POSTGRES: {error}")
