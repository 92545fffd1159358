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

MIN_STEPS = 24  # steps that came true; fewer say little


@dataclass(frozen=True)
class ObservedForecastError:
    """The mean distance between forecast and reading, in the sensor's unit."""

    error: float
    steps: int


def observed_forecast_error(
    engine: Engine, sensor_id: str, version: int, *, start: datetime, end: datetime
) -> ObservedForecastError | None:
    """How wrong one version's forecasts from after start were for times until end; None for too few."""
    prediction, reading_column = ml_predictions.c, sensor_readings.c
    is_match = and_(
        reading_column.sensor_id == prediction.sensor_id,
        reading_column.timestamp == prediction.timestamp,
        reading_column.data_quality == GOOD_QUALITY,
    )
    query = (
        select(func.avg(func.abs(prediction.predicted_value - reading_column.value)), func.count())
        .select_from(ml_predictions.join(sensor_readings, is_match))
        .where(
            prediction.sensor_id == sensor_id,
            prediction.model_type == Kind.FORECASTER.model_type,
            prediction.model_version == str(version),
            prediction.origin > start,
            prediction.timestamp > start,
            prediction.timestamp <= end,
        )
    )
    with reading(engine) as connection:
        error, steps = connection.execute(query).one()
    return ObservedForecastError(float(error), int(steps)) if steps >= MIN_STEPS else None
