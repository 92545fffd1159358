"""The plan of a training: all settings that decide how models come out, and their digest.

The settings are sections of `conf/training.yaml`. They are used in `training.pipeline.fit` and
`training.pipeline.fleet`.
"""

import hashlib
from dataclasses import dataclass

from pydantic import Field

from training.evaluation.gate import GateSettings
from training.kinds import Promotion
from training.quality.fault_checks import QualitySettings
from training.quality.windows import WindowSettings
from training.settings import Settings, load_settings


class TuningSettings(Settings, file="training", section="tuning"):
    """How long Optuna searches, per sensor and kind."""

    trials: int = Field(40, ge=1, le=10_000)
    retrials: int = Field(
        15,
        ge=1,
        le=10_000,
        description="trials of a sensor that has a champion to start from; at most `trials`",
    )
    borrow_below: int = Field(
        200, ge=0, description="with fewer readings, use the parameters of the best sensor of the same type"
    )
    seed: int = 0
    budget_seconds: float | None = Field(
        None, gt=0, description="stop a search after this many seconds; null: no limit"
    )
    storage: str | None = Field(
        None, description="Optuna storage URL that makes studies resumable; not SQLite"
    )
    judged_share: float = Field(
        0.2, gt=0, le=0.5, description="newest part of the window, held out for metrics and gate"
    )


class DetectorSettings(Settings, file="training", section="detector"):
    """What a detector must achieve."""

    threshold: float = Field(0.5, ge=0.3, le=0.8)
    alarms_per_day: float = Field(1.0, gt=0, description="accepted false alarms per sensor and day")
    contamination: float = Field(
        0.1, gt=0, le=0.5, description="share of readings that one base detector alone marks as anomalous"
    )
    lifetime_days: float = Field(
        7.0, gt=0, description="longest time that a version serves before the next one"
    )


class ForecasterSettings(Settings, file="training", section="forecaster"):
    """What a forecaster must achieve."""

    interval_width: float = Field(0.95, gt=0, lt=1)
    horizon_steps: int = Field(24, ge=1, le=1000, description="steps ahead for which forecasters are tuned")


class RetentionSettings(Settings, file="training", section="retention"):
    """Which versions stay in the registry."""

    keep_versions: int = Field(
        10, ge=1, description="newest versions to keep; versions with an alias are always kept"
    )


@dataclass(frozen=True)
class Plan:
    """Everything that decides how a sensor's models come out, apart from its readings."""

    quality: QualitySettings
    window: WindowSettings
    tuning: TuningSettings
    detector: DetectorSettings
    forecaster: ForecasterSettings
    gate: GateSettings
    retention: RetentionSettings
    promotion: Promotion = Promotion.MANAGED

    @classmethod
    def from_conf(
        cls,
        *,
        trials: int | None = None,
        budget_seconds: float | None = None,
        promotion: Promotion = Promotion.MANAGED,
    ) -> "Plan":
        """The plan of conf files and environment; the arguments override both."""
        tuning = load_settings(TuningSettings)
        overrides = {"trials": trials, "budget_seconds": budget_seconds}
        set_overrides = {name: value for name, value in overrides.items() if value is not None}
        if set_overrides:
            tuning = TuningSettings.model_validate({**tuning.model_dump(), **set_overrides})
        return cls(
            quality=load_settings(QualitySettings),
            window=load_settings(WindowSettings),
            tuning=tuning,
            detector=load_settings(DetectorSettings),
            forecaster=load_settings(ForecasterSettings),
            gate=load_settings(GateSettings),
            retention=load_settings(RetentionSettings),
            promotion=promotion,
        )

    @property
    def digest(self) -> str:
        """A digest that is equal for plans that train equal models from equal readings."""
        parts = (self.quality, self.window, self.tuning, self.detector, self.forecaster)
        return hashlib.sha256("".join(part.model_dump_json() for part in parts).encode()).hexdigest()[:16]
