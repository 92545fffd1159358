"""Back up all tables as Parquet files and restore them, also from SQLite to PostgreSQL and back.

The meaning of the rows is defined in `training.storage`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    MetaData,
    Table,
    func,
    insert,
    select,
    text,
)

from training.artifacts.archive import ArchiveReader, ArchiveWriter
from training.errors import BadArchive
from training.storage.bulk_insert import arrow_type
from training.storage.columns import metadata
from training.storage.database import leases, reading
from training.storage.schema import CURRENT_REVISION, create_schema, upgrade_schema
from training.storage.store_errors import store_errors

ROW_BATCH = 50_000
# Leases of running processes have no meaning in a restored installation.
EXCLUDED_TABLES = frozenset({leases.name})


def back_up_tables(engine: Engine, archive: ArchiveWriter, temporary: Path) -> dict[str, int]:
    """Archive a consistent snapshot of every table as `tables/<name>.parquet`; return the row counts."""
    counts = {}
    with reading(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in _tables():
            path = temporary / f"{table.name}.parquet"
            counts[table.name] = _write(connection, table, path)
            archive.add(f"tables/{table.name}.parquet", path)
            path.unlink()
    return counts


def restore_tables(
    engine: Engine, archive: ArchiveReader, counts: dict[str, int], schema: str, temporary: Path
) -> None:
    """Fill empty tables of the archive's schema in one transaction, then upgrade the schema.

    Raises:
        BadArchive: a table differs from the manifest, or this program does not know the schema.
    """
    with store_errors(engine.url), engine.execution_options(writes=True).begin() as connection:
        if schema != CURRENT_REVISION:
            metadata.drop_all(connection)
            connection.execute(text("DROP TABLE alembic_version"))
            create_schema(connection, schema)
        stored = MetaData()
        stored.reflect(connection)
        for name, rows in counts.items():
            if name not in stored.tables:
                raise BadArchive(
                    f"The archive has a table {name}, which schema {schema} does not have. "
                    "Use another archive."
                )
            path = temporary / f"{name}.parquet"
            archive.extract_one(f"tables/{name}.parquet", path)
            if _read(connection, stored.tables[name], path) != rows:
                raise BadArchive(
                    f"The archive's table {name} does not have {rows:,} rows. Use another archive."
                )
            _reset_sequence(connection, stored.tables[name])
    upgrade_schema(engine)


def count_rows(engine: Engine) -> dict[str, int]:
    """The number of rows of each table."""
    with reading(engine) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in _tables()
        }


def _tables() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name not in EXCLUDED_TABLES]


def _write(connection: Connection, table: Table, path: Path) -> int:
    schema = pa.schema([(column.name, arrow_type(column)) for column in table.columns])
    rows = 0
    streamed = connection.execution_options(stream_results=True, max_row_buffer=ROW_BATCH)
    order = table.primary_key.columns
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch_rows in streamed.execute(select(table).order_by(*order)).partitions(ROW_BATCH):
            writer.write_table(_as_arrow(batch_rows, table, schema))
            rows += len(batch_rows)
    return rows


def _as_arrow(rows: Sequence[Any], table: Table, schema: pa.Schema) -> pa.Table:
    columns = [list(values) for values in zip(*rows, strict=True)]
    for number, column in enumerate(table.columns):
        if isinstance(column.type, JSON):
            columns[number] = [None if value is None else json.dumps(value) for value in columns[number]]
    return pa.table(
        [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)], schema=schema
    )


def _read(connection: Connection, table: Table, path: Path) -> int:
    """Insert the rows of a file; return their number."""
    as_json = [column.name for column in table.columns if isinstance(column.type, JSON)]
    rows = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_BATCH):
            batch_rows = batch.to_pylist()
            for row in batch_rows:
                row.update({name: json.loads(row[name]) for name in as_json if row[name] is not None})
            if batch_rows:
                connection.execute(insert(table), batch_rows)
            rows += len(batch_rows)
    return rows


def _reset_sequence(connection: Connection, table: Table) -> None:
    """Make PostgreSQL number new rows after the restored ones; SQLite does so by itself."""
    counted = table.autoincrement_column
    if counted is None or connection.dialect.name != "postgresql":
        return
    sequence = connection.execute(select(func.pg_get_serial_sequence(table.name, counted.name))).scalar()
    newest = connection.execute(select(func.max(counted))).scalar()
    if sequence is not None and newest is not None:
        connection.execute(select(func.setval(sequence, newest)))
