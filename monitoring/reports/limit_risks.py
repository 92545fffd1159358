"""Critical limits at risk of being crossed in a period, by each sensor's newest forecast.

A risk may be less probable than an alert; forecast alerts are in `monitoring.watch.forecast_conditions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from monitoring.alerts.kinds import AlertType
from monitoring.watch.forecast_conditions import HIGH, LOW, StoredForecast, crossing_probabilities
from monitoring.watch.new_data import load_new_data
from training.data.sensors import Sensor
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings
from training.workspace import Workspace

MAX_FORECAST_AGE = timedelta(days=1)  # older forecasts are ignored
MIN_PROBABILITY = 0.1  # less probable crossings are not listed


@dataclass(frozen=True)
class LimitRisk:
    """One limit at risk; times are naive UTC."""

    sensor: Sensor
    limit: float
    value: float | None  # the newest reading before the forecast
    at: datetime  # the first time with at least MIN_PROBABILITY
    probability: float  # the highest in the period
    forecast_at: datetime


def find_risks(
    workspace: Workspace, sensors: Sequence[Sensor], *, start: datetime, end: datetime
) -> list[LimitRisk]:
    """The limits at risk after `start` and until `end`, the most probable first."""
    limited = {s.id: s for s in sensors if s.critical_high is not None or s.critical_low is not None}
    start_times = {kind: dict[str, datetime]() for kind in AlertType}
    start_times[AlertType.FORECAST_WARNING] = dict.fromkeys(limited, start - MAX_FORECAST_AGE)
    width = load_settings(ForecasterSettings).interval_width
    risks = [
        risk
        for sensor_id, new_data in load_new_data(workspace, start_times, now=start).items()
        for side in (HIGH, LOW)
        if (risk := _find_risk(limited[sensor_id], new_data.forecasts[-1], side, width, start, end))
        is not None
    ]
    return sorted(risks, key=lambda risk: (-risk.probability, risk.at, risk.sensor.id))


def _find_risk(
    sensor: Sensor, forecast: StoredForecast, side: str, width: float, start: datetime, end: datetime
) -> LimitRisk | None:
    limit = sensor.critical_high if side == HIGH else sensor.critical_low
    if limit is None:
        return None
    within = np.array([start < at <= end for at in forecast.times], bool)
    chances = np.where(within, np.nan_to_num(crossing_probabilities(forecast, limit, side, width)), 0.0)
    probable_steps = np.flatnonzero(chances >= MIN_PROBABILITY)
    if not probable_steps.size:
        return None
    at, probability = forecast.times[int(probable_steps[0])], float(chances.max())
    return LimitRisk(sensor, limit, forecast.value, at, probability, forecast.origin)
