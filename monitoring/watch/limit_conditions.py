"""Conditions of limit alerts: readings compared with the limits of their sensor, with dead bands.

Limits are judged in `training.data.limits`, delays are applied in `monitoring.alerts.life_cycle`. Readings of
bad quality and outside the instrument's range neither begin nor end a limit alert.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.kinds import Severity
from monitoring.alerts.rules import LimitRules
from monitoring.watch.measurements import Measurement
from training.data.limits import (
    CRITICAL_LIMIT_OF,
    SEVERITY_OF_LIMIT,
    LimitKind,
    MeasuredReading,
    crossed_limit,
    limit_excess,
    limit_of,
)
from training.data.sensors import Sensor


def limit_conditions(
    measurements: Sequence[Measurement], sensor: Sensor, rules: LimitRules
) -> Mapping[LimitKind, list[Condition]]:
    """One condition per reading for each kind of limit that the sensor has."""
    return {
        kind: [
            Condition(at, explained=True)
            if measured is None
            else _condition(at, measured, sensor, kind, rules)
            for at, measured, _ in measurements
        ]
        for kind in LimitKind
        if limit_of(sensor, kind) is not None
    }


def critical_crossings(
    measurements: Sequence[Measurement], sensor: Sensor, kind: LimitKind
) -> list[Condition]:
    """For a forecast alert: a reading that has reached the limit is reported by the limit alert."""
    return [
        Condition(at, superseded=True)
        for at, measured, _ in measurements
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
