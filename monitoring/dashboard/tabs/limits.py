"""A sensor's limits on the page, and where a forecast may cross one: when, and how probably.

Knows which limits are drawn and how a crossing is told. The probability is that of the forecast alerts.
"""

from datetime import datetime

import numpy as np

from monitoring.alerts.rules import AlertRules
from monitoring.dashboard.charts import CRITICAL_WEIGHT, LimitCrossing, LimitLine
from monitoring.dashboard.sensor_data import ForecastView
from monitoring.dashboard.wording import duration_text
from monitoring.i18n.translation import Translator
from monitoring.watch.forecast_conditions import HIGH, LOW, StoredForecast, crossing_probabilities
from training.data.sensors import Sensor
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings

POSSIBLE_WEIGHT = 2  # the weight of a crossing that may be, but probably will not


def sensor_limits(_: Translator, sensor: Sensor) -> list[LimitLine]:
    """The critical limits and the physical range of a sensor, as far as they are known."""
    named = (
        (sensor.critical_high, _("upper critical limit"), CRITICAL_WEIGHT),
        (sensor.critical_low, _("lower critical limit"), CRITICAL_WEIGHT),
        (sensor.high, _("end of range"), 1),
        (sensor.low, _("end of range"), 1),
    )
    return [
        LimitLine(value, f"{name} {_.number(value)} {sensor.unit}".strip(), weight)
        for value, name, weight in named
        if value is not None
    ]


def forecast_crossings(
    _: Translator, sensor: Sensor, forecast: ForecastView, newest: datetime
) -> list[LimitCrossing]:
    """Where a forecast passes each critical limit, as forecast alerts see it; where it does not, its band."""
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
    (limit,) = [
        one for one in sensor_limits(_, sensor) if one.value == value and one.weight == CRITICAL_WEIGHT
    ][:1]
    now = forecast.summary["current_value"]
    if now >= value if side == HIGH else now <= value:
        return LimitCrossing(
            newest, limit, _("The newest reading is beyond the {limit}", limit=limit.name), CRITICAL_WEIGHT
        )
    width = load_settings(ForecasterSettings).interval_width
    chances = crossing_probabilities(_to_stored_forecast(forecast, newest, now), value, side, width)
    probable = AlertRules.from_conf().of(sensor).forecast.probability
    highest = float(np.nanmax(chances, initial=0.0))
    for min_probability, weight in ((probable, CRITICAL_WEIGHT), ((1 - width) / 2, POSSIBLE_WEIGHT)):
        crossing_steps = np.flatnonzero(chances >= min_probability)
        if not crossing_steps.size:
            continue
        at = forecast.frame["timestamps"].iloc[int(crossing_steps[0])].to_pydatetime()
        named = {
            "probability": _.percent(highest),
            "limit": limit.name,
            "moment": _.moment(at),
            "time": duration_text(_, at - newest),
        }
        if weight == CRITICAL_WEIGHT:
            sentence = _("Will probably ({probability}) cross the {limit}: {moment}, in {time}", **named)
        else:
            sentence = _("May ({probability}) cross the {limit}: from {moment}, in {time}", **named)
        return LimitCrossing(at, limit, sentence, weight)
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
        model_version=forecast.served_by,
    )
