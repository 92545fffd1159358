"""Judge posted readings against the limits and the range of their sensor, without a model.

Limits are defined in `training.data.limits`; judgements are written into the answer by `response`. A change
is compared with `max_rate` where the reading before is posted too or in memory.
"""

from typing import NamedTuple

import numpy as np

from serving.recent_readings import Tail
from training.common.arrays import Floats
from training.data.limits import (
    SEVERITY_OF_LIMIT,
    LimitKind,
    MeasuredReading,
    limit_of,
    most_severe_limit,
    rates_of_change,
)
from training.data.sensors import Sensor
from training.reasons import Reason, ReasonCode

SEVERITY_NAMES = {2: "warning", 3: "danger", 4: "critical"}  # those of the alert that the reading raises
INSTRUMENT_SEVERITY = SEVERITY_NAMES[2]


class LimitJudgement(NamedTuple):
    """What a reading is beyond: a limit of the plant, or the range of its instrument."""

    severity: str
    reason: Reason


def judge_limits(sensor: Sensor, seconds: Floats, values: Floats, stored: Tail) -> dict[int, LimitJudgement]:
    """The readings that have reached a limit or are out of range, by position.

    `seconds` and `values` are the posted readings in order of time, `stored` those of the store around them.
    """
    rates = _rates(sensor, seconds, values, stored)
    candidates = _reaches_a_level(sensor, values)
    if sensor.max_rate is not None:
        candidates |= np.abs(np.nan_to_num(rates)) >= sensor.max_rate
    judgements = {
        position: _judge(sensor, MeasuredReading(float(values[position]), float(rates[position])))
        for position in np.flatnonzero(candidates).tolist()
    }
    return {position: judgement for position, judgement in judgements.items() if judgement is not None}


def _rates(sensor: Sensor, seconds: Floats, values: Floats, stored: Tail) -> Floats:
    rates = np.full(len(values), np.nan)
    if sensor.max_rate is None or not len(values):
        return rates
    together = Tail(stored.seconds, stored.values).merged(seconds, values)
    measured = ~sensor.physical_range.excludes(together.values)
    times = together.seconds[measured]
    places = np.searchsorted(times, seconds)
    is_measured = np.isin(seconds, times)
    rates[is_measured] = rates_of_change(times, together.values[measured])[places[is_measured]]
    return rates


def _reaches_a_level(sensor: Sensor, values: Floats) -> np.ndarray:
    """Which readings are at the innermost limit of a side or beyond it, or out of range."""
    highs = [limit_of(sensor, kind) for kind in (LimitKind.HIGH_HIGH, LimitKind.HIGH)]
    lows = [limit_of(sensor, kind) for kind in (LimitKind.LOW_LOW, LimitKind.LOW)]
    lowest_high = min((limit for limit in highs if limit is not None), default=np.inf)
    highest_low = max((limit for limit in lows if limit is not None), default=-np.inf)
    return (values >= lowest_high) | (values <= highest_low) | sensor.physical_range.excludes(values)


def _judge(sensor: Sensor, measured: MeasuredReading) -> LimitJudgement | None:
    crossed = most_severe_limit(sensor, measured)
    if crossed is not None:
        return LimitJudgement(SEVERITY_NAMES[SEVERITY_OF_LIMIT[crossed.kind]], crossed.reason)
    limit = sensor.physical_range.exceeded_end(measured.value)
    if limit is None:
        return None
    values = {"value": measured.value, "limit": limit, "unit": sensor.unit}
    return LimitJudgement(INSTRUMENT_SEVERITY, Reason(ReasonCode.INSTRUMENT_OUT_OF_RANGE, values))
