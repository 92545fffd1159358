"""Merge a batch of readings into the store: each row is new, known, corrected or contradicted.

Rows travel to and from the database by `training.storage.bulk_insert`; transactions are opened by
`training.data.readings`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection, and_, select, text, true
from sqlalchemy.dialects import postgresql, sqlite

from training.common.arrays import Flags, Floats, Ints
from training.errors import DataError
from training.storage import bulk_insert
from training.storage.bulk_insert import incoming
from training.storage.database import sensor_readings

# Loads are serial on PostgreSQL as on SQLite: no other may change the rows that one compares.
LOADING_LOCK = 0x6C6F6164696E67


class MergeOutcome(IntEnum):
    """The outcome of one reading of a batch."""

    NEW = 0
    KNOWN = 1  # the same value was stored
    CORRECTED = 2  # another value was stored and has been replaced
    CONTRADICTED = 3  # another value is stored and stays


@dataclass(frozen=True)
class MergeResult:
    """Each row's outcome, and the value it was compared with (NaN where there was none)."""

    outcomes: npt.NDArray[np.int8]
    compared_with: Floats


@dataclass(frozen=True)
class _StoredGroups:
    """The readings stored before the batch, one a group of rows of one sensor and time."""

    exists: Flags
    value: Floats
    quality: Ints


def merge(connection: Connection, batch: pd.DataFrame, *, replace: bool) -> MergeResult:
    """Store a batch: of two values for one sensor and time the first stays, or with `replace` the last.

    Splitting rows into batches changes neither what is stored nor any outcome.

    Raises:
        DataError: a column is missing, or a row has no sensor, no time or no finite value.
    """
    rows = _clean_batch(batch)
    if not len(rows):
        return MergeResult(np.empty(0, np.int8), np.empty(0))
    order, starts = _groups(rows)
    ends = np.append(starts[1:], len(rows)) - 1
    rows = rows.iloc[order]
    _lock_loading(connection)
    bulk_insert.create_incoming(connection, rows.iloc[ends if replace else starts])
    stored = _read_stored(connection, len(starts))
    _insert_batch(connection, replace=replace)
    bulk_insert.drop_incoming(connection)
    compare = _outcomes_last_wins if replace else _outcomes_first_wins
    return MergeResult(*(_restore_order(column, order) for column in compare(rows, starts, stored)))


def _clean_batch(batch: pd.DataFrame) -> pd.DataFrame:
    missing = {"sensor_id", "timestamp", "value"} - set(batch.columns)
    if missing:
        raise DataError(
            f"Columns are missing: {', '.join(sorted(missing))}; the batch has {', '.join(batch.columns)}."
        )
    times = pd.to_datetime(batch["timestamp"])
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    rows = pd.DataFrame(
        {
            "sensor_id": batch["sensor_id"].astype(str).array,
            "timestamp": times.astype("datetime64[us]").array,
            "value": batch["value"].astype(float).array,
            "data_quality": batch["data_quality"].array if "data_quality" in batch else 0,
        }
    )
    bad = rows["timestamp"].isna() | ~np.isfinite(rows["value"]) | batch["sensor_id"].isna().array
    if bad.any():
        raise DataError(
            f"{bad.sum()} readings have no sensor, no time or no finite value; remove those rows."
        )
    return rows


def _groups(rows: pd.DataFrame) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The order by sensor, time and position in the batch, and where in it each group starts."""
    sensors, _ = pd.factorize(rows["sensor_id"], sort=True)
    times = rows["timestamp"].to_numpy()
    order = np.lexsort((times, sensors))
    differs = (np.diff(sensors[order]) != 0) | (np.diff(times[order]) != np.timedelta64(0))
    return order, np.flatnonzero(np.append(True, differs))


def _lock_loading(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOADING_LOCK})
        # With a hash join, each batch of 100,000 rows would read the whole table of readings.
        connection.exec_driver_sql("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")


def _read_stored(connection: Connection, groups: int) -> _StoredGroups:
    stored_columns = sensor_readings.c
    same_reading = and_(
        stored_columns.sensor_id == incoming.c.sensor_id, stored_columns.timestamp == incoming.c.timestamp
    )
    query = select(incoming.c.row, stored_columns.value, stored_columns.data_quality).join_from(
        incoming, sensor_readings, same_reading
    )
    known = bulk_insert.fetch(connection, query)
    stored = _StoredGroups(np.zeros(groups, bool), np.full(groups, np.nan), np.zeros(groups, np.int64))
    at = known["row"].to_numpy()
    stored.exists[at], stored.value[at], stored.quality[at] = True, known["value"], known["data_quality"]
    return stored


def _insert_batch(connection: Connection, *, replace: bool) -> None:
    names = ["sensor_id", "timestamp", "value", "data_quality"]
    # Without a WHERE, SQLite reads ON CONFLICT as the ON of a join.
    source = select(*(incoming.c[name] for name in names)).where(true()).order_by(incoming.c.row)
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(sensor_readings).from_select(names, source)
    if replace:
        newer = {name: statement.excluded[name] for name in ("value", "data_quality")}
        connection.execute(statement.on_conflict_do_update(index_elements=names[:2], set_=newer))
    else:
        connection.execute(statement.on_conflict_do_nothing())


OutcomesAndValues = tuple[npt.NDArray[np.int8], Floats]


def _outcomes_first_wins(
    rows: pd.DataFrame, starts: npt.NDArray[np.intp], stored: _StoredGroups
) -> OutcomesAndValues:
    """Compare each row with the stored value, or else with the first of its group."""
    values = rows["value"].to_numpy()
    sizes = np.diff(np.append(starts, len(rows)))
    compared = np.repeat(np.where(stored.exists, stored.value, values[starts]), sizes)
    outcomes = np.where(values == compared, MergeOutcome.KNOWN, MergeOutcome.CONTRADICTED).astype(np.int8)
    new = starts[~stored.exists]
    outcomes[new], compared[new] = MergeOutcome.NEW, np.nan
    return outcomes, compared


def _outcomes_last_wins(
    rows: pd.DataFrame, starts: npt.NDArray[np.intp], stored: _StoredGroups
) -> OutcomesAndValues:
    """Compare each row with the one before it in its group, the first with the stored value."""
    values, quality = rows["value"].to_numpy(), rows["data_quality"].to_numpy()
    compared, before = np.roll(values, 1), np.roll(quality, 1)
    compared[starts], before[starts] = stored.value, stored.quality
    unchanged = (values == compared) & (quality == before)
    outcomes = np.where(unchanged, MergeOutcome.KNOWN, MergeOutcome.CORRECTED).astype(np.int8)
    outcomes[starts[~stored.exists]] = MergeOutcome.NEW
    return outcomes, compared


def _restore_order(column: npt.NDArray[Any], order: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    restored = np.empty_like(column)
    restored[order] = column
    return restored
