"""One score from all voices: each made comparable by its own rarity, then averaged by weight.

Knows voices by name and what they say; leaves how they come to say it to `voices`, and tails to
`calibration`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from training.anomaly.base_detectors import BASE_DETECTORS, DetectorParameters, family_of
from training.anomaly.calibration import (
    Rarity,
    Scale,
    fit_far_scale,
    fit_rarity,
    fit_scale,
    interpolate_scales,
)
from training.common.arrays import Floats

DEFAULT_ALARM_RATE = 1 / 1000  # false alarms a reading, where no budget a day is given
FAMILIES = ("ensemble", "forest", "density")
# How much more surprising readings far from the training are taken to be where no half could be kept from it.
UNPROVEN_FACTOR = 1.5
# The smallest mean excess believed in a tail, in what each family of voices measures.
MIN_MEAN_EXCESS = {"forest": 0.01, "density": 0.05, "deviation": 0.2}


class Ensemble(BaseModel):
    """The calibration of a fitted detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, FiniteFloat]
    rarities: dict[str, Rarity]
    scales: dict[str, Scale]

    def score(self, raw_scores: Floats, family: str = "ensemble") -> Floats:
        """Scores in [0, 1] of the whole ensemble, or of one family of voices alone."""
        return self.scales[family].of(self.surprise(raw_scores, family))

    def surprise(self, raw_scores: Floats, family: str = "ensemble") -> Floats:
        """The weighted mean rarity over the voices that speak."""
        # Alone, a family speaks even where the ensemble gives it no weight.
        weights = {
            voice: weight if family == "ensemble" else float(family_of(voice) == family)
            for voice, weight in self.weights.items()
        }
        active = {
            voice: compute_rarities(self.rarities[voice], column)
            for voice, column in zip(BASE_DETECTORS, raw_scores.T, strict=True)
            if voice in self.rarities and weights[voice] > 0
        }
        return weighted_mean_rarity(active, weights, rows=len(raw_scores))


def compute_rarities(rarity: Rarity, raw_scores: Floats) -> Floats:
    """The rarity of all that one voice said; NaN where it is silent."""
    rarities = np.full(raw_scores.size, np.nan)
    known = np.isfinite(raw_scores)
    rarities[known] = rarity.of(raw_scores[known])
    return rarities


def weighted_mean_rarity(
    rarities_by_name: Mapping[str, Floats], weights: Mapping[str, float], *, rows: int
) -> Floats:
    """The weighted mean of the voices' rarities over those that speak."""
    total, active_weight = np.zeros(rows), np.zeros(rows)
    for name, rarities in rarities_by_name.items():
        if weights[name] > 0:
            active = np.isfinite(rarities)
            total += np.where(active, weights[name] * rarities, 0.0)
            active_weight += weights[name] * active
    return total / np.maximum(active_weight, 1e-12)


def fit_ensemble(
    raw_scores: Floats,
    parameters: DetectorParameters,
    *,
    step: float,
    reach: float = 0.0,
    halves: Sequence[Floats] = (),
    families: Iterable[str] = FAMILIES,
) -> Ensemble:
    """Calibrate on what the voices said of readings held out from them, in order of time.

    `step` is the seconds between readings, by which a budget a day becomes one a reading. `reach` says how
    far from those learned from the readings to come will be, from 0 (as near as those held out) to 1;
    `halves` are the surprises of stretches that nothing was learned from.
    """
    rate = allowed_alarm_rate(parameters, step)
    finite_scores = {
        voice: column[np.isfinite(column)] for voice, column in zip(BASE_DETECTORS, raw_scores.T, strict=True)
    }
    rarities = {
        voice: fit_detector_rarity(voice, column) for voice, column in finite_scores.items() if column.size
    }
    weights = detector_weights(parameters)
    uncalibrated = Ensemble(weights=weights, rarities=rarities, scales={})
    active_families = {"ensemble", *map(family_of, rarities)}
    surprises = {
        family: uncalibrated.surprise(raw_scores, family) for family in families if family in active_families
    }
    scales = {family: fit_scale(each, episodes_per_reading=rate) for family, each in surprises.items()}
    if reach > 0 and "ensemble" in scales:
        near = scales["ensemble"]
        if halves:
            far = fit_far_scale(near, halves, episodes_per_reading=rate)
        else:
            far = fit_scale(UNPROVEN_FACTOR * surprises["ensemble"], episodes_per_reading=rate)
        scales["ensemble"] = interpolate_scales(near, far, reach)
    return Ensemble(weights=weights, rarities=rarities, scales=scales)


def fit_detector_rarity(name: str, raw_scores: Floats) -> Rarity:
    """The tail of what one voice said of held-out readings."""
    return fit_rarity(raw_scores, min_mean_excess=MIN_MEAN_EXCESS[family_of(name)])


def detector_weights(parameters: DetectorParameters) -> dict[str, float]:
    """One weight a voice."""
    return dict(zip(BASE_DETECTORS, parameters.weights().tolist(), strict=True))


def allowed_alarm_rate(parameters: DetectorParameters, step: float) -> float:
    """Alarms a reading that the budget allows; `step` is the seconds between readings."""
    budget = parameters.alarms_per_day
    return DEFAULT_ALARM_RATE if budget is None else budget * step / 86_400.0
