"""Limits of a sensor on the page, and where a forecast may cross one: when, and with which probability.

Probabilities are those of forecast alerts (`monitoring.watch.forecast_conditions`); drawing is in `charts`.
"""

from datetime import datetime

import numpy as np

from monitoring.alerts.rules import AlertRules
from monitoring.dashboard.chart_elements import CRITICAL_WEIGHT, LimitCrossing, LimitLine
from monitoring.dashboard.sensor_data import ForecastView
from monitoring.i18n.translation import Translator
from monitoring.watch.forecast_conditions import HIGH, LOW, StoredForecast, crossing_probabilities
from training.data.sensors import Sensor
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings

WARNING_WEIGHT = 2
POSSIBLE_WEIGHT = 2  # the severity of a crossing that is possible but not probable


def sensor_limits(_: Translator, sensor: Sensor) -> list[LimitLine]:
    """The limits and the instrument range of a sensor, as far as they are configured."""
    limits = (
        (sensor.critical_high, _("critical high limit"), CRITICAL_WEIGHT),
        (sensor.critical_low, _("critical low limit"), CRITICAL_WEIGHT),
        (sensor.warning_high, _("high limit"), WARNING_WEIGHT),
        (sensor.warning_low, _("low limit"), WARNING_WEIGHT),
        (sensor.high, _("instrument limit"), 1),
        (sensor.low, _("instrument limit"), 1),
    )
    return [
        LimitLine(value, f"{name} {_.quantity(value, sensor.unit)}", weight)
        for value, name, weight in limits
        if value is not None
    ]


def forecast_crossings(
    _: Translator, sensor: Sensor, forecast: ForecastView, newest: datetime
) -> list[LimitCrossing]:
    """The first crossing of each critical limit by a forecast or by its interval."""
    crossings = []
    for side, value in ((HIGH, sensor.critical_high), (LOW, sensor.critical_low)):
        if (
            value is not None
            and (crossing := _find_crossing(_, sensor, forecast, newest, side, value)) is not None
        ):
            crossings.append(crossing)
    return crossings


def _find_crossing(
    _: Translator, sensor: Sensor, forecast: ForecastView, newest: datetime, side: str, value: float
) -> LimitCrossing | None:
    limit = next(
        limit
        for limit in sensor_limits(_, sensor)
        if limit.value == value and limit.weight == CRITICAL_WEIGHT
    )
    current = forecast.summary["current_value"]
    if current >= value if side == HIGH else current <= value:
        return LimitCrossing(
            newest, limit, _("The newest reading is beyond the {limit}", limit=limit.label), CRITICAL_WEIGHT
        )
    width = load_settings(ForecasterSettings).interval_width
    probabilities = crossing_probabilities(_to_stored_forecast(forecast, newest, current), value, side, width)
    probable = AlertRules.from_conf().of(sensor).forecast.probability
    highest = float(np.nanmax(probabilities, initial=0.0))
    for min_probability, weight in ((probable, CRITICAL_WEIGHT), ((1 - width) / 2, POSSIBLE_WEIGHT)):
        crossing_steps = np.flatnonzero(probabilities >= min_probability)
        if not crossing_steps.size:
            continue
        at = forecast.frame["timestamps"].iloc[int(crossing_steps[0])].to_pydatetime()
        values = {
            "probability": _.percent(highest),
            "limit": limit.label,
            "moment": _.moment(at),
            "time": _.duration((at - newest).total_seconds()),
        }
        if weight == CRITICAL_WEIGHT:
            text = _("Expected to cross the {limit} ({probability}) at {moment}, in {time}", **values)
        else:
            text = _("May cross the {limit} ({probability}) from {moment}, in {time}", **values)
        return LimitCrossing(at, limit, text, weight)
    return None


def _to_stored_forecast(forecast: ForecastView, newest: datetime, value: float) -> StoredForecast:
    frame = forecast.frame
    return StoredForecast(
        origin=newest,
        value=value,
        times=frame["timestamps"].dt.to_pydatetime().tolist(),
        expected=frame["forecasted_values"].tolist(),
        lower=frame["lower_bound"].tolist(),
        upper=frame["upper_bound"].tolist(),
        model_version=forecast.model_version,
    )
