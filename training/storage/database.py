"""The database: its tables, and the one door to it.

Knows SQLite and PostgreSQL, URLs and transactions. Every time stored is UTC without a zone. What the rows
mean belongs to the stores; how the tables come to be, to `schema`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
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
CONNECT_TIMEOUT_SECONDS = 10  # until a server that does not answer counts as away
TCP_USER_TIMEOUT_MS = 30_000  # until one that was connected, and says nothing more, counts as away


class DatabaseSettings(Settings, file="training", section="database"):
    """Where readings, predictions and labels are kept."""

    url: str | None = None  # None: safeplan.db in the home folder


# A column left empty here is one that nobody wrote: conf/sensors.yaml, then the type's defaults, fill it.
sensors = Table(
    "sensors",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("platform", Text),
    Column("type", Text),
    Column("unit", Text),
    Column("step_seconds", Double),
    Column("low", Double),
    Column("high", Double),
    Column("critical_low", Double),
    Column("critical_high", Double),
    Column("sentinels", JSON(none_as_null=True)),
    Column("enabled", Boolean),
)

sensor_readings = Table(
    "sensor_readings",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("timestamp", UtcTime, primary_key=True),
    Column("value", Double, nullable=False),
    Column("data_quality", Integer, nullable=False, default=0),
    sqlite_with_rowid=False,
)

# One row a model's opinion. Scoring or forecasting again from the same origin with the same version meets
# its own key. `origin` is the newest reading the model had seen: for a score, the reading's own time.
ml_predictions = Table(
    "ml_predictions",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("model_type", Text, primary_key=True),  # ANOMALY_DETECTOR or FORECASTER
    Column("timestamp", UtcTime, primary_key=True),  # the time scored or forecast
    Column("origin", UtcTime, primary_key=True),
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
    Column("reason", Text),
    Column("reason_data", Text),
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

# What people said about a stretch of readings, for tuning: `source` is who said it.
labels = Table(
    "labels",
    metadata,
    Column("sensor_id", Text, primary_key=True),
    Column("start", UtcTime, primary_key=True),
    Column("end", UtcTime, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("anomalous", Boolean, nullable=False),
    Column("made_at", UtcTime, nullable=False),
)

# One row a check of one model: the readings from `start` to `end` beside the window it was trained on.
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
    Column("p_value", Double),  # share of the window's own past that looks as different
    Column("false_alarm_rate", Double, nullable=False),  # what the verdict was held to
    Column("cost", Double),  # what it costs the models; ranks the fleet
    Column("reason", Text, nullable=False),
    Column("reason_data", Text),  # the reasons as JSON; none in rows of 0.1.0
    Column("advice", Text),
    Column("measures", JSON, nullable=False),  # by what was compared: distances, thresholds, words
    Column("quality", JSON, nullable=False),  # stored predictions against what then happened
    Column("run_id", Text),
    sqlite_with_rowid=False,
)
Index("drift_checks_by_time", drift_checks.c.checked_at)

# Who does which named piece of work until when, so that no other process does it too.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)


# Who changed what. Rows are added and never altered; `version` is the champion's number after a move.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("sensor_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("version", Integer),
    Column("detail", JSON, nullable=False),
)
Index("audit_by_subject", audit.c.subject, audit.c.id)
Index("audit_by_sensor", audit.c.sensor_id, audit.c.id)

# Trainings that were started on the page: what was asked for, and which process does it.
trainings = Table(
    "trainings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("asked", JSON, nullable=False),
    Column("total", Integer, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("owner", Text),
    Column("finished_at", UtcTime),
    Column("error", Text),
)
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
    """The database of readings and predictions, its schema brought up to date.

    Without a URL: `SAFEPLAN_DATABASE_URL`, then `database.url` of conf/training.yaml, then `safeplan.db` in
    the home folder.

    Raises:
        ConfigurationError: the URL is none, or of a database we do not know.
        StoreError: the database is away, locked, read-only or has a schema newer than this program.
    """
    address = _address(url or load_settings(DatabaseSettings).url)
    with store_errors(address):
        if address.get_backend_name() == "sqlite":
            engine = _open_sqlite(address)
        else:
            patience = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "tcp_user_timeout": TCP_USER_TIMEOUT_MS}
            engine = create_engine(address, pool_pre_ping=True, connect_args=patience)
        try:
            upgrade_schema(engine)
        except BaseException:
            engine.dispose()
            raise
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read by; foreign errors become `StoreError`."""
    with store_errors(engine.url), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction to write in, kept whole or not at all; on SQLite, writers wait for each other here."""
    with store_errors(engine.url), engine.execution_options(writes=True).begin() as connection:
        yield connection


def _address(url: str | None) -> URL:
    if url is None:
        return URL.create("sqlite", database=str(home() / "safeplan.db"))
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "The database URL cannot be read; it should look like sqlite:////var/lib/safeplan/safeplan.db "
            "or postgresql://user:password@host:5432/safeplan. Correct SAFEPLAN_DATABASE_URL or database.url."
        ) from error
    if address.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return address.set(drivername="postgresql+psycopg")
    if address.drivername in {"sqlite", "sqlite+pysqlite"}:
        return address.set(drivername="sqlite")
    raise ConfigurationError(
        f"{address.drivername} is no database this program knows. "
        "Give database.url a sqlite:/// or a postgresql:// URL."
    )


def _open_sqlite(address: URL) -> Engine:
    if address.database and address.database != ":memory:":
        _make_folder(Path(address.database).absolute().parent)
    engine = create_engine(address, connect_args={"timeout": SQLITE_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver would open transactions by itself, and later than it should: we open them below.
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
            f"The folder of the database cannot be made: {error}. Name another in database.url."
        ) from error
