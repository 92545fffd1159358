"""A fitted detector in the form that serves: small, and scored together with others.

Knows which numbers of an `AnomalyDetector` a score needs, and keeps them in arrays, small ones on the shelf.
What it says is what the detector says; `acceptance` checks that for each one. Leaves the arithmetic to
`many_features`, `grove`, `surroundings` and `choir`, files to `packed_files`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.vectorized.features import usual_of
from serving.vectorized.packed_forest import GROVE, PackedForest, Plot, lot_of, packed
from serving.vectorized.packed_lof import Density, Surroundings
from serving.vectorized.parameter_table import SHELF, Place
from training.anomaly.base_detectors import VOICES, family_of
from training.anomaly.calibration import LEVELS, Rarity
from training.anomaly.detector import AnomalyDetector
from training.anomaly.ensemble import Ensemble
from training.anomaly.features import Profile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tables:
    """The calibration as arrays: a row a voice, and one for the ensemble."""

    knots: Floats  # ascending, infinite behind the last
    rarities: Floats
    slopes: Floats
    last: Floats
    weights: Floats  # zero for a voice that is silent
    budget: float

    @classmethod
    def of(cls, ensemble: Ensemble) -> "Tables":
        """Take the calibration over."""
        learned: list[Rarity | None] = [ensemble.rarities.get(voice) for voice in VOICES]
        learned.append(ensemble.scales["ensemble"].rarity)
        knots = np.full((len(learned), LEVELS + 1), np.inf)
        rarities = np.zeros((len(learned), LEVELS + 1))
        slopes, last = np.zeros(len(learned)), np.zeros(len(learned))
        for row, one in enumerate(learned):
            if one is not None:
                known = len(one.scores)
                knots[row, :known], rarities[row, :known] = one.scores, one.rarities
                rarities[row, known:] = one.rarities[-1]
                slopes[row], last[row] = one.slope, one.scores[-1]
        weights = np.array(
            [ensemble.weights[voice] if voice in ensemble.rarities else 0.0 for voice in VOICES]
        )
        return cls(knots, rarities, slopes, last, weights, ensemble.scales["ensemble"].budget)


@dataclass(frozen=True)
class Packing:
    """All that is kept of one detector, in memory or in a file."""

    profile: Profile
    threshold: float
    tables: Tables
    forests: dict[str, PackedForest]
    densities: dict[str, Density]

    @classmethod
    def of(cls, detector: AnomalyDetector) -> "Packing":
        """Take a fitted detector's numbers over."""
        voices = detector.voices
        return cls(
            detector.profile,
            detector.threshold,
            Tables.of(detector.ensemble),
            {voice: packed(forest) for voice, forest in voices.fast_forests.items()},
            {
                voice: Density(np.asarray(near.tree.data), near.reach, near.density, near.k)
                for voice, near in voices.fast_densities.items()
            },
        )


@dataclass(frozen=True, eq=False)
class PackedDetector:
    """One sensor's detector among many."""

    profile: Profile
    threshold: float
    window: int
    context: int
    forests: dict[str, Plot]
    surroundings: dict[str, Surroundings]
    place: Place

    @classmethod
    def of(cls, packing: Packing) -> "PackedDetector":
        """Put a detector's trees among the others', and its numbers on the shelf."""
        profile = packing.profile
        plots = {voice: GROVE.plant(forest) for voice, forest in packing.forests.items()}
        near = {voice: Surroundings.of(density) for voice, density in packing.densities.items()}
        numbers = usual_of(profile) | vars(packing.tables) | _of_voices(plots, near)
        place = SHELF.put(numbers)
        return cls(profile, packing.threshold, profile.window, profile.context, plots, near, place)


def _of_voices(plots: Mapping[str, Plot], near: Mapping[str, Surroundings]) -> dict[str, ArrayLike]:
    """For every voice but the last: whether it speaks, and of forests where they stand."""
    numbers: dict[str, ArrayLike] = {}
    for voice in VOICES[:-1]:
        numbers[f"{voice}.speaks"] = voice in plots or voice in near
        if family_of(voice) == "forest":
            numbers |= {f"{voice}.{name}": entry for name, entry in lot_of(plots.get(voice)).items()}
    return numbers


def rows_of(detectors: Sequence[PackedDetector]) -> Ints:
    """The rows of the shelf that hold these detectors' numbers."""
    return np.fromiter((one.place.row for one in detectors), np.int64, len(detectors))
