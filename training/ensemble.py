"""One score from all voices: each made comparable by its own rarity, then averaged by weight.

Knows voices by name and what they say; leaves how they come to say it to `voices`, and tails to
`calibration`.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from training.calibration import Rarity, Scale, learn_rarity, learn_scale
from training.voices import VOICES, DetectorParameters, family_of

Floats = NDArray[np.float64]

DEFAULT_RATE = 1 / 1000  # false alarms a reading, where no budget a day is given
FAMILIES = ("ensemble", "forest", "density")
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
        total, spoken = np.zeros(len(said)), np.zeros(len(said))
        for column, voice in enumerate(VOICES):
            # Alone, a family speaks even where the ensemble gives it no weight.
            weight = self.weights[voice] if family == "ensemble" else float(family_of(voice) == family)
            if voice in self.rarities and weight > 0:
                heard = np.isfinite(said[:, column])
                total[heard] += weight * self.rarities[voice].of(said[heard, column])
                spoken[heard] += weight
        return total / np.maximum(spoken, 1e-12)


def learn_ensemble(
    said: Floats,
    parameters: DetectorParameters,
    *,
    step: float,
    families: Iterable[str] = FAMILIES,
) -> Ensemble:
    """Calibrate on what the voices said of readings held out from them, in order of time.

    `step` is the seconds between readings, by which a budget a day becomes one a reading.
    """
    budget = parameters.alarms_per_day
    rate = DEFAULT_RATE if budget is None else budget * step / 86_400.0
    heard = {voice: column[np.isfinite(column)] for voice, column in zip(VOICES, said.T, strict=True)}
    rarities = {
        voice: learn_rarity(column, finest=FINEST[family_of(voice)])
        for voice, column in heard.items()
        if column.size
    }
    weights = dict(zip(VOICES, parameters.weights().tolist(), strict=True))
    voices = Ensemble(weights=weights, rarities=rarities, scales={})
    spoken = {"ensemble", *map(family_of, rarities)}
    scales = {
        family: learn_scale(voices.surprise(said, family), episodes_per_reading=rate)
        for family in families
        if family in spoken
    }
    return Ensemble(weights=weights, rarities=rarities, scales=scales)
