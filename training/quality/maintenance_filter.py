"""Readings that no model learns from: those that came while somebody worked on the sensor or its platform.

Knows the table of maintenance. Who plans work, and that no alert begins then, is `monitoring`'s.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from sqlalchemy import Engine, or_, select

from training.data.sensors import Sensor
from training.storage.alert_tables import maintenance
from training.storage.database import reading

TimeInterval = tuple[datetime, datetime]  # from, until (excluded), naive UTC


def maintenance_intervals(engine: Engine, sensor: Sensor) -> list[TimeInterval]:
    """When somebody worked, or will work, on a sensor or its platform."""
    columns = maintenance.c
    affects_sensor = or_(columns.sensor_id == sensor.id, columns.platform == (sensor.platform or None))
    query = select(columns.start, columns.end).where(affects_sensor).order_by(columns.start)
    with reading(engine) as connection:
        return [(start, end) for start, end in connection.execute(query)]


def exclude_intervals(readings: pd.DataFrame, intervals: Sequence[TimeInterval]) -> pd.DataFrame:
    """The rows whose `timestamp` lies in none of the stretches.

    >>> day = pd.DataFrame({"timestamp": pd.date_range("2026-01-01", periods=4, freq="h")})
    >>> one = datetime(2026, 1, 1, 1)
    >>> without(day, [(one, datetime(2026, 1, 1, 3))])["timestamp"].dt.hour.tolist()
    [0, 3]
    """
    times = pd.DatetimeIndex(readings["timestamp"])
    inside = np.zeros(len(readings), dtype=np.bool_)
    for start, end in intervals:
        inside |= (times >= pd.Timestamp(start)) & (times < pd.Timestamp(end))
    return readings[~inside] if inside.any() else readings
