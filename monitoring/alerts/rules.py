"""Alert rules: the alert sections of `conf/monitoring.yaml`, with exceptions per sensor and platform.

The limits are applied in `monitoring.watch`, the times in `life_cycle`.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from monitoring.alerts.kinds import AlertType, Severity
from monitoring.alerts.life_cycle import AlertTiming
from training.data.sensors import Sensor
from training.errors import ConfigurationError
from training.settings import Settings, load_settings

MINUTE = timedelta(minutes=1)


class DeviationDirection(StrEnum):
    """On which side of normal a reading must be to raise an alert."""

    BOTH = "both"
    HIGH = "high"
    LOW = "low"


class AnomalyRules(Settings, file="monitoring", section="anomaly_alerts"):
    """Anomaly alerts: severity 2 from the threshold on, severity 3 above the danger score."""

    enabled: bool = Field(True, description="raise these alerts")
    hold: timedelta = Field(
        5 * MINUTE, ge=timedelta(0), description="time above the threshold before a warning is raised"
    )
    danger_hold: timedelta = Field(
        5 * MINUTE, ge=timedelta(0), description="time above the danger score before severity 3 is raised"
    )
    danger_score: float = Field(0.8, gt=0, le=1, description="scores above it have severity 3")
    hysteresis: float = Field(
        0.1, ge=0, lt=1, description="the score must fall this far below the threshold to end it"
    )
    direction: DeviationDirection = Field(
        DeviationDirection.BOTH, description="side of normal that raises alerts: both, high or low"
    )
    min_deviation: float = Field(
        0, ge=0, description="smallest deviation from normal that raises alerts, in the sensor's unit"
    )
    deadband: float = Field(
        0, ge=0, description="deviation below min_deviation that ends the condition, in the sensor's unit"
    )


class ForecastRules(Settings, file="monitoring", section="forecast_alerts"):
    """Forecast alerts, severity 4: a critical limit is exceeded or forecast to be."""

    enabled: bool = Field(True, description="raise these alerts")
    hold: timedelta = Field(timedelta(0), ge=timedelta(0), description="time before an alert is raised")
    probability: float = Field(
        0.5, gt=0, lt=1, description="smallest probability of exceeding the limit that raises an alert"
    )
    hysteresis: float = Field(
        0.2, ge=0, lt=1, description="the probability must fall by this much to end the condition"
    )
    deadband: float = Field(
        0, ge=0, description="and the reading must be inside the limit by this much, in the sensor's unit"
    )


class DriftRules(Settings, file="monitoring", section="drift_alerts"):
    """Drift alerts, severity 2."""

    enabled: bool = Field(True, description="raise these alerts")
    hold: timedelta = Field(
        timedelta(0), ge=timedelta(0), description="time before an alert is raised; PT25H: two daily checks"
    )


class InstrumentRules(Settings, file="monitoring", section="instrument_alerts"):
    """Instrument alerts, severity 2: faults of the instrument, separate from those of the process."""

    enabled: bool = Field(True, description="raise these alerts")
    hold: timedelta = Field(timedelta(0), ge=timedelta(0), description="time before an alert is raised")
    silent_steps: float = Field(5, gt=1, description="no data: sampling intervals without a reading")
    silent_least: timedelta = Field(10 * MINUTE, description="no data: and at least this time")
    frozen_factor: float = Field(
        5, ge=1, description="frozen: equal readings, as a multiple of the longest normal run"
    )
    frozen_readings: int = Field(6, ge=3, description="frozen: and at least this many equal readings")
    frozen_least: timedelta = Field(10 * MINUTE, description="frozen: and at least this time")
    frozen_habit: int = Field(
        5, ge=2, description="a run length is normal if the window has this many runs of it or longer"
    )
    window_readings: int = Field(
        2000, ge=100, description="newest readings from which normal runs and intervals are learned"
    )
    deadband: float = Field(
        0, ge=0, description="back inside the range by this much to end the condition, in the sensor's unit"
    )


class LifeRules(Settings, file="monitoring", section="life"):
    """Time limits in the life cycle of every alert."""

    return_after: timedelta = Field(
        5 * MINUTE, ge=timedelta(0), description="time without a condition until an alert returns to normal"
    )
    close_after: timedelta = Field(
        60 * MINUTE,
        ge=timedelta(0),
        description="time after the return until an acknowledged alert closes",
    )
    close_steps: int = Field(16, ge=0, description="and at least this many sampling intervals of the sensor")
    forget_after: timedelta = Field(
        timedelta(days=1),
        ge=timedelta(0),
        description="time after the return until an unacknowledged alert is closed",
    )
    escalate_warning: timedelta = Field(
        timedelta(hours=8), gt=timedelta(0), description="time until an unacknowledged warning is escalated"
    )
    escalate_danger: timedelta = Field(
        timedelta(hours=1), gt=timedelta(0), description="time until an unacknowledged danger is escalated"
    )
    escalate_critical: timedelta = Field(
        15 * MINUTE, gt=timedelta(0), description="time until an unacknowledged critical alert is escalated"
    )
    escalations: int = Field(3, ge=0, description="escalations of an alert, at most")
    longest_shelving: timedelta = Field(
        timedelta(hours=12), gt=timedelta(0), description="longest time an alert can be shelved"
    )
    first_look: timedelta = Field(
        timedelta(days=1), ge=timedelta(0), description="past that the first watch of a sensor evaluates"
    )


class RuleExceptions(Settings, file="monitoring", section="exceptions"):
    """Different rules for some sensors and platforms: settings by section."""

    sensors: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict, description="by sensor id or glob pattern"
    )
    platforms: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict, description="by platform")


@dataclass(frozen=True)
class SensorRules:
    """All rules for one sensor."""

    anomaly: AnomalyRules
    forecast: ForecastRules
    drift: DriftRules
    instrument: InstrumentRules
    life: LifeRules

    def enabled(self, kind: AlertType) -> bool:
        """Whether alerts of a type are raised."""
        return self._of(kind).enabled

    def timing(self, kind: AlertType, step: timedelta) -> AlertTiming:
        """The time limits of a type; `step` is the sampling interval of the sensor."""
        hold = self._of(kind).hold
        dangerous = self.anomaly.danger_hold if kind is AlertType.ANOMALY else hold
        close_after = max(self.life.close_after, self.life.close_steps * step)
        return AlertTiming(
            hold={Severity.WARNING: hold, Severity.DANGER: dangerous, Severity.CRITICAL: hold},
            return_after=self.life.return_after,
            close_after=close_after,
            forget_after=max(self.life.forget_after, close_after),
            escalate_after={
                Severity.WARNING: self.life.escalate_warning,
                Severity.DANGER: self.life.escalate_danger,
                Severity.CRITICAL: self.life.escalate_critical,
            },
            escalations=self.life.escalations,
        )

    def _of(self, kind: AlertType) -> AnomalyRules | ForecastRules | DriftRules | InstrumentRules:
        rules_by_type: dict[AlertType, AnomalyRules | ForecastRules | DriftRules | InstrumentRules] = {
            AlertType.ANOMALY: self.anomaly,
            AlertType.FORECAST_WARNING: self.forecast,
            AlertType.DRIFT: self.drift,
            AlertType.INSTRUMENT: self.instrument,
        }
        return rules_by_type[kind]


S = TypeVar("S", AnomalyRules, ForecastRules, DriftRules, InstrumentRules, LifeRules)


@dataclass(frozen=True)
class AlertRules:
    """The general rules and the exceptions."""

    rules: SensorRules
    exceptions: RuleExceptions

    @classmethod
    def from_conf(cls) -> "AlertRules":
        """The rules of conf/monitoring.yaml and the environment.

        Raises:
            ConfigurationError: a rule or an exception is invalid.
        """
        alert_rules = cls(
            SensorRules(
                anomaly=load_settings(AnomalyRules),
                forecast=load_settings(ForecastRules),
                drift=load_settings(DriftRules),
                instrument=load_settings(InstrumentRules),
                life=load_settings(LifeRules),
            ),
            load_settings(RuleExceptions),
        )
        exceptions = alert_rules.exceptions
        for name, overrides in (*exceptions.platforms.items(), *exceptions.sensors.items()):
            alert_rules._override(alert_rules.rules, overrides, name)
        return alert_rules

    def of(self, sensor: Sensor) -> SensorRules:
        """The rules of one sensor: its own exceptions over its platform's over the general rules."""
        rules = self.rules
        if overrides := self.exceptions.platforms.get(sensor.platform):
            rules = self._override(rules, overrides, sensor.platform)
        for pattern, overrides in self.exceptions.sensors.items():
            if sensor.id == pattern or fnmatch.fnmatchcase(sensor.id, pattern):
                rules = self._override(rules, overrides, pattern)
        return rules

    def _override(
        self, rules: SensorRules, overrides: Mapping[str, Mapping[str, Any]], name: str
    ) -> SensorRules:
        parts = {part.section: (field, part) for field, part in vars(rules).items()}
        if unknown := sorted(set(overrides) - set(parts)):
            raise ConfigurationError(
                f"exceptions for {name}: unknown section {', '.join(unknown)}; known: {', '.join(parts)}."
            )
        changed = dict(vars(rules))
        for section, values in overrides.items():
            field, part = parts[section]
            changed[field] = _override_section(part, values, f"exceptions for {name}: {section}")
        return SensorRules(**changed)


def _override_section(part: S, values: Mapping[str, Any], where: str) -> S:
    try:
        return type(part).model_validate({**part.model_dump(), **values})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(f"{where}: {problems}. Correct it in conf/monitoring.yaml.") from error
