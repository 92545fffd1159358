"""Convert predictions between data frames and rows of `ml_predictions`.

A frame may leave out columns. SQL is in `store` and `upsert`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Boolean, Double, Row

from training.errors import DataError
from training.kinds import Kind
from training.storage.columns import UtcTime
from training.storage.database import ml_predictions

COLUMNS = tuple(column.name for column in ml_predictions.columns)
KEY_COLUMNS = tuple(column.name for column in ml_predictions.primary_key)
DATA_COLUMNS = tuple(name for name in COLUMNS if name not in {*KEY_COLUMNS, "made_at"})
TIME_DTYPE = "datetime64[us]"
DTYPE_BY_TYPE = {UtcTime: TIME_DTYPE, Double: "float64", Boolean: "boolean"}
COLUMN_DTYPES = {
    c.name: DTYPE_BY_TYPE[type(c.type)] for c in ml_predictions.columns if type(c.type) in DTYPE_BY_TYPE
}
TIME_COLUMNS = tuple(name for name, kind in COLUMN_DTYPES.items() if kind == TIME_DTYPE)
# The names of these columns in a forecaster's frame.
FORECAST_COLUMN_NAMES = {"timestamps": "timestamp", "forecasted_values": "predicted_value"}


def to_rows(frame: pd.DataFrame, kind: Kind, made_at: datetime) -> Iterator[dict[str, Any]]:
    """One mapping per prediction, sorted by key; the last of several with the same key."""
    table = complete_columns(frame.rename(columns=FORECAST_COLUMN_NAMES), kind, made_at)
    # Writers that lock the same rows in different orders would deadlock.
    table = table.drop_duplicates(list(KEY_COLUMNS), keep="last").sort_values(list(KEY_COLUMNS))
    values = [to_python_values(table[name]) for name in COLUMNS]
    for row in zip(*values, strict=True):
        yield dict(zip(COLUMNS, row, strict=True))


def complete_columns(frame: pd.DataFrame, kind: Kind, made_at: datetime) -> pd.DataFrame:
    """The frame with every column of the table; missing columns are empty.

    Raises:
        DataError: a key column is missing or incomplete, or a column is unknown.
    """
    needed = ["sensor_id", "timestamp"] + (["origin"] if kind is Kind.FORECASTER else [])
    if missing := [name for name in needed if name not in frame or frame[name].isna().any()]:
        raise DataError(f"Predictions of a {kind} need {', '.join(missing)} in every row.")
    if unknown := sorted(set(frame.columns) - set(COLUMNS)):
        raise DataError(f"Predictions have no column {', '.join(unknown)}; they have {', '.join(COLUMNS)}.")
    table = frame.reindex(columns=list(COLUMNS))
    table["model_type"], table["made_at"] = kind.model_type, pd.Timestamp(made_at)
    table["origin"] = table["origin"].fillna(table["timestamp"]) if "origin" in frame else table["timestamp"]
    table["model_version"] = table["model_version"].map(
        lambda version: "" if pd.isna(version) else str(version)
    )
    for name in TIME_COLUMNS:
        table[name] = _to_naive_utc(table[name])
    return table.astype(COLUMN_DTYPES | {"sensor_id": str}).replace([np.inf, -np.inf], np.nan)


def _to_naive_utc(times: pd.Series) -> pd.Series:
    parsed = pd.to_datetime(times)
    return parsed if parsed.dt.tz is None else parsed.dt.tz_convert("UTC").dt.tz_localize(None)


def to_python_values(column: pd.Series) -> list[Any]:
    """The values as Python objects, None for missing ones."""
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def to_frame(rows: Sequence[Row[Any]]) -> pd.DataFrame:
    """Rows of the table as a frame with the columns' types."""
    frame = pd.DataFrame([tuple(row) for row in rows], columns=list(COLUMNS))
    return frame.astype(COLUMN_DTYPES)
