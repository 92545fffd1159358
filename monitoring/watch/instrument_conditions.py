"""Conditions of instrument alerts: frozen, out of range, spike, marked bad, no data.

Takes readings of any quality and the instrument's normal behaviour (`monitoring.alerts.instrument_baseline`).
An unusually constant reading that the detector finds anomalous is a fault of the instrument, not of the
process: it raises the instrument alert only.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from monitoring.alerts.alert import AlertEvidence, Condition, recency_weight
from monitoring.alerts.instrument_baseline import ConstantRun, InstrumentHabit
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import InstrumentRules
from monitoring.watch.measurements import Measurement, Reading
from training.data.limits import is_out_of_range
from training.data.sensors import Sensor
from training.reasons import Reason, ReasonCode

FAULT_SEVERITY = Severity.WARNING


def track_runs(run: ConstantRun | None, readings: Sequence[Reading]) -> list[ConstantRun]:
    """For each reading, the run of equal readings that ends with it."""
    runs = []
    for reading in readings:
        if run is not None and reading.value == run.value:
            run = ConstantRun(run.value, run.since, run.readings + 1)
        else:
            run = ConstantRun(reading.value, reading.at, 1)
        runs.append(run)
    return runs


def is_unusually_constant(run: ConstantRun, habit: InstrumentHabit, unit: str) -> bool:
    """Whether a run is longer than normal, and not at a value of a process at rest."""
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
    """Frozen: constant for much longer than normal, or longer than normal and anomalous to the detector."""
    conditions = []
    for reading, run, habit in zip(readings, runs, habits, strict=True):
        is_constant = is_unusually_constant(run, habit, sensor.unit)
        min_readings = max(rules.frozen_readings, rules.frozen_factor * (habit.still or 0))
        is_frozen = run.readings >= min_readings and reading.at - run.since >= rules.frozen_least
        if is_constant and (is_frozen or is_anomalous.get(reading.at, False)):
            duration = (reading.at - run.since).total_seconds()
            values = {"value": run.value, "duration": duration, "readings": run.readings, "unit": sensor.unit}
            evidence = AlertEvidence(
                recency_weight(reading.at),
                value=run.value,
                reasons=(Reason(ReasonCode.INSTRUMENT_FROZEN, values),),
            )
            conditions.append(Condition(reading.at, FAULT_SEVERITY, FAULT_SEVERITY, evidence))
        elif is_constant:
            conditions.append(Condition(reading.at, 0, FAULT_SEVERITY))
        else:
            conditions.append(Condition(reading.at))
    return conditions


def range_conditions(readings: Sequence[Reading], sensor: Sensor, rules: InstrumentRules) -> list[Condition]:
    """Out of range: beyond what the instrument can measure."""
    limits = sensor.physical_range
    if not limits.is_limited:
        return []
    conditions = []
    for at, value, _ in readings:
        beyond = max(limits.low - value, value - limits.high)
        limit = limits.exceeded_end(value)
        if limit is not None:
            reason = Reason(
                ReasonCode.INSTRUMENT_OUT_OF_RANGE, {"value": value, "limit": limit, "unit": sensor.unit}
            )
            evidence = AlertEvidence(beyond, value=value, limit=limit, reasons=(reason,))
            conditions.append(Condition(at, FAULT_SEVERITY, FAULT_SEVERITY, evidence))
        else:
            conditions.append(Condition(at, 0, FAULT_SEVERITY if beyond > -rules.deadband else 0))
    return conditions


def spike_conditions(
    measurements: Sequence[Measurement],
    habits: Sequence[InstrumentHabit],
    sensor: Sensor,
    rules: InstrumentRules,
) -> list[Condition]:
    """Spike: the reading before this one left and returned, which the sensor does not do by habit."""
    conditions = []
    for (at, _, spike), habit in zip(measurements, habits, strict=True):
        if spike is None or habit.spikes >= rules.spike_habit:
            conditions.append(Condition(at))
            continue
        values = {"value": spike.value, "before": spike.before, "after": spike.after, "unit": sensor.unit}
        reason = Reason(ReasonCode.INSTRUMENT_SPIKE, {**values, "time": spike.at.isoformat()})
        evidence = AlertEvidence(recency_weight(at), value=spike.value, reasons=(reason,))
        conditions.append(Condition(at, FAULT_SEVERITY, FAULT_SEVERITY, evidence))
    return conditions


def bad_quality_conditions(readings: Sequence[Reading], sensor: Sensor) -> list[Condition]:
    """Marked bad: sent with bad quality though within the range."""
    conditions = []
    for at, value, good in readings:
        if good or is_out_of_range(sensor, value):
            conditions.append(Condition(at))
        else:
            reason = Reason(ReasonCode.INSTRUMENT_MARKED_BAD, {"value": value, "unit": sensor.unit})
            evidence = AlertEvidence(recency_weight(at), value=value, reasons=(reason,))
            conditions.append(Condition(at, FAULT_SEVERITY, FAULT_SEVERITY, evidence))
    return conditions


def no_data_conditions(
    last: datetime | None,
    arrivals: Sequence[datetime],
    step: timedelta | None,
    rules: InstrumentRules,
    *,
    now: datetime,
) -> list[Condition]:
    """No data for several sampling intervals; the condition begins when they have passed."""
    if step is None:
        return []
    limit = max(rules.silent_steps * step, rules.silent_least)
    conditions = []
    for arrival in (*arrivals, None):
        if last is not None and (overdue := last + limit) < (arrival or now):
            reason = Reason(
                ReasonCode.INSTRUMENT_NO_DATA, {"time": last.isoformat(), "step": step.total_seconds()}
            )
            evidence = AlertEvidence(recency_weight(overdue), reasons=(reason,))
            conditions.append(Condition(overdue, FAULT_SEVERITY, FAULT_SEVERITY, evidence))
        if arrival is not None:
            conditions.append(Condition(arrival))
            last = arrival
    return conditions
