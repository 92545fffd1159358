"""Conditions of forecast alerts: when a critical limit will be reached, and with which probability.

Takes each half of the forecast interval as half of a normal distribution around the expected value. Forecasts
are made in `training.forecasting`; a limit that a reading has already reached is a limit alert
(`limit_conditions`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy.stats import norm

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import ForecastRules
from training.data.sensors import Sensor
from training.reasons import Reason, ReasonCode

HIGH, LOW = "high", "low"  # the subjects of forecast alerts


@dataclass(frozen=True)
class StoredForecast:
    """One forecast: expected value and interval at each step after its origin."""

    origin: datetime  # the time of the newest reading it is based on
    value: float | None  # of that reading
    times: Sequence[datetime]
    expected: Sequence[float]
    lower: Sequence[float]
    upper: Sequence[float]
    model_version: str


def crossing_conditions(
    forecasts: Sequence[StoredForecast],
    sensor: Sensor,
    side: str,
    rules: ForecastRules,
    *,
    width: float,
) -> list[Condition]:
    """One condition per forecast for the high or low limit; `width` is the probability of the interval."""
    limit = sensor.critical_high if side == HIGH else sensor.critical_low
    if limit is None:
        return []
    return [_condition(forecast, limit, sensor, side, rules, width) for forecast in forecasts]


def crossing_probabilities(forecast: StoredForecast, limit: float, side: str, width: float) -> np.ndarray:
    """For each step, the probability of being beyond the limit.

    >>> from datetime import timedelta
    >>> begin = datetime.fromisoformat("2026-01-01")
    >>> ahead = [begin + timedelta(hours=hour) for hour in (1, 2)]
    >>> rising = StoredForecast(begin, 8.0, ahead, [9.0, 10.0], [8.0, 9.0], [10.0, 11.0], "1")
    >>> crossing_probabilities(rising, 10.0, HIGH, width=0.95).round(3).tolist()
    [0.025, 0.5]
    """
    expected = np.asarray(forecast.expected, float)
    edge = np.asarray(forecast.upper if side == HIGH else forecast.lower, float)
    away = limit - expected if side == HIGH else expected - limit
    deviation = np.maximum(np.abs(edge - expected) / norm.ppf(0.5 + width / 2), 1e-300)
    return np.asarray(norm.sf(np.clip(away / deviation, -38, 38)))


def _condition(
    forecast: StoredForecast, limit: float, sensor: Sensor, side: str, rules: ForecastRules, width: float
) -> Condition:
    probabilities = crossing_probabilities(forecast, limit, side, width)
    probable = np.flatnonzero(probabilities >= rules.probability)
    inside = np.inf if forecast.value is None else (limit - forecast.value) * (1 if side == HIGH else -1)
    if inside <= 0:
        return Condition(forecast.origin)
    if not probable.size:
        highest = float(np.nanmax(probabilities, initial=0.0))
        is_over = highest < rules.probability - rules.hysteresis and inside > rules.deadband
        return Condition(forecast.origin, 0, 0 if is_over else Severity.CRITICAL, value=forecast.value)
    crosses_at, probability = forecast.times[int(probable[0])], float(probabilities[probable].max())
    values = {
        "limit": limit,
        "unit": sensor.unit,
        "duration": (crosses_at - forecast.origin).total_seconds(),
        "probability": probability,
    }
    code = ReasonCode.LIMIT_UPPER_EXPECTED if side == HIGH else ReasonCode.LIMIT_LOWER_EXPECTED
    evidence = AlertEvidence(
        weight=probability,
        value=forecast.value,
        limit=limit,
        crosses_at=crosses_at,
        probability=probability,
        model_version=forecast.model_version,
        reasons=(Reason(code, values),),
    )
    return Condition(forecast.origin, Severity.CRITICAL, Severity.CRITICAL, evidence, value=forecast.value)
