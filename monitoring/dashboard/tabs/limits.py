"""A sensor's limits on the page, and where a forecast may cross one: when, and how probably.

Knows which limits are drawn and how a crossing is told. The probability is that of the forecast alerts.
"""

from datetime import datetime

import numpy as np

from monitoring.alerts.rules import RuleBook
from monitoring.dashboard.charts import CRITICAL, Crossing, Limit
from monitoring.dashboard.sensor_data import Outlook
from monitoring.dashboard.wording import lasting
from monitoring.i18n.translation import Words
from monitoring.watch.forecast_conditions import HIGH, LOW, Foreseen, crossing_probabilities
from training.data.sensors import Sensor
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings

POSSIBLE = 2  # the weight of a crossing that may be, but probably will not


def limits_of(_: Words, sensor: Sensor) -> list[Limit]:
    """The critical limits and the physical range of a sensor, as far as they are known."""
    named = (
        (sensor.critical_high, _("upper critical limit"), CRITICAL),
        (sensor.critical_low, _("lower critical limit"), CRITICAL),
        (sensor.high, _("end of range"), 1),
        (sensor.low, _("end of range"), 1),
    )
    return [
        Limit(value, f"{name} {_.number(value)} {sensor.unit}".strip(), weight)
        for value, name, weight in named
        if value is not None
    ]


def crossings_of(_: Words, sensor: Sensor, ahead: Outlook, newest: datetime) -> list[Crossing]:
    """Where a forecast passes each critical limit, as forecast alerts see it; where it does not, its band."""
    found = []
    for side, value in ((HIGH, sensor.critical_high), (LOW, sensor.critical_low)):
        if value is not None and (crossing := _crossing(_, sensor, ahead, newest, side, value)) is not None:
            found.append(crossing)
    return found


def _crossing(
    _: Words, sensor: Sensor, ahead: Outlook, newest: datetime, side: str, value: float
) -> Crossing | None:
    (limit,) = [one for one in limits_of(_, sensor) if one.value == value and one.weight == CRITICAL][:1]
    now = ahead.summary["current_value"]
    if now >= value if side == HIGH else now <= value:
        return Crossing(
            newest, limit, _("The newest reading is beyond the {limit}", limit=limit.name), CRITICAL
        )
    width = load_settings(ForecasterSettings).interval_width
    chances = crossing_probabilities(_foreseen(ahead, newest, now), value, side, width)
    probable = RuleBook.from_conf().of(sensor).forecast.probability
    highest = float(np.nanmax(chances, initial=0.0))
    for least, weight in ((probable, CRITICAL), ((1 - width) / 2, POSSIBLE)):
        places = np.flatnonzero(chances >= least)
        if not places.size:
            continue
        at = ahead.frame["timestamps"].iloc[int(places[0])].to_pydatetime()
        named = {
            "probability": _.percent(highest),
            "limit": limit.name,
            "moment": _.moment(at),
            "time": lasting(_, at - newest),
        }
        if weight == CRITICAL:
            sentence = _("Will probably ({probability}) cross the {limit}: {moment}, in {time}", **named)
        else:
            sentence = _("May ({probability}) cross the {limit}: from {moment}, in {time}", **named)
        return Crossing(at, limit, sentence, weight)
    return None


def _foreseen(ahead: Outlook, newest: datetime, value: float) -> Foreseen:
    frame = ahead.frame
    return Foreseen(
        origin=newest,
        value=value,
        times=frame["timestamps"].dt.to_pydatetime().tolist(),
        expected=frame["forecasted_values"].tolist(),
        lower=frame["lower_bound"].tolist(),
        upper=frame["upper_bound"].tolist(),
        model_version=ahead.said_by,
    )
