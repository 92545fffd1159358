"""The observed error of a version's stored forecasts against the readings that followed.

The error at training is on the version's run; both are compared in `need`.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, and_, func, select

from training.data.readings import GOOD_QUALITY
from training.kinds import Kind
from training.storage.database import ml_predictions, reading, sensor_readings

MIN_STEPS = 24  # forecast steps with a reading; fewer are not enough


@dataclass(frozen=True)
class ObservedForecastError:
    """The mean absolute error, in the sensor's unit."""

    error: float
    steps: int


def observed_forecast_error(
    engine: Engine, sensor_id: str, version: int, *, start: datetime, end: datetime
) -> ObservedForecastError | None:
    """The error of one version's forecasts made after `start`, for times until `end`; None for too few."""
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
