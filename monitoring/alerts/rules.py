"""The rules of alerts: what counts, for how long, on which sensor.

Knows the sections of `conf/monitoring.yaml` about alerts, and the exceptions for sensors and platforms. What
the numbers do is told in `life_cycle` and the `signs_of_*` modules.
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
    """On which side of the usual a reading must be to count."""

    BOTH = "both"
    HIGH = "high"
    LOW = "low"


class AnomalyRules(Settings, file="monitoring", section="anomaly_alerts"):
    """When odd readings are an alert: severity 3 above the danger score, 2 below it."""

    enabled: bool = True
    hold: timedelta = Field(5 * MINUTE, ge=timedelta(0), description="until an odd score is an alert")
    danger_hold: timedelta = Field(5 * MINUTE, ge=timedelta(0), description="until a danger is one")
    danger_score: float = Field(0.8, gt=0, le=1, description="severity 3 above it")
    hysteresis: float = Field(
        0.1, ge=0, lt=1, description="a score must fall this far below a threshold to end it"
    )
    direction: DeviationDirection = DeviationDirection.BOTH
    min_deviation: float = Field(0, ge=0, description="from the usual, in the sensor's unit")
    deadband: float = Field(
        0, ge=0, description="inside min_deviation by this much, in the sensor's unit, ends it"
    )


class ForecastRules(Settings, file="monitoring", section="forecast_alerts"):
    """When a forecast that crosses a critical limit is an alert, of severity 4."""

    enabled: bool = True
    hold: timedelta = Field(timedelta(0), ge=timedelta(0))
    probability: float = Field(0.5, gt=0, lt=1, description="of crossing the limit, from which it is told")
    hysteresis: float = Field(0.2, ge=0, lt=1, description="the probability must fall by this to end it")
    deadband: float = Field(
        0, ge=0, description="and the reading be inside by this much, in the sensor's unit"
    )


class DriftRules(Settings, file="monitoring", section="drift_alerts"):
    """When drift is an alert, of severity 2."""

    enabled: bool = True
    hold: timedelta = Field(timedelta(0), ge=timedelta(0), description="PT25H: two daily checks in a row")


class InstrumentRules(Settings, file="monitoring", section="instrument_alerts"):
    """When an instrument is at fault, severity 2; told apart from alerts of the process."""

    enabled: bool = True
    hold: timedelta = Field(timedelta(0), ge=timedelta(0))
    silent_steps: float = Field(5, gt=1, description="silent: steps without a reading")
    silent_least: timedelta = Field(10 * MINUTE, description="and at least so long")
    frozen_factor: float = Field(5, ge=1, description="frozen: this many times longer than by habit")
    frozen_readings: int = Field(6, ge=3, description="and at least so many equal readings")
    frozen_least: timedelta = Field(10 * MINUTE, description="and at least so long")
    frozen_habit: int = Field(5, ge=2, description="what was seen this often in the window is a habit")
    window_readings: int = Field(2000, ge=100, description="newest readings in which habits are looked for")
    deadband: float = Field(0, ge=0, description="back inside the range by this much, in the sensor's unit")


class LifeRules(Settings, file="monitoring", section="life"):
    """How long things take in the life of every alert."""

    return_after: timedelta = Field(5 * MINUTE, ge=timedelta(0), description="of nothing odd")
    close_after: timedelta = Field(60 * MINUTE, ge=timedelta(0), description="of normal, acknowledged")
    close_steps: int = Field(16, ge=0, description="and at least so many of the sensor's steps")
    forget_after: timedelta = Field(timedelta(days=1), ge=timedelta(0), description="not acknowledged")
    escalate_warning: timedelta = Field(timedelta(hours=8), gt=timedelta(0))
    escalate_danger: timedelta = Field(timedelta(hours=1), gt=timedelta(0))
    escalate_critical: timedelta = Field(15 * MINUTE, gt=timedelta(0))
    escalations: int = Field(3, ge=0, description="at most, until somebody answers")
    longest_shelving: timedelta = Field(timedelta(hours=12), gt=timedelta(0))
    first_look: timedelta = Field(
        timedelta(days=1), ge=timedelta(0), description="back, for a sensor never looked at"
    )


class RuleExceptions(Settings, file="monitoring", section="exceptions"):
    """Other rules for some sensors, by id or glob, and for whole platforms: settings by section."""

    sensors: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    platforms: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)


@dataclass(frozen=True)
class SensorRules:
    """All rules for one sensor."""

    anomaly: AnomalyRules
    forecast: ForecastRules
    drift: DriftRules
    instrument: InstrumentRules
    life: LifeRules

    def enabled(self, kind: AlertType) -> bool:
        """Whether there are alerts of a type at all."""
        return self._of(kind).enabled

    def timing(self, kind: AlertType, step: timedelta) -> AlertTiming:
        """How long things take; `step` is the sensor's."""
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
    """The rules for all, and the exceptions."""

    rules: SensorRules
    exceptions: RuleExceptions

    @classmethod
    def from_conf(cls) -> "AlertRules":
        """What conf/monitoring.yaml and the environment say.

        Raises:
            ConfigurationError: a rule or an exception cannot be meant.
        """
        book = cls(
            SensorRules(
                anomaly=load_settings(AnomalyRules),
                forecast=load_settings(ForecastRules),
                drift=load_settings(DriftRules),
                instrument=load_settings(InstrumentRules),
                life=load_settings(LifeRules),
            ),
            load_settings(RuleExceptions),
        )
        for name, overrides in (*book.exceptions.platforms.items(), *book.exceptions.sensors.items()):
            book._override(book.rules, overrides, name)
        return book

    def of(self, sensor: Sensor) -> SensorRules:
        """One sensor's rules: its platform's exceptions over the rules for all, its own over those."""
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
                f"exceptions for {name} name {', '.join(unknown)}; they may name {', '.join(parts)}."
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
