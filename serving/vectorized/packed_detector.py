"""A fitted detector in the form that serves: small, and scored together with others.

Knows which numbers of an `AnomalyDetector` a score needs, and keeps them in arrays, small ones on the shelf.
What it says is what the detector says; `acceptance` checks that for each one. Leaves the arithmetic to
`many_features`, `grove`, `surroundings` and `choir`, files to `packed_files`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from serving.vectorized.features import profile_parameters
from serving.vectorized.packed_forest import FOREST_ARENA, PackedForest, Slot, pack_forest, slot_parameters
from serving.vectorized.packed_lof import LofData, PackedLof
from serving.vectorized.parameter_table import PARAMETER_TABLE, RowHandle
from training.anomaly.base_detectors import BASE_DETECTORS, family_of
from training.anomaly.calibration import MAX_KNOTS, Rarity
from training.anomaly.detector import AnomalyDetector
from training.anomaly.ensemble import Ensemble
from training.anomaly.features import Profile
from training.common.arrays import Floats, Ints


@dataclass(frozen=True)
class CalibrationTables:
    """The calibration as arrays: a row a voice, and one for the ensemble."""

    knots: Floats  # ascending, infinite behind the last
    rarities: Floats
    slopes: Floats
    last: Floats
    weights: Floats  # zero for a voice that is silent
    budget: float

    @classmethod
    def of(cls, ensemble: Ensemble) -> "CalibrationTables":
        """Take the calibration over."""
        rarity_models: list[Rarity | None] = [ensemble.rarities.get(voice) for voice in BASE_DETECTORS]
        rarity_models.append(ensemble.scales["ensemble"].rarity)
        knots = np.full((len(rarity_models), MAX_KNOTS + 1), np.inf)
        rarities = np.zeros((len(rarity_models), MAX_KNOTS + 1))
        slopes, last = np.zeros(len(rarity_models)), np.zeros(len(rarity_models))
        for row, model in enumerate(rarity_models):
            if model is not None:
                count = len(model.scores)
                knots[row, :count], rarities[row, :count] = model.scores, model.rarities
                rarities[row, count:] = model.rarities[-1]
                slopes[row], last[row] = model.slope, model.scores[-1]
        weights = np.array(
            [ensemble.weights[voice] if voice in ensemble.rarities else 0.0 for voice in BASE_DETECTORS]
        )
        return cls(knots, rarities, slopes, last, weights, ensemble.scales["ensemble"].budget)


@dataclass(frozen=True)
class DetectorArrays:
    """All that is kept of one detector, in memory or in a file."""

    profile: Profile
    threshold: float
    tables: CalibrationTables
    forests: dict[str, PackedForest]
    densities: dict[str, LofData]

    @classmethod
    def of(cls, detector: AnomalyDetector) -> "DetectorArrays":
        """Take a fitted detector's numbers over."""
        voices = detector.base_detectors
        return cls(
            detector.profile,
            detector.threshold,
            CalibrationTables.of(detector.ensemble),
            {voice: pack_forest(forest) for voice, forest in voices.fast_forests.items()},
            {
                voice: LofData(np.asarray(near.tree.data), near.reach, near.density, near.k)
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
    forests: dict[str, Slot]
    lofs: dict[str, PackedLof]
    row_handle: RowHandle

    @classmethod
    def of(cls, packing: DetectorArrays) -> "PackedDetector":
        """Put a detector's trees among the others', and its numbers on the shelf."""
        profile = packing.profile
        slots = {voice: FOREST_ARENA.add(forest) for voice, forest in packing.forests.items()}
        near = {voice: PackedLof.of(density) for voice, density in packing.densities.items()}
        numbers = profile_parameters(profile) | vars(packing.tables) | _detector_parameters(slots, near)
        row_handle = PARAMETER_TABLE.put(numbers)
        return cls(profile, packing.threshold, profile.window, profile.context, slots, near, row_handle)


def _detector_parameters(slots: Mapping[str, Slot], near: Mapping[str, PackedLof]) -> dict[str, ArrayLike]:
    """For every voice but the last: whether it speaks, and of forests where they stand."""
    numbers: dict[str, ArrayLike] = {}
    for voice in BASE_DETECTORS[:-1]:
        numbers[f"{voice}.speaks"] = voice in slots or voice in near
        if family_of(voice) == "forest":
            numbers |= {f"{voice}.{name}": entry for name, entry in slot_parameters(slots.get(voice)).items()}
    return numbers


def table_rows(detectors: Sequence[PackedDetector]) -> Ints:
    """The rows of the shelf that hold these detectors' numbers."""
    return np.fromiter((one.row_handle.row for one in detectors), np.int64, len(detectors))
