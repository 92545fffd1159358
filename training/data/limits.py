"""Judge readings against the limits of their sensor: which limit is reached, and by how much.

By rule and without a model, for the alert watch and the endpoint alike. Knows no time but that between two
readings: dead bands and delays are in `monitoring.watch.limit_conditions`.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from training.common.arrays import Floats
from training.data.sensors import Sensor
from training.reasons import Reason, ReasonCode

MINUTE_SECONDS = 60.0
# A rate is measured over a minute or over one interval, whichever is longer: the noise of readings every
# second would be multiplied by 60. Of readings every minute, the previous one counts even if it came late.
MIN_RATE_SECONDS = 0.75 * MINUTE_SECONDS


class LimitKind(StrEnum):
    """The limits of a sensor, the most severe first; the subject of a limit alert."""

    HIGH_HIGH = "high_high"  # critical_high
    LOW_LOW = "low_low"  # critical_low
    RATE_OF_CHANGE = "rate_of_change"  # max_rate
    HIGH = "high"  # warning_high
    LOW = "low"  # warning_low


SEVERITY_OF_LIMIT = {
    LimitKind.HIGH_HIGH: 4,
    LimitKind.LOW_LOW: 4,
    LimitKind.RATE_OF_CHANGE: 3,
    LimitKind.HIGH: 2,
    LimitKind.LOW: 2,
}
# A reading beyond the critical limit is beyond the warning limit too, which is not reported as well.
CRITICAL_LIMIT_OF = {LimitKind.HIGH: LimitKind.HIGH_HIGH, LimitKind.LOW: LimitKind.LOW_LOW}
REASON_OF_LIMIT = {
    LimitKind.HIGH_HIGH: ReasonCode.LIMIT_UPPER_CROSSED,
    LimitKind.LOW_LOW: ReasonCode.LIMIT_LOWER_CROSSED,
    LimitKind.RATE_OF_CHANGE: ReasonCode.LIMIT_RATE_CROSSED,
    LimitKind.HIGH: ReasonCode.LIMIT_HIGH_CROSSED,
    LimitKind.LOW: ReasonCode.LIMIT_LOW_CROSSED,
}


class MeasuredReading(NamedTuple):
    """A reading as limits see it."""

    value: float
    rate: float = np.nan  # of change in the unit per minute; NaN for the first reading


class CrossedLimit(NamedTuple):
    """A limit that a reading has reached."""

    kind: LimitKind
    limit: float
    excess: float  # how far the reading is beyond it, at least 0
    reason: Reason


def limit_of(sensor: Sensor, kind: LimitKind) -> float | None:
    """The limit of this kind; None where the sensor has none.

    >>> limit_of(Sensor(id="PT-1", critical_high=310), LimitKind.HIGH_HIGH)
    310.0
    """
    return {
        LimitKind.HIGH_HIGH: sensor.critical_high,
        LimitKind.LOW_LOW: sensor.critical_low,
        LimitKind.RATE_OF_CHANGE: sensor.max_rate,
        LimitKind.HIGH: sensor.warning_high,
        LimitKind.LOW: sensor.warning_low,
    }[kind]


def limit_excess(kind: LimitKind, limit: float, measured: MeasuredReading) -> float:
    """How far a reading is beyond a limit: 0 at the limit, negative inside it.

    A reading without a rate of change is as far inside as it can be.

    >>> limit_excess(LimitKind.LOW, 20.0, MeasuredReading(17.5))
    2.5
    """
    if kind is LimitKind.RATE_OF_CHANGE:
        return -limit if np.isnan(measured.rate) else abs(measured.rate) - limit
    return measured.value - limit if kind in {LimitKind.HIGH_HIGH, LimitKind.HIGH} else limit - measured.value


def crossed_limit(sensor: Sensor, kind: LimitKind, measured: MeasuredReading) -> CrossedLimit | None:
    """The limit of this kind with its reason, where the reading has reached it."""
    limit = limit_of(sensor, kind)
    if limit is None or (excess := limit_excess(kind, limit, measured)) < 0:
        return None
    values = {"value": measured.value, "limit": limit, "unit": sensor.unit}
    if kind is LimitKind.RATE_OF_CHANGE:
        values["rate"] = measured.rate
    return CrossedLimit(kind, limit, excess, Reason(REASON_OF_LIMIT[kind], values))


def most_severe_limit(sensor: Sensor, measured: MeasuredReading) -> CrossedLimit | None:
    """The most severe limit that a reading has reached; None inside all limits and outside the range.

    >>> sensor = Sensor(id="PT-1", warning_high=30, critical_high=40)
    >>> crossed = most_severe_limit(sensor, MeasuredReading(42.0))
    >>> (crossed.kind.value, crossed.excess)
    ('high_high', 2.0)
    """
    if is_out_of_range(sensor, measured.value):
        return None
    crossings = (crossed_limit(sensor, kind, measured) for kind in LimitKind)
    return next((crossing for crossing in crossings if crossing is not None), None)


def is_out_of_range(sensor: Sensor, value: float) -> bool:
    """Whether a reading is beyond what the instrument can measure: a fault of the instrument.

    It has reached no limit, whatever its value is: an instrument in fault does not measure the process.
    """
    return sensor.physical_range.exceeded_end(value) is not None


def rates_of_change(seconds: Floats, values: Floats) -> Floats:
    """The change per minute up to each reading, signed; NaN where no earlier reading is old enough.

    >>> rates_of_change(np.array([0.0, 60.0, 180.0]), np.array([10.0, 12.0, 9.0])).tolist()
    [nan, 2.0, -1.5]
    """
    earlier = np.searchsorted(seconds, seconds - MIN_RATE_SECONDS, side="right") - 1
    elapsed = seconds - seconds[earlier]
    rates = np.full(len(values), np.nan)
    measurable = earlier >= 0
    rates[measurable] = (values - values[earlier])[measurable] / elapsed[measurable] * MINUTE_SECONDS
    return rates
