"""Signs that an instrument is at fault: frozen, out of its range, marked bad, silent.

Knows readings of any quality and the sensor's habits. A reading that stands still beyond habit and that the
detector finds odd is the instrument's doing, not the process's: so the one alert it gets is the right one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from monitoring.alerts.alert import Evidence, Sign, heft
from monitoring.alerts.instrument_baseline import Habit, Standing
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import InstrumentRules
from training.common.formatting import format_duration, format_value
from training.data.sensors import Sensor

BAD = Severity.WARNING


class Trouble(StrEnum):
    """What can be wrong with an instrument: the subject of its alert."""

    FROZEN = "frozen"
    OUT_OF_RANGE = "out of range"
    MARKED_BAD = "marked bad"
    SILENT = "silent"


class Reading(NamedTuple):
    """One reading, of any quality."""

    at: datetime
    value: float
    good: bool


def stand(before: Standing | None, readings: Sequence[Reading]) -> list[Standing]:
    """For each reading, the run of equal ones it is the newest of."""
    found = []
    for reading in readings:
        if before is not None and reading.value == before.value:
            before = Standing(before.value, before.since, before.readings + 1)
        else:
            before = Standing(reading.value, reading.at, 1)
        found.append(before)
    return found


def unusual(standing: Standing, habit: Habit, unit: str) -> bool:
    """Whether it stands longer than it does by habit, and not where a process rests."""
    if habit.still is None or standing.readings <= max(habit.still, 2):
        return False
    return not bool(habit.at_rest(np.array([standing.value]), unit)[0])


def signs_of_freezing(
    readings: Sequence[Reading],
    standings: Sequence[Standing],
    habits: Sequence[Habit],
    odd: Mapping[datetime, bool],
    sensor: Sensor,
    rules: InstrumentRules,
) -> list[Sign]:
    """Frozen: standing far longer than by habit, or longer than by habit and odd to the detector as well."""
    signs = []
    for reading, standing, habit in zip(readings, standings, habits, strict=True):
        stands = unusual(standing, habit, sensor.unit)
        enough = max(rules.frozen_readings, rules.frozen_factor * (habit.still or 0))
        long = standing.readings >= enough and reading.at - standing.since >= rules.frozen_least
        if stands and (long or odd.get(reading.at, False)):
            told = f"has not moved from {format_value(standing.value, sensor.unit)} for "
            told += f"{format_duration(reading.at - standing.since)} ({standing.readings} readings)"
            evidence = Evidence(heft(reading.at), value=standing.value, reason=told)
            signs.append(Sign(reading.at, BAD, BAD, evidence))
        elif stands:
            signs.append(Sign(reading.at, 0, BAD))
        else:
            signs.append(Sign(reading.at))
    return signs


def signs_of_range(readings: Sequence[Reading], sensor: Sensor, rules: InstrumentRules) -> list[Sign]:
    """Out of range: beyond what the instrument can read at all."""
    if sensor.low is None and sensor.high is None:
        return []
    low = -np.inf if sensor.low is None else sensor.low
    high = np.inf if sensor.high is None else sensor.high
    signs = []
    for at, value, _ in readings:
        beyond = max(low - value, value - high)
        if beyond > 0:
            limit = low if value < low else high
            told = (
                f"{format_value(value, sensor.unit)} is beyond the range, which ends at {format_value(limit)}"
            )
            signs.append(Sign(at, BAD, BAD, Evidence(beyond, value=value, limit=float(limit), reason=told)))
        else:
            signs.append(Sign(at, 0, BAD if beyond > -rules.deadband else 0))
    return signs


def signs_of_bad_marks(readings: Sequence[Reading], sensor: Sensor) -> list[Sign]:
    """Marked bad by whoever sent it, though within the range."""
    signs = []
    for at, value, good in readings:
        outside = (sensor.low is not None and value < sensor.low) or (
            sensor.high is not None and value > sensor.high
        )
        if good or outside:
            signs.append(Sign(at))
        else:
            told = f"{format_value(value, sensor.unit)} came marked as bad"
            signs.append(Sign(at, BAD, BAD, Evidence(heft(at), value=value, reason=told)))
    return signs


def signs_of_silence(
    last: datetime | None,
    arrivals: Sequence[datetime],
    step: timedelta | None,
    rules: InstrumentRules,
    *,
    now: datetime,
) -> list[Sign]:
    """Silent: nothing for so many steps. It begins when the next readings are overdue."""
    if step is None:
        return []
    patience = max(rules.silent_steps * step, rules.silent_least)
    signs = []
    for arrival in (*arrivals, None):
        overdue = None if last is None else last + patience
        if overdue is not None and last is not None and overdue < (arrival or now):
            silent = f"nothing came since {last:%Y-%m-%d %H:%M} UTC; it speaks every {format_duration(step)}"
            signs.append(Sign(overdue, BAD, BAD, Evidence(heft(overdue), reason=silent)))
        if arrival is not None:
            signs.append(Sign(arrival))
            last = arrival
    return signs
