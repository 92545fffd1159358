"""Predictions between frames and table rows.

Knows the columns of `ml_predictions` and what a frame may leave out. Knows no SQL; that is `predictions`'.
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
KEY = tuple(column.name for column in ml_predictions.primary_key)
DATA = tuple(name for name in COLUMNS if name not in {*KEY, "made_at"})
TIME = "datetime64[us]"
KINDS = {UtcTime: TIME, Double: "float64", Boolean: "boolean"}
TYPES = {c.name: KINDS[type(c.type)] for c in ml_predictions.columns if type(c.type) in KINDS}
TIMES = tuple(name for name, kind in TYPES.items() if kind == TIME)
# What the Python API of forecasters calls these columns.
FORECAST_NAMES = {"timestamps": "timestamp", "forecasted_values": "predicted_value"}


def rows_of(frame: pd.DataFrame, kind: Kind, made_at: datetime) -> Iterator[dict[str, Any]]:
    """One mapping a prediction, sorted by key; of two with one key the last."""
    table = completed(frame.rename(columns=FORECAST_NAMES), kind, made_at)
    # Two writers that lock the same rows in different orders wait for each other for ever.
    table = table.drop_duplicates(list(KEY), keep="last").sort_values(list(KEY))
    values = [plain(table[name]) for name in COLUMNS]
    for row in zip(*values, strict=True):
        yield dict(zip(COLUMNS, row, strict=True))


def completed(frame: pd.DataFrame, kind: Kind, made_at: datetime) -> pd.DataFrame:
    """The frame with every column of the table, what it leaves out empty.

    Raises:
        DataError: a column the key needs is missing or has holes, or one is of no use.
    """
    needed = ["sensor_id", "timestamp"] + (["origin"] if kind is Kind.FORECASTER else [])
    if lacking := [name for name in needed if name not in frame or frame[name].isna().any()]:
        raise DataError(f"Predictions of a {kind} need {', '.join(lacking)} in each row.")
    if unknown := sorted(set(frame.columns) - set(COLUMNS)):
        raise DataError(f"Predictions have no column {', '.join(unknown)}; they have {', '.join(COLUMNS)}.")
    table = frame.reindex(columns=list(COLUMNS))
    table["model_type"], table["made_at"] = kind.model_type, pd.Timestamp(made_at)
    table["origin"] = table["origin"].fillna(table["timestamp"]) if "origin" in frame else table["timestamp"]
    table["model_version"] = table["model_version"].map(
        lambda version: "" if pd.isna(version) else str(version)
    )
    for name in TIMES:
        table[name] = in_utc(table[name])
    return table.astype(TYPES | {"sensor_id": str}).replace([np.inf, -np.inf], np.nan)


def in_utc(times: pd.Series) -> pd.Series:
    """Times without a zone, in UTC."""
    found = pd.to_datetime(times)
    return found if found.dt.tz is None else found.dt.tz_convert("UTC").dt.tz_localize(None)


def plain(column: pd.Series) -> list[Any]:
    """The values as Python's own, None where there is none."""
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def frame_of(rows: Sequence[Row[Any]]) -> pd.DataFrame:
    """What the table gave back, with the types of the house."""
    frame = pd.DataFrame([tuple(row) for row in rows], columns=list(COLUMNS))
    return frame.astype(TYPES)
