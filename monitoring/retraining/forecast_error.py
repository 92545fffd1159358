"""How wrong a version's forecasts turned out to be, by the readings that came since.

Knows how stored forecasts meet readings. What error a version promised is on its run; what follows from the
difference belongs to `retraining_need`.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, and_, func, select

from training.data.readings import GOOD_QUALITY
from training.kinds import Kind
from training.storage.database import ml_predictions, reading, sensor_readings

ENOUGH = 24  # steps that came true; fewer say little


@dataclass(frozen=True)
class Missed:
    """The mean distance between forecast and reading, in the sensor's unit."""

    error: float
    steps: int


def forecast_error(
    engine: Engine, sensor_id: str, version: int, *, start: datetime, end: datetime
) -> Missed | None:
    """How wrong one version's forecasts from after start were for times until end; None for too few."""
    said, read = ml_predictions.c, sensor_readings.c
    came = and_(
        read.sensor_id == said.sensor_id, read.timestamp == said.timestamp, read.data_quality == GOOD_QUALITY
    )
    query = (
        select(func.avg(func.abs(said.predicted_value - read.value)), func.count())
        .select_from(ml_predictions.join(sensor_readings, came))
        .where(
            said.sensor_id == sensor_id,
            said.model_type == Kind.FORECASTER.model_type,
            said.model_version == str(version),
            said.origin > start,
            said.timestamp > start,
            said.timestamp <= end,
        )
    )
    with reading(engine) as connection:
        error, steps = connection.execute(query).one()
    return Missed(float(error), int(steps)) if steps >= ENOUGH else None
