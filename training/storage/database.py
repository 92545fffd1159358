"""The database: its tables, opening it, and connections to read and to write.

Supports SQLite and PostgreSQL. Every stored time is UTC without a zone. What the rows mean is defined by the
packages that write them; the schema is brought up to date by `training.storage.schema`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field
from sqlalchemy import (
    CTE,
    JSON,
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    Table,
    Text,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from training.errors import ConfigurationError, StoreError
from training.settings import Settings, home, load_settings
from training.storage import alert_tables  # noqa: F401 (its tables are part of the schema)
from training.storage.columns import UtcTime, metadata
from training.storage.schema import upgrade_schema
from training.storage.store_errors import store_errors

SQLITE_TIMEOUT_SECONDS = 60
CONNECT_TIMEOUT_SECONDS = 10  # until a server that does not answer counts as unreachable
TCP_USER_TIMEOUT_MS = 30_000  # until a connected server that stops answering counts as unreachable


class DatabaseSettings(Settings, file="training", section="database"):
    """The database of readings, predictions, labels and alerts."""

    url: str | None = Field(
        None, description="SQLite or PostgreSQL; without one, safeplan.db in the home folder"
    )


# Sensors. An empty column is filled from conf/sensors.yaml, then from the defaults of the type there.
sensors = Table(
    "sensors",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("platform", Text),
    Column("type", Text),
    Column("unit", Text),
    Column("step_seconds", Double),  # between readings
    Column("low", Double),  # physical range
    Column("high", Double),
    Column("critical_low", Double),  # operating limits
    Column("critical_high", Double),
    Column("warning_low", Double),  # inside the critical limits
    Column("warning_high", Double),
    Column("max_rate", Double),  # fastest permitted change, per minute
    Column("sentinels", JSON(none_as_null=True)),  # numbers that mean no value
    Column("enabled", Boolean),
)

# Readings, each stored once.
sensor_readings = Table(
    "sensor_readings",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("timestamp", UtcTime, primary_key=True),
    Column("value", Double, nullable=False),
    Column("data_quality", Integer, nullable=False, default=0),  # 0 is good
    sqlite_with_rowid=False,
)

# Scores and forecasts, one row a model version, time and origin. Scoring or forecasting again from the same
# origin with the same version writes the same row.
ml_predictions = Table(
    "ml_predictions",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("model_type", Text, primary_key=True),  # ANOMALY_DETECTOR or FORECASTER
    Column("timestamp", UtcTime, primary_key=True),  # the time scored or forecast
    Column("origin", UtcTime, primary_key=True),  # the newest reading used; of a score, its own reading
    Column("model_version", Text, primary_key=True, default=""),
    Column("made_at", UtcTime, nullable=False),
    Column("value", Double),  # the reading that was scored
    Column("predicted_value", Double),
    Column("lower_bound", Double),
    Column("upper_bound", Double),
    Column("trend", Double),
    Column("anomaly_score", Double),
    Column("is_anomaly", Boolean),
    Column("threshold", Double),
    Column("severity", Text),
    Column("reason", Text),  # in English
    Column("reason_data", Text),  # the reason as JSON; empty in rows of 0.1.0
    Column("historical_average", Double),
    Column("historical_std", Double),
    sqlite_with_rowid=False,
)
Index("ml_predictions_by_time", ml_predictions.c.timestamp)
Index(
    "ml_predictions_anomalies",
    ml_predictions.c.timestamp,
    ml_predictions.c.sensor_id,
    postgresql_where=text("is_anomaly"),
    sqlite_where=text("is_anomaly"),
)

# Intervals that people marked as anomalous or normal; tuning uses them.
labels = Table(
    "labels",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("start", UtcTime, primary_key=True),
    Column("end", UtcTime, primary_key=True),
    Column("source", Text, primary_key=True),  # who marked it
    Column("anomalous", Boolean, nullable=False),
    Column("made_at", UtcTime, nullable=False),
)

# Drift checks, one row a model: the readings from `start` to `end` compared with the training window.
drift_checks = Table(
    "drift_checks",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("model_type", Text, primary_key=True),
    Column("checked_at", UtcTime, primary_key=True),
    Column("model_version", Text, nullable=False),
    Column("train_start", UtcTime),
    Column("train_end", UtcTime),
    Column("start", UtcTime, nullable=False),
    Column("end", UtcTime, nullable=False),
    Column("readings", Integer, nullable=False),
    Column("verdict", Text, nullable=False),  # steady, drifted, aged, withheld or silent
    Column("kind", Text),  # what changed: level, spread, ...
    Column("origin", Text),  # instrument, process or model
    Column("since", UtcTime),
    Column("p_value", Double),  # share of the training window that differs as much
    Column("false_alarm_rate", Double, nullable=False),  # the rate that the check is calibrated to
    Column("cost", Double),  # effect on the models, by which the fleet is ranked
    Column("reason", Text, nullable=False),  # in English
    Column("reason_data", Text),  # the reasons as JSON; empty in rows of 0.1.0
    Column("advice", Text),
    Column("measures", JSON, nullable=False),  # by statistic: distance, threshold, description
    Column("quality", JSON, nullable=False),  # stored predictions compared with the readings
    Column("run_id", Text),
    sqlite_with_rowid=False,
)
Index("drift_checks_by_time", drift_checks.c.checked_at)

# Leases: which process does a named piece of work until when, so that no other does it too.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)


# The audit: who changed what. Rows are only added.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("sensor_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("version", Integer),  # of the champion, after the change
    Column("detail", JSON, nullable=False),
)
Index("audit_by_subject", audit.c.subject, audit.c.id)
Index("audit_by_sensor", audit.c.sensor_id, audit.c.id)

# Trainings that were started on the dashboard.
trainings = Table(
    "trainings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("asked", JSON, nullable=False),  # the request
    Column("total", Integer, nullable=False),  # models to train
    Column("started_at", UtcTime, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("owner", Text),  # the process that trains
    Column("finished_at", UtcTime),
    Column("error", Text),
)

# The outcome of each model of such a training.
training_outcomes = Table(
    "training_outcomes",
    metadata,
    Column("training_id", Integer, primary_key=True, autoincrement=False),
    Column("sensor_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("version", Integer),
    Column("gate", Text),
    Column("error", Text),
    Column("at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)


def open_database(url: str | None = None) -> Engine:
    """Open the database and bring its schema up to date.

    Without a URL: `SAFEPLAN_DATABASE_URL`, then `database.url` of conf/training.yaml, then `safeplan.db` in
    the home folder.

    Raises:
        ConfigurationError: the URL is invalid, or of an unsupported database.
        StoreError: the database is unreachable, locked, read-only, or has a newer schema than this program.
    """
    address = _address(url or load_settings(DatabaseSettings).url)
    with store_errors(address):
        if address.get_backend_name() == "sqlite":
            engine = _open_sqlite(address)
        else:
            timeouts = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "tcp_user_timeout": TCP_USER_TIMEOUT_MS}
            engine = create_engine(address, pool_pre_ping=True, connect_args=timeouts)
        try:
            upgrade_schema(engine)
        except BaseException:
            engine.dispose()
            raise
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read with; errors of drivers become `StoreError`."""
    with store_errors(engine.url), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction to write in, committed as a whole or not at all; on SQLite, writers wait here."""
    with store_errors(engine.url), engine.execution_options(writes=True).begin() as connection:
        yield connection


def distinct_ids(column: Column[str]) -> CTE:
    """Each id of a primary key's first column once, by steps: 5,000 steps instead of 10,000,000 rows."""
    ids = select(func.min(column).label("sensor_id")).cte("ids", recursive=True)
    following = select(func.min(column)).where(column > ids.c.sensor_id).scalar_subquery()
    return ids.union_all(select(following).where(ids.c.sensor_id.is_not(None)))


def _address(url: str | None) -> URL:
    if url is None:
        return URL.create("sqlite", database=str(home() / "safeplan.db"))
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "The database URL is invalid: expected sqlite:////var/lib/safeplan/safeplan.db or "
            "postgresql://user:password@host:5432/safeplan. Correct SAFEPLAN_DATABASE_URL or database.url."
        ) from error
    if address.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return address.set(drivername="postgresql+psycopg")
    if address.drivername in {"sqlite", "sqlite+pysqlite"}:
        return address.set(drivername="sqlite")
    raise ConfigurationError(
        f"Databases of {address.drivername} are not supported: set database.url to a sqlite:/// or a "
        "postgresql:// URL."
    )


def _open_sqlite(address: URL) -> Engine:
    if address.database and address.database != ":memory:":
        _make_folder(Path(address.database).absolute().parent)
    engine = create_engine(address, connect_args={"timeout": SQLITE_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver would begin transactions itself, and too late; they begin below.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once, without waiting, if another wrote
        # in between.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder of the database cannot be created: {error}. Choose another one in database.url."
        ) from error
