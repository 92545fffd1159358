"""Signs that an instrument is at fault: frozen, out of its range, marked bad, silent.

Knows readings of any quality and the sensor's habits. A reading that stands still beyond habit and that the
detector finds odd is the instrument's doing, not the process's: so the one alert it gets is the right one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from monitoring.alerts.alert import AlertEvidence, Condition, recency_weight
from monitoring.alerts.instrument_baseline import ConstantRun, InstrumentHabit
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import InstrumentRules
from training.common.formatting import format_duration, format_value
from training.data.sensors import Sensor

FAULT_SEVERITY = Severity.WARNING


class InstrumentProblem(StrEnum):
    """What can be wrong with an instrument: the subject of its alert."""

    FROZEN = "frozen"
    OUT_OF_RANGE = "out of range"
    MARKED_BAD = "marked bad"
    NO_DATA = "silent"


class Reading(NamedTuple):
    """One reading, of any quality."""

    at: datetime
    value: float
    good: bool


def track_runs(run: ConstantRun | None, readings: Sequence[Reading]) -> list[ConstantRun]:
    """For each reading, the run of equal ones it is the newest of."""
    runs = []
    for reading in readings:
        if run is not None and reading.value == run.value:
            run = ConstantRun(run.value, run.since, run.readings + 1)
        else:
            run = ConstantRun(reading.value, reading.at, 1)
        runs.append(run)
    return runs


def is_unusually_constant(run: ConstantRun, habit: InstrumentHabit, unit: str) -> bool:
    """Whether it stands longer than it does by habit, and not where a process rests."""
    if habit.still is None or run.readings <= max(habit.still, 2):
        return False
    return not bool(habit.at_rest(np.array([run.value]), unit)[0])


def frozen_conditions(
    readings: Sequence[Reading],
    runs: Sequence[ConstantRun],
    habits: Sequence[InstrumentHabit],
    is_anomalous: Mapping[datetime, bool],
    sensor: Sensor,
    rules: InstrumentRules,
) -> list[Condition]:
    """Frozen: standing far longer than by habit, or longer than by habit and odd to the detector as well."""
    conditions = []
    for reading, run, habit in zip(readings, runs, habits, strict=True):
        is_constant = is_unusually_constant(run, habit, sensor.unit)
        min_readings = max(rules.frozen_readings, rules.frozen_factor * (habit.still or 0))
        is_frozen = run.readings >= min_readings and reading.at - run.since >= rules.frozen_least
        if is_constant and (is_frozen or is_anomalous.get(reading.at, False)):
            reason = f"has not moved from {format_value(run.value, sensor.unit)} for "
            reason += f"{format_duration(reading.at - run.since)} ({run.readings} readings)"
            evidence = AlertEvidence(recency_weight(reading.at), value=run.value, reason=reason)
            conditions.append(Condition(reading.at, FAULT_SEVERITY, FAULT_SEVERITY, evidence))
        elif is_constant:
            conditions.append(Condition(reading.at, 0, FAULT_SEVERITY))
        else:
            conditions.append(Condition(reading.at))
    return conditions


def range_conditions(readings: Sequence[Reading], sensor: Sensor, rules: InstrumentRules) -> list[Condition]:
    """Out of range: beyond what the instrument can read at all."""
    if sensor.low is None and sensor.high is None:
        return []
    low = -np.inf if sensor.low is None else sensor.low
    high = np.inf if sensor.high is None else sensor.high
    conditions = []
    for at, value, _ in readings:
        beyond = max(low - value, value - high)
        if beyond > 0:
            limit = low if value < low else high
            reason = (
                f"{format_value(value, sensor.unit)} is beyond the range, which ends at {format_value(limit)}"
            )
            conditions.append(
                Condition(
                    at,
                    FAULT_SEVERITY,
                    FAULT_SEVERITY,
                    AlertEvidence(beyond, value=value, limit=float(limit), reason=reason),
                )
            )
        else:
            conditions.append(Condition(at, 0, FAULT_SEVERITY if beyond > -rules.deadband else 0))
    return conditions


def bad_quality_conditions(readings: Sequence[Reading], sensor: Sensor) -> list[Condition]:
    """Marked bad by whoever sent it, though within the range."""
    conditions = []
    for at, value, good in readings:
        outside = (sensor.low is not None and value < sensor.low) or (
            sensor.high is not None and value > sensor.high
        )
        if good or outside:
            conditions.append(Condition(at))
        else:
            reason = f"{format_value(value, sensor.unit)} came marked as bad"
            conditions.append(
                Condition(
                    at,
                    FAULT_SEVERITY,
                    FAULT_SEVERITY,
                    AlertEvidence(recency_weight(at), value=value, reason=reason),
                )
            )
    return conditions


def no_data_conditions(
    last: datetime | None,
    arrivals: Sequence[datetime],
    step: timedelta | None,
    rules: InstrumentRules,
    *,
    now: datetime,
) -> list[Condition]:
    """Silent: nothing for so many steps. It begins when the next readings are overdue."""
    if step is None:
        return []
    patience = max(rules.silent_steps * step, rules.silent_least)
    conditions = []
    for arrival in (*arrivals, None):
        overdue = None if last is None else last + patience
        if overdue is not None and last is not None and overdue < (arrival or now):
            reason = f"nothing came since {last:%Y-%m-%d %H:%M} UTC; it speaks every {format_duration(step)}"
            conditions.append(
                Condition(
                    overdue,
                    FAULT_SEVERITY,
                    FAULT_SEVERITY,
                    AlertEvidence(recency_weight(overdue), reason=reason),
                )
            )
        if arrival is not None:
            conditions.append(Condition(arrival))
            last = arrival
    return conditions
