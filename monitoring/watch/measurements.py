"""The new readings of a sensor as measurements of the process: value, rate of change, and what was a spike.

A reading of bad quality or outside the instrument's range measures nothing. Limits are judged in
`limit_conditions`, spikes in `instrument_conditions`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from monitoring.alerts.instrument_baseline import RecentValues
from training.common.arrays import Flags, Floats
from training.common.times import to_seconds, to_times
from training.data.limits import MeasuredReading, is_out_of_range, rates_of_change
from training.data.sensors import Sensor
from training.quality.spikes import find_spikes


class Reading(NamedTuple):
    """One reading, of any quality."""

    at: datetime
    value: float
    good: bool


class Spike(NamedTuple):
    """A single reading that left and returned, with its neighbours."""

    at: datetime
    value: float
    before: float
    after: float


class Measurement(NamedTuple):
    """One new reading."""

    at: datetime
    measured: MeasuredReading | None  # None: it does not measure the process
    spike: Spike | None = None  # the reading before it, where this one shows that it was a spike


def measure(readings: Sequence[Reading], recent: RecentValues, sensor: Sensor) -> list[Measurement]:
    """One measurement per reading; `recent` are the good readings before the first one."""
    is_measured = [reading.good and not is_out_of_range(sensor, reading.value) for reading in readings]
    good = [reading for reading, measured in zip(readings, is_measured, strict=True) if measured]
    seconds = np.array([*recent.seconds, *(to_seconds(reading.at) for reading in good)], float)
    values = np.array([*recent.values, *(reading.value for reading in good)], float)
    measured = _measure_good(seconds, values, first=len(recent.values))
    return [
        Measurement(reading.at, *next(measured)) if good else Measurement(reading.at, None)
        for reading, good in zip(readings, is_measured, strict=True)
    ]


def followed_by(recent: RecentValues, measurements: Sequence[Measurement]) -> RecentValues:
    """The newest good readings after these measurements."""
    measured = [(to_seconds(one.at), one.measured.value) for one in measurements if one.measured is not None]
    return recent.followed_by([at for at, _ in measured], [value for _, value in measured])


def _measure_good(
    seconds: Floats, values: Floats, *, first: int
) -> Iterator[tuple[MeasuredReading, Spike | None]]:
    is_spike = find_spikes(seconds, values, np.zeros(len(values), int))
    rates = _rates_without_spikes(seconds, values, is_spike)
    for place in range(first, len(values)):
        spike = None
        if place > 1 and is_spike[place - 1]:
            at = to_times(seconds[place - 1 : place])[0].to_pydatetime()
            before, value, after = values[place - 2 : place + 1].tolist()
            spike = Spike(at, value, before, after)
        yield MeasuredReading(float(values[place]), float(rates[place])), spike


def _rates_without_spikes(seconds: Floats, values: Floats, is_spike: Flags) -> Floats:
    """The rate of change up to each reading; a spike counts for its own only, not for the return from it."""
    rates = rates_of_change(seconds, values)
    rates[~is_spike] = rates_of_change(seconds[~is_spike], values[~is_spike])
    return rates
