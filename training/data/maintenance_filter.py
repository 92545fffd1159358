"""Exclude the readings that came during maintenance: no model learns from them.

Reads the table of maintenance windows. Planning them, and raising no alert in them, is
`monitoring.alerts.maintenance`.
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
    """The maintenance windows of a sensor and of its platform, in order of their start."""
    columns = maintenance.c
    affects_sensor = or_(columns.sensor_id == sensor.id, columns.platform == (sensor.platform or None))
    query = select(columns.start, columns.end).where(affects_sensor).order_by(columns.start)
    with reading(engine) as connection:
        return [(start, end) for start, end in connection.execute(query)]


def exclude_intervals(readings: pd.DataFrame, intervals: Sequence[TimeInterval]) -> pd.DataFrame:
    """The rows whose `timestamp` lies in none of the intervals.

    >>> day = pd.DataFrame({"timestamp": pd.date_range("2026-01-01", periods=4, freq="h")})
    >>> interval = (datetime(2026, 1, 1, 1), datetime(2026, 1, 1, 3))
    >>> exclude_intervals(day, [interval])["timestamp"].dt.hour.tolist()
    [0, 3]
    """
    times = pd.DatetimeIndex(readings["timestamp"])
    inside = np.zeros(len(readings), dtype=np.bool_)
    for start, end in intervals:
        inside |= (times >= pd.Timestamp(start)) & (times < pd.Timestamp(end))
    return readings[~inside] if inside.any() else readings
