"""Signs that a critical limit is going to be crossed: when, and with which probability.

Knows a forecast's band and a sensor's limits. The band says how the truth scatters around what is expected;
each side of it is taken as half of a normal curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy.stats import norm

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import ForecastRules
from training.common.formatting import format_duration, format_percent, format_value
from training.data.sensors import Sensor

HIGH, LOW = "high", "low"  # the subjects of its alerts


@dataclass(frozen=True)
class StoredForecast:
    """One forecast: what is expected at each step after its origin, the newest reading it has seen."""

    origin: datetime
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
    """One sign a forecast for the upper or the lower limit; `width` is the share of truths in the band."""
    limit = sensor.critical_high if side == HIGH else sensor.critical_low
    if limit is None:
        return []
    return [_condition(forecast, limit, sensor, side, rules, width) for forecast in forecasts]


def crossing_probabilities(forecast: StoredForecast, limit: float, side: str, width: float) -> np.ndarray:
    """For each step, how probable it is to be beyond the limit then.

    >>> from datetime import timedelta
    >>> begin = datetime.fromisoformat("2026-01-01")
    >>> ahead = [begin + timedelta(hours=hour) for hour in (1, 2)]
    >>> rising = Foreseen(begin, 8.0, ahead, [9.0, 10.0], [8.0, 9.0], [10.0, 11.0], "1")
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
    highest = float(np.nanmax(probabilities, initial=0.0))
    inside = np.inf if forecast.value is None else (limit - forecast.value) * (1 if side == HIGH else -1)
    crossed = inside <= 0
    if crossed:
        crosses_at, text = forecast.origin, f"{format_value(forecast.value or 0.0, sensor.unit)} is beyond"
        probability = 1.0
    elif probable.size:
        crosses_at, probability = forecast.times[int(probable[0])], float(probabilities[probable].max())
        text = f"in {format_duration(crosses_at - forecast.origin)} it will probably ({format_percent(probability, 1)}) cross"
    else:
        is_over = highest < rules.probability - rules.hysteresis and inside > rules.deadband
        return Condition(forecast.origin, 0, 0 if is_over else Severity.CRITICAL)
    name = "upper" if side == HIGH else "lower"
    evidence = AlertEvidence(
        weight=probability,
        value=forecast.value,
        limit=limit,
        crosses_at=crosses_at,
        probability=probability,
        reason=f"{text} the {name} critical limit of {format_value(limit, sensor.unit)}",
        model_version=forecast.model_version,
    )
    return Condition(forecast.origin, Severity.CRITICAL, Severity.CRITICAL, evidence)
