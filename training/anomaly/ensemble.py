"""Combine base detectors into one score: each raw score becomes a rarity, and the weighted mean a score.

Scores of many sensors are combined at once; a single sensor is a batch of one. How rarities and scales are
learned is in `calibration`, raw scores come from `base_detectors`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from training.anomaly.calibration import (
    Rarity,
    RarityCurves,
    Scale,
    fit_far_scale,
    fit_rarity,
    fit_scale,
    interpolate_scales,
    score_rarities,
)
from training.anomaly.models.base_detectors import BASE_DETECTORS, DetectorParameters, family_of
from training.common.arrays import Floats, Ints

DEFAULT_ALARM_RATE = 1 / 1000  # false alarms per reading without an alarm budget per day
FAMILIES = ("ensemble", "forest", "density")
# The factor on surprises of readings far from the training where no half could be held out of it.
UNPROVEN_FACTOR = 1.5
# The smallest mean excess accepted of a tail, in the raw scores of each family.
MIN_MEAN_EXCESS = {"forest": 0.01, "density": 0.05, "deviation": 0.2}
CURVES_PER_SENSOR = len(BASE_DETECTORS) + 1  # one per base detector and one for the ensemble


class Ensemble(BaseModel):
    """The calibration of a fitted detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, FiniteFloat]
    rarities: dict[str, Rarity]
    scales: dict[str, Scale]

    def score(self, raw_scores: Floats, family: str = "ensemble") -> Floats:
        """Scores in [0, 1] of the whole ensemble, or of one family of base detectors alone."""
        return self.scales[family].of(self.surprise(raw_scores, family))

    def surprise(self, raw_scores: Floats, family: str = "ensemble") -> Floats:
        """The weighted mean rarity over the active base detectors of each row."""
        # A family alone is active even where the ensemble gives it no weight.
        weights = [
            self.weights[name] if family == "ensemble" else float(family_of(name) == family)
            for name in BASE_DETECTORS
        ]
        fitted = np.array([name in self.rarities for name in BASE_DETECTORS])
        return compute_surprise(self._curves, 0, np.where(fitted, weights, 0.0), raw_scores)

    @cached_property
    def _curves(self) -> RarityCurves:
        return RarityCurves.of([self.rarities.get(name) for name in BASE_DETECTORS])


@dataclass(frozen=True)
class CalibrationTables:
    """The calibration of some sensors as arrays; the first dimension is the sensor."""

    knots: Floats  # (sensors, curves of a sensor, knots), as in `RarityCurves`
    rarities: Floats
    slopes: Floats  # (sensors, curves of a sensor)
    last: Floats
    weights: Floats  # (sensors, base detectors); 0 for one that was not fitted
    budget: Floats

    @classmethod
    def of(cls, ensemble: Ensemble) -> "CalibrationTables":
        """The tables of one sensor."""
        scale = ensemble.scales["ensemble"]
        curves = RarityCurves.of([*(ensemble.rarities.get(name) for name in BASE_DETECTORS), scale.rarity])
        weights = [ensemble.weights[name] if name in ensemble.rarities else 0.0 for name in BASE_DETECTORS]
        parts = (curves.knots, curves.rarities, curves.slopes, curves.last, weights, scale.budget)
        return cls(*(np.asarray(part)[None] for part in parts))

    def score(self, sensor: Ints, raw_scores: Floats) -> Floats:
        """Scores in [0, 1] of rows that belong to these sensors."""
        width = self.knots.shape[-1]
        curves = RarityCurves(
            self.knots.reshape(-1, width),
            self.rarities.reshape(-1, width),
            self.slopes.ravel(),
            self.last.ravel(),
        )
        first = sensor * CURVES_PER_SENSOR
        surprise = compute_surprise(curves, first, self.weights[sensor], raw_scores)
        return score_rarities(curves.at(first + len(BASE_DETECTORS), surprise), self.budget[sensor])


def compute_surprise(
    curves: RarityCurves, first_curve: Ints | int, weights: Floats, raw_scores: Floats
) -> Floats:
    """The weighted mean rarity of each row; `first_curve` is the curve of its first base detector."""
    curve = np.add.outer(first_curve, np.arange(raw_scores.shape[1]))
    active = np.isfinite(raw_scores) & (weights > 0)
    rarities = np.full(raw_scores.shape, np.nan)
    rarities[active] = curves.at(np.broadcast_to(curve, active.shape)[active], raw_scores[active])
    return weighted_mean_rarity(rarities, weights)


def weighted_mean_rarity(rarities: Floats, weights: Floats) -> Floats:
    """The mean of each row over the base detectors with a rarity and a weight; 0 without any.

    `rarities` has shape (rows, base detectors), `weights` the same or one row for all.
    """
    active = np.isfinite(rarities) & (weights > 0)
    # Column by column, because a sum over rows rounds differently with the number of columns.
    total = sum(np.where(active, weights * rarities, 0.0).T)
    total_weight = sum(np.where(active, weights, 0.0).T)
    return np.asarray(total / np.maximum(total_weight, 1e-12))


def fit_ensemble(
    raw_scores: Floats,
    parameters: DetectorParameters,
    *,
    step: float,
    reach: float = 0.0,
    halves: Sequence[Floats] = (),
    families: Iterable[str] = FAMILIES,
) -> Ensemble:
    """Calibrate on raw scores of held-out readings, in order of time.

    `step` is the seconds between readings, which turn a budget per day into one per reading. `reach` states
    how far future readings will be from the training, from 0 (as near as the held-out ones) to 1; `halves`
    are the surprises of the halves of the training to each other's detectors.
    """
    rate = allowed_alarm_rate(parameters, step)
    finite_scores = {
        name: column[np.isfinite(column)] for name, column in zip(BASE_DETECTORS, raw_scores.T, strict=True)
    }
    rarities = {
        name: fit_detector_rarity(name, column) for name, column in finite_scores.items() if column.size
    }
    weights = dict(zip(BASE_DETECTORS, parameters.weights().tolist(), strict=True))
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
    """The rarity of one base detector's scores, learned from finite scores of held-out readings."""
    return fit_rarity(raw_scores, min_mean_excess=MIN_MEAN_EXCESS[family_of(name)])


def allowed_alarm_rate(parameters: DetectorParameters, step: float) -> float:
    """Alarms per reading that the budget allows; `step` is the seconds between readings."""
    budget = parameters.alarms_per_day
    return DEFAULT_ALARM_RATE if budget is None else budget * step / 86_400.0
