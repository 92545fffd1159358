"""Conditions of limit alerts: readings compared with the limits of their sensor, with dead bands.

Limits are judged in `training.data.limits`, delays are applied in `monitoring.alerts.life_cycle`. Readings of
bad quality and outside the instrument's range neither begin nor end a limit alert.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.instrument_baseline import RecentValues
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import LimitRules
from monitoring.watch.instrument_conditions import Reading
from training.common.times import to_seconds
from training.data.limits import (
    CRITICAL_LIMIT_OF,
    SEVERITY_OF_LIMIT,
    LimitKind,
    MeasuredReading,
    crossed_limit,
    is_out_of_range,
    limit_excess,
    limit_of,
    rates_of_change,
)
from training.data.sensors import Sensor

Measurements = Sequence[tuple[datetime, MeasuredReading | None]]  # None: not a measurement of the process


def measure(readings: Sequence[Reading], recent: RecentValues, sensor: Sensor) -> Measurements:
    """Each reading with its rate of change; `recent` are the good ones before."""
    is_measured = [reading.good and not is_out_of_range(sensor, reading.value) for reading in readings]
    measured = [reading for reading, good in zip(readings, is_measured, strict=True) if good]
    seconds = np.array([*recent.seconds, *(to_seconds(reading.at) for reading in measured)])
    values = np.array([*recent.values, *(reading.value for reading in measured)])
    rates = iter(rates_of_change(seconds, values)[len(recent.values) :].tolist())
    return [
        (reading.at, MeasuredReading(reading.value, next(rates)) if good else None)
        for reading, good in zip(readings, is_measured, strict=True)
    ]


def followed_by(recent: RecentValues, measurements: Measurements) -> RecentValues:
    """The newest good readings after these measurements."""
    measured = [(to_seconds(at), one.value) for at, one in measurements if one is not None]
    return recent.followed_by([at for at, _ in measured], [value for _, value in measured])


def limit_conditions(
    measurements: Measurements, sensor: Sensor, rules: LimitRules
) -> Mapping[LimitKind, list[Condition]]:
    """One condition per reading for each kind of limit that the sensor has."""
    return {
        kind: [
            Condition(at, explained=True)
            if measured is None
            else _condition(at, measured, sensor, kind, rules)
            for at, measured in measurements
        ]
        for kind in LimitKind
        if limit_of(sensor, kind) is not None
    }


def critical_crossings(measurements: Measurements, sensor: Sensor, kind: LimitKind) -> list[Condition]:
    """For a forecast alert: a reading that has reached the limit is reported by the limit alert."""
    return [
        Condition(at, superseded=True)
        for at, measured in measurements
        if measured is not None and crossed_limit(sensor, kind, measured)
    ]


def _condition(
    at: datetime, measured: MeasuredReading, sensor: Sensor, kind: LimitKind, rules: LimitRules
) -> Condition:
    limit, severity = limit_of(sensor, kind), Severity(SEVERITY_OF_LIMIT[kind])
    assert limit is not None
    critical = CRITICAL_LIMIT_OF.get(kind)
    if critical is not None and crossed_limit(sensor, critical, measured):
        return Condition(at, explained=True)
    crossing = crossed_limit(sensor, kind, measured)
    if crossing is None:
        is_over = -limit_excess(kind, limit, measured) >= rules.deadband_of(kind, sensor, limit)
        return Condition(at, 0, 0 if is_over else severity)
    evidence = AlertEvidence(
        weight=crossing.excess, value=measured.value, limit=limit, reasons=(crossing.reason,)
    )
    return Condition(at, severity, severity, evidence)
