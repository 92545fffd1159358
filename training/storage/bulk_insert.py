"""Move many rows at once between frames and the database, the fastest way of each database.

Uses COPY on PostgreSQL, executemany and temporary tables on SQLite. Which readings are stored is decided in
`training.data.merging`.
"""

import io
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    TypeDecorator,
    type_coerce,
)

from training.storage.columns import UtcTime

# The garbage collector scans all live rows: 1,000,000 rows take 0.7 s in batches of 1,000, 1.9 s of 50,000.
FETCH_BATCH_ROWS = 1_000
PARSE_BATCH_BYTES = 4_000_000

# A batch, for one transaction, while it is compared with the stored readings; `row` is the position in it.
incoming = Table(
    "incoming",
    MetaData(),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("sensor_id", Text),
    Column("timestamp", UtcTime),
    Column("value", Double),
    Column("data_quality", Integer),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)


def create_incoming(connection: Connection, batch: pd.DataFrame) -> None:
    """Create the table `incoming` with the rows of a batch: `sensor_id, timestamp, value, data_quality`."""
    incoming.create(connection, checkfirst=False)
    if connection.dialect.name == "postgresql":
        _copy_in(connection, batch)
        connection.exec_driver_sql("ANALYZE incoming")
    else:
        _insert_many(connection, batch)


def drop_incoming(connection: Connection) -> None:
    """Drop the table `incoming`; PostgreSQL does so itself at the end of the transaction."""
    if connection.dialect.name != "postgresql":
        incoming.drop(connection)


def fetch(connection: Connection, statement: Select[Any]) -> pd.DataFrame:
    """The rows of a query as a frame with columns of text, integers, floats and times."""
    parts = (
        _fetch_by_copy(connection, statement)
        if connection.dialect.name == "postgresql"
        else _fetch_by_cursor(connection, statement)
    )
    names = statement.selected_columns.keys()
    schema = pa.schema([(column.key, arrow_type(column)) for column in statement.selected_columns])
    table = pa.concat_tables(chain([schema.empty_table()], (part.rename_columns(names) for part in parts)))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def arrow_type(column: ColumnElement[Any]) -> pa.DataType:
    """The type of a column's values; text for JSON and all others."""
    types = {UtcTime: pa.timestamp("us"), Boolean: pa.bool_(), Integer: pa.int64(), Double: pa.float64()}
    return types.get(type(column.type), pa.string())


def _copy_in(connection: Connection, batch: pd.DataFrame) -> None:
    rows = io.BytesIO()
    table = pa.table(
        {"row": pa.array(np.arange(len(batch)))}
        | {name: pa.array(batch[name]) for name in ("sensor_id", "timestamp", "value", "data_quality")}
    )
    pa_csv.write_csv(table, rows, pa_csv.WriteOptions(include_header=False))
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy("COPY incoming FROM STDIN WITH (FORMAT csv)") as copy:
        copy.write(rows.getbuffer())


def _insert_many(connection: Connection, batch: pd.DataFrame) -> None:
    driver: Any = connection.connection.driver_connection
    rows = zip(
        range(len(batch)),
        batch["sensor_id"].tolist(),
        _time_texts(batch["timestamp"].to_numpy()),
        batch["value"].tolist(),
        batch["data_quality"].tolist(),
        strict=True,
    )
    driver.executemany("INSERT INTO incoming VALUES (?, ?, ?, ?, ?)", rows)


def _time_texts(times: np.ndarray) -> list[str]:
    """Times as SQLAlchemy writes them to SQLite: `2026-01-31 12:00:00.000000`."""
    texts = np.datetime_as_string(times.astype("datetime64[us]"), unit="us")
    if len(texts):
        texts.view(np.uint32).reshape(len(texts), -1)[:, 10] = ord(" ")  # instead of the T of ISO 8601
    result: list[str] = texts.tolist()
    return result


def _fetch_by_cursor(connection: Connection, statement: Select[Any]) -> Iterator[pa.Table]:
    columns = [
        type_coerce(column, Text) if isinstance(column.type, TypeDecorator) else column
        for column in statement.selected_columns
    ]
    types = [arrow_type(column) for column in statement.selected_columns]
    cursor: Any = connection.execute(statement.with_only_columns(*columns)).cursor
    while rows := cursor.fetchmany(FETCH_BATCH_ROWS):
        values = zip(*rows, strict=True)
        yield pa.table(
            [
                pa.array(column).cast(kind) if pa.types.is_timestamp(kind) else pa.array(column, kind)
                for column, kind in zip(values, types, strict=True)
            ],
            names=[str(number) for number in range(len(types))],
        )


def _fetch_by_copy(connection: Connection, statement: Select[Any]) -> Iterator[pa.Table]:
    types = {str(n): arrow_type(column) for n, column in enumerate(statement.selected_columns)}
    read_options = pa_csv.ReadOptions(column_names=list(types), use_threads=False)
    convert_options = pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False)

    def parse(rows: io.BytesIO) -> pa.Table:
        return pa_csv.read_csv(io.BytesIO(rows.getbuffer()), read_options, convert_options=convert_options)

    compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY ({compiled}) TO STDOUT WITH (FORMAT csv)", compiled.params) as copy:
        rows = io.BytesIO()
        for row in copy:
            rows.write(row)
            if rows.tell() > PARSE_BATCH_BYTES:  # quoted
                yield parse(rows)
                rows = io.BytesIO()
        if rows.getbuffer():
            yield parse(rows)
