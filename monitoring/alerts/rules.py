"""Alert rules: the alert sections of `conf/monitoring.yaml`, with exceptions per sensor and platform.

The limits are applied in `monitoring.watch`, the times in `life_cycle`.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitoring.alerts.kinds import AlertType, InstrumentProblem, Severity
from monitoring.alerts.life_cycle import AlertTiming
from training.data.limits import LimitKind
from training.data.sensors import Sensor
from training.errors import ConfigurationError
from training.settings import Settings, load_settings

MINUTE = timedelta(minutes=1)


class DeviationDirection(StrEnum):
    """On which side of normal a reading must be to raise an alert."""

    BOTH = "both"
    HIGH = "high"
    LOW = "low"


class LimitDelays(BaseModel):
    """What differs for one kind of limit; what is left out is as for the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadband: float | None = Field(None, ge=0, description="in the sensor's unit; of max_rate per minute")
    on_delay: timedelta | None = Field(None, ge=timedelta(0), description="time beyond the limit")
    off_delay: timedelta | None = Field(None, ge=timedelta(0), description="time inside the limit")


class LimitRules(Settings, file="monitoring", section="limit_alerts"):
    """Limit alerts: severity 4 at a critical limit, 3 at max_rate, 2 at a warning limit (after ISA-18.2)."""

    enabled: bool = Field(True, description="raise these alerts")
    on_delay: timedelta = Field(
        timedelta(0), ge=timedelta(0), description="time beyond the limit before an alert is raised"
    )
    off_delay: timedelta = Field(
        MINUTE, ge=timedelta(0), description="time inside the dead band until the alert returns to normal"
    )
    deadband: float | None = Field(
        None,
        ge=0,
        description="back inside the limit by this much to end the condition, in the sensor's unit; without "
        "one, deadband_share",
    )
    deadband_share: float = Field(
        0.01, ge=0, lt=1, description="dead band as a share of the range; without a range, of the limit"
    )
    kinds: dict[LimitKind, LimitDelays] = Field(
        default_factory=dict,
        description="other values for high_high, low_low, rate_of_change, high or low",
    )

    def deadband_of(self, kind: LimitKind, sensor: Sensor, limit: float) -> float:
        """How far back inside a limit a reading must be."""
        own = self.kinds.get(kind, LimitDelays()).deadband
        if own is not None:
            return own
        if kind is LimitKind.RATE_OF_CHANGE:
            return self.deadband_share * limit
        if self.deadband is not None:
            return self.deadband
        if sensor.low is None or sensor.high is None:
            return self.deadband_share * abs(limit)
        return self.deadband_share * (sensor.high - sensor.low)

    def on_delay_of(self, kind: LimitKind) -> timedelta:
        """How long a limit must be reached."""
        own = self.kinds.get(kind, LimitDelays()).on_delay
        return self.on_delay if own is None else own

    def off_delay_of(self, kind: LimitKind) -> timedelta:
        """How long readings must be back inside."""
        own = self.kinds.get(kind, LimitDelays()).off_delay
        return self.off_delay if own is None else own


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
    """Forecast alerts, severity 4: a critical limit is forecast to be reached."""

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
    spike_habit: int = Field(
        5, ge=1, description="spikes are normal, and raise no alert, if the window has this many"
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
    accept_level_after: timedelta = Field(
        timedelta(hours=8),
        gt=timedelta(0),
        description="time at a new level after which it counts as normal, if no person accepts it before",
    )
    recover_after: timedelta = Field(
        timedelta(hours=2),
        ge=timedelta(0),
        description="time after maintenance in which an anomaly that began during it raises no alert",
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


TypeRules = LimitRules | AnomalyRules | ForecastRules | DriftRules | InstrumentRules


@dataclass(frozen=True)
class SensorRules:
    """All rules for one sensor."""

    limit: LimitRules
    anomaly: AnomalyRules
    forecast: ForecastRules
    drift: DriftRules
    instrument: InstrumentRules
    life: LifeRules

    def enabled(self, kind: AlertType) -> bool:
        """Whether alerts of a type are raised."""
        return self._of(kind).enabled

    def timing(self, kind: AlertType, step: timedelta, subject: str = "") -> AlertTiming:
        """The time limits of a type and subject; `step` is the sampling interval of the sensor."""
        rules, return_after = self._of(kind), self.life.return_after
        close_after = max(self.life.close_after, self.life.close_steps * step)
        forget_after = max(self.life.forget_after, close_after)
        if isinstance(rules, LimitRules):
            # Scripts raise limit alerts with a subject of their own.
            limit_kind = LimitKind(subject) if subject in set(LimitKind) else LimitKind.HIGH_HIGH
            hold, return_after = rules.on_delay_of(limit_kind), rules.off_delay_of(limit_kind)
        elif kind is AlertType.INSTRUMENT and subject == InstrumentProblem.SPIKE.value:
            # A spike is over when it is known.
            hold, return_after, forget_after = timedelta(0), timedelta(0), close_after
        else:
            hold = rules.hold
        dangerous = self.anomaly.danger_hold if kind is AlertType.ANOMALY else hold
        return AlertTiming(
            hold={Severity.WARNING: hold, Severity.DANGER: dangerous, Severity.CRITICAL: hold},
            return_after=return_after,
            close_after=close_after,
            forget_after=forget_after,
            escalate_after={
                Severity.WARNING: self.life.escalate_warning,
                Severity.DANGER: self.life.escalate_danger,
                Severity.CRITICAL: self.life.escalate_critical,
            },
            escalations=self.life.escalations,
            accept_level_after=self.life.accept_level_after,
            # Limits hold during a warm-up too, and an instrument need not warm up.
            recover_after=self.life.recover_after if kind is AlertType.ANOMALY else timedelta(0),
        )

    def _of(self, kind: AlertType) -> TypeRules:
        rules_by_type: dict[AlertType, TypeRules] = {
            AlertType.LIMIT: self.limit,
            AlertType.ANOMALY: self.anomaly,
            AlertType.FORECAST_WARNING: self.forecast,
            AlertType.DRIFT: self.drift,
            AlertType.INSTRUMENT: self.instrument,
        }
        return rules_by_type[kind]


S = TypeVar("S", LimitRules, AnomalyRules, ForecastRules, DriftRules, InstrumentRules, LifeRules)


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
                limit=load_settings(LimitRules),
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
