"""One score from all voices: each made comparable by its own rarity, then averaged by weight.

Knows voices by name and what they say; leaves how they come to say it to `voices`, and tails to
`calibration`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from training.anomaly.base_detectors import VOICES, DetectorParameters, family_of
from training.anomaly.calibration import (
    Rarity,
    Scale,
    between_scales,
    learn_far_scale,
    learn_rarity,
    learn_scale,
)

Floats = NDArray[np.float64]

DEFAULT_RATE = 1 / 1000  # false alarms a reading, where no budget a day is given
FAMILIES = ("ensemble", "forest", "density")
# How much more surprising readings far from the training are taken to be where no half could be kept from it.
UNPROVEN = 1.5
# The smallest mean excess believed in a tail, in what each family of voices measures.
FINEST = {"forest": 0.01, "density": 0.05, "deviation": 0.2}


class Ensemble(BaseModel):
    """The calibration of a fitted detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, FiniteFloat]
    rarities: dict[str, Rarity]
    scales: dict[str, Scale]

    def score(self, said: Floats, family: str = "ensemble") -> Floats:
        """Scores in [0, 1] of the whole ensemble, or of one family of voices alone."""
        return self.scales[family].of(self.surprise(said, family))

    def surprise(self, said: Floats, family: str = "ensemble") -> Floats:
        """The weighted mean rarity over the voices that speak."""
        # Alone, a family speaks even where the ensemble gives it no weight.
        weights = {
            voice: weight if family == "ensemble" else float(family_of(voice) == family)
            for voice, weight in self.weights.items()
        }
        heard = {
            voice: rarities_of(self.rarities[voice], column)
            for voice, column in zip(VOICES, said.T, strict=True)
            if voice in self.rarities and weights[voice] > 0
        }
        return together(heard, weights, rows=len(said))


def rarities_of(rarity: Rarity, said: Floats) -> Floats:
    """The rarity of all that one voice said; NaN where it is silent."""
    found = np.full(said.size, np.nan)
    heard = np.isfinite(said)
    found[heard] = rarity.of(said[heard])
    return found


def together(heard: Mapping[str, Floats], weights: Mapping[str, float], *, rows: int) -> Floats:
    """The weighted mean of the voices' rarities over those that speak."""
    total, spoken = np.zeros(rows), np.zeros(rows)
    for voice, rarities in heard.items():
        if weights[voice] > 0:
            speaks = np.isfinite(rarities)
            total += np.where(speaks, weights[voice] * rarities, 0.0)
            spoken += weights[voice] * speaks
    return total / np.maximum(spoken, 1e-12)


def learn_ensemble(
    said: Floats,
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
    rate = allowed_rate(parameters, step)
    heard = {voice: column[np.isfinite(column)] for voice, column in zip(VOICES, said.T, strict=True)}
    rarities = {voice: rarity_of_voice(voice, column) for voice, column in heard.items() if column.size}
    weights = weights_of(parameters)
    voices = Ensemble(weights=weights, rarities=rarities, scales={})
    spoken = {"ensemble", *map(family_of, rarities)}
    surprises = {family: voices.surprise(said, family) for family in families if family in spoken}
    scales = {family: learn_scale(each, episodes_per_reading=rate) for family, each in surprises.items()}
    if reach > 0 and "ensemble" in scales:
        near = scales["ensemble"]
        if halves:
            far = learn_far_scale(near, halves, episodes_per_reading=rate)
        else:
            far = learn_scale(UNPROVEN * surprises["ensemble"], episodes_per_reading=rate)
        scales["ensemble"] = between_scales(near, far, reach)
    return Ensemble(weights=weights, rarities=rarities, scales=scales)


def rarity_of_voice(voice: str, said: Floats) -> Rarity:
    """The tail of what one voice said of held-out readings."""
    return learn_rarity(said, finest=FINEST[family_of(voice)])


def weights_of(parameters: DetectorParameters) -> dict[str, float]:
    """One weight a voice."""
    return dict(zip(VOICES, parameters.weights().tolist(), strict=True))


def allowed_rate(parameters: DetectorParameters, step: float) -> float:
    """Alarms a reading that the budget allows; `step` is the seconds between readings."""
    budget = parameters.alarms_per_day
    return DEFAULT_RATE if budget is None else budget * step / 86_400.0
