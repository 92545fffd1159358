"""RuleBasedDetector: each feature alone may raise the alarm; the fallback where no better detector passed.

The rules compare the level, its distance from the seasonal profile, the last change, the trend, the noise,
the time without change and the one-step forecast with the training window, and the reading with the operating
limits known at training. The ensemble weighs base detectors against each other, so the one that is right can
be outvoted; here the rarest feature makes the score. Nothing is searched; docs/concepts/fallback.md explains
the rules.

The model is one file, `rules.json`. When it serves is decided in `training.pipeline.fit`.
"""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from training.anomaly.calibration import Rarity, Scale, count_episodes, fit_rarity, fit_scale
from training.anomaly.explanations import feature_sizes
from training.anomaly.features import POINTS, Design
from training.anomaly.profile import Profile, compute_features, fit_profile
from training.anomaly.profile_detector import ProfileDetector, finite_training_sequence
from training.anomaly.sequence import ReadingSequence, Times
from training.artifacts.model_files import check_layout, read_json, write_json
from training.common.arrays import Floats
from training.errors import UntrustedModel
from training.reasons import Reason, ReasonCode

DAY = 86_400.0  # seconds
RULES_FILE = "rules.json"
LAYOUT_VERSION = 1
DEFAULT_ALARM_RATE = 1e-3  # episodes per reading without an alarm budget
# A tail of at least one robust SD: of a feature that never moved in training, the first movement is no alarm.
MIN_MEAN_EXCESS = 1.0
LIMIT_SCORE = 0.95  # of a reading beyond an operating limit


class OperatingLimits(BaseModel):
    """The operating limits of a sensor when its rules were learned, in its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    critical_low: FiniteFloat | None = None
    critical_high: FiniteFloat | None = None

    def exceeded(self, values: Floats) -> NDArray[np.bool_]:
        """Which values are beyond a limit."""
        low = -np.inf if self.critical_low is None else self.critical_low
        high = np.inf if self.critical_high is None else self.critical_high
        return np.asarray((values < low) | (values > high))

    def reason(self, value: float) -> Reason:
        """Why a value beyond a limit is anomalous."""
        above = self.critical_high is not None and value > self.critical_high
        code = ReasonCode.LIMIT_UPPER_CROSSED if above else ReasonCode.LIMIT_LOWER_CROSSED
        return Reason(code, {"value": value, "limit": self.critical_high if above else self.critical_low})


class SavedRules(BaseModel):
    """The content of `rules.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    threshold: float = Field(ge=0.3, le=0.8)
    profile: Profile
    rarities: dict[str, Rarity] = Field(description="of each feature's size, in robust SDs")
    scale: Scale
    limits: OperatingLimits


class RuleBasedDetector(ProfileDetector):
    """Scores a reading by its rarest feature.

    >>> training = np.sin(np.arange(500) / 5)
    >>> detector = RuleBasedDetector().fit(training)
    >>> bool(detector.score([9.0], history=training)[0] > 0.9)
    True
    """

    rarities: dict[str, Rarity]
    scale: Scale

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        alarms_per_day: float | None = None,
        limits: OperatingLimits | None = None,
    ) -> None:
        super().__init__(threshold)
        self.alarms_per_day = alarms_per_day
        self.limits = limits or OperatingLimits()

    def fit(self, data: ArrayLike, timestamps: Times = None) -> Self:
        """Learn what is normal and how rare each feature is; infinite and missing values are left out.

        Raises:
            NotTrainable: fewer than 30 finite readings.
        """
        sequence = finite_training_sequence(data, timestamps)
        self.profile = fit_profile(sequence.seconds, sequence.values, clocked=sequence.clocked)
        sizes = feature_sizes(compute_features(self.profile, sequence.seconds, sequence.values).points)
        self.rarities = {
            name: fit_rarity(sizes[:, place], min_mean_excess=MIN_MEAN_EXCESS)
            for place, name in enumerate(POINTS)
        }
        rate = DEFAULT_ALARM_RATE
        if self.alarms_per_day is not None:
            rate = self.alarms_per_day * self.profile.step / DAY
        self.scale = fit_scale(self._surprise(sizes), episodes_per_reading=rate)
        if count_episodes(self.limits.exceeded(sequence.values)) > max(rate * len(sequence.values), 1):
            # Limits that normal operation exceeds would use up the alarm budget.
            self.limits = OperatingLimits()
        return self

    def promised_share(self, score: float) -> float:
        """The expected share of ordinary readings with at least this score, for scores from 0.3 to 0.9."""
        return self.scale.share_above(score)

    def save(self, folder: Path) -> None:
        """Write `rules.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        saved = SavedRules(
            threshold=self.threshold,
            profile=self.profile,
            rarities=self.rarities,
            scale=self.scale,
            limits=self.limits,
        )
        write_json(saved.model_dump(mode="json"), folder / RULES_FILE)

    @classmethod
    def load(cls, folder: Path) -> "RuleBasedDetector":
        """Read what `save` wrote; scores are the same to the last bit.

        Raises:
            UntrustedModel: the file is missing, invalid or of another version.
        """
        content = read_json(folder / RULES_FILE)
        check_layout(content.get("format"), LAYOUT_VERSION, name=RULES_FILE)
        try:
            saved = SavedRules.model_validate(content)
        except ValidationError as error:
            raise UntrustedModel(f"{RULES_FILE} is invalid: {error}. Retrain this sensor.") from error
        if not saved.rarities or not set(saved.rarities) <= set(POINTS):
            raise UntrustedModel(f"{RULES_FILE} has rules of unknown features. Retrain this sensor.")
        detector = cls(threshold=saved.threshold, limits=saved.limits)
        detector.profile, detector.rarities, detector.scale = saved.profile, saved.rarities, saved.scale
        return detector

    def _scores(self, sequence: ReadingSequence, design: Design) -> Floats:
        scores = self.scale.of(self._surprise(feature_sizes(design.points)))
        exceeded = self.limits.exceeded(sequence.values[sequence.history_size :])
        return np.where(exceeded, np.maximum(scores, LIMIT_SCORE), scores)

    def _reasons(self, sequence: ReadingSequence, design: Design, scores: Floats) -> list[Reason | None]:
        values = sequence.values[sequence.history_size :]
        reasons = super()._reasons(sequence, design, scores)
        for place in np.flatnonzero(self.limits.exceeded(values)).tolist():
            reasons[place] = self.limits.reason(float(values[place]))
        return reasons

    def _surprise(self, sizes: Floats) -> Floats:
        """The rarity of the rarest feature of each row."""
        rarities = [rarity.of(sizes[:, POINTS.index(name)]) for name, rarity in self.rarities.items()]
        return np.asarray(np.max(rarities, axis=0))
