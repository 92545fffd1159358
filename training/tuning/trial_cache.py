"""Everything a detector's trials share, computed once: features, one forest, one neighbour search.

Knows that the first trees of a large forest are a smaller forest, and that neighbours sorted by distance
serve any smaller k; so weights, thresholds, trees and neighbours cost no refit. Leaves what a good trial
is to `detector_tuning`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.anomaly.base_detectors import VOICES, DetectorParameters, family_of, rows_of, unfit
from training.anomaly.crossfit import (
    BLOCKS,
    Blocks,
    HeldOutDensity,
    grow_forest,
    held_out_lengths,
    jitter,
    thin,
    wide_search,
)
from training.anomaly.ensemble import rarities_of, rarity_of_voice, together, weights_of
from training.anomaly.features import Design, Profile
from training.anomaly.isolation_forest import Forest, oddness
from training.anomaly.local_outlier_factor import Search, held_out_factor, tree_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TREES = (32, 64, 96)
NEIGHBOURS = (10, 20, 40)


@dataclass(frozen=True)
class Workbench:
    """What each voice says at each size it may have, on training rows (held out) and on rows to judge."""

    learned: dict[tuple[str, int], Floats]
    judged: dict[tuple[str, int], Floats]
    sizes: dict[str, int]  # rows: learned, judged
    _rarities: dict[tuple[str, int], tuple[Floats, Floats]] = field(default_factory=dict, repr=False)

    @classmethod
    def over(cls, design: Design, judged: Design, profile: Profile, *, seed: int) -> "Workbench":
        """Grow the largest forest, search the most neighbours, and read all smaller ones off them."""
        bench = cls({}, {}, {"learned": len(design.points), "judged": len(judged.points)})
        for voice in VOICES[:-1]:
            (usable, rows), (asked, queries) = rows_of(design, voice), rows_of(judged, voice)
            if unfit(rows, voice, profile) is None:
                if family_of(voice) == "forest":
                    measured = _measure_forest(rows, queries, seed)
                else:
                    measured = _measure_density(rows, queries, profile, seed)
                for size, (held_out, fresh) in measured.items():
                    bench.learned[voice, size] = _spread_out(held_out, usable)
                    bench.judged[voice, size] = _spread_out(fresh, asked)
        bench.learned["deviation", 0] = design.deviation
        bench.judged["deviation", 0] = judged.deviation
        return bench

    def surprise(self, parameters: DetectorParameters) -> tuple[Floats, Floats]:
        """The ensemble's surprise at the training rows and at the rows to judge; no voice is asked again."""
        chosen = {"forest": parameters.trees, "density": parameters.neighbours, "deviation": 0}
        sized = {voice: (voice, chosen[family_of(voice)]) for voice in VOICES}
        heard = {voice: self._rarity(key) for voice, key in sized.items() if key in self.learned}
        weights = weights_of(parameters)
        learned, judged = (
            together({voice: parts[place] for voice, parts in heard.items()}, weights, rows=rows)
            for place, rows in enumerate(self.sizes.values())
        )
        return learned, judged

    def _rarity(self, key: tuple[str, int]) -> tuple[Floats, Floats]:
        """How rare it is what one voice says, learned once for all trials that give it this size."""
        if key not in self._rarities:
            said = self.learned[key]
            rarity = rarity_of_voice(key[0], said[np.isfinite(said)])
            self._rarities[key] = rarities_of(rarity, said), rarities_of(rarity, self.judged[key])
        return self._rarities[key]


def _measure_forest(rows: Floats, queries: Floats, seed: int) -> dict[int, tuple[Floats, Floats]]:
    blocks = Blocks.over(len(rows))
    forest = Forest.of(grow_forest(rows, blocks, trees=TREES[-1], seed=seed))
    each = TREES[-1] // BLOCKS
    inside, outside = held_out_lengths(forest, rows, blocks), forest.lengths(queries)
    measured = {}
    for trees in TREES:
        first = np.arange(TREES[-1]) % each < trees // BLOCKS
        held_out = inside[:, : trees // BLOCKS].mean(axis=1)
        fresh = outside[:, first].mean(axis=1)
        measured[trees] = (oddness(held_out, forest.normal_length), oddness(fresh, forest.normal_length))
    return measured


def _measure_density(
    rows: Floats, queries: Floats, profile: Profile, seed: int
) -> dict[int, tuple[Floats, Floats]]:
    kept = thin(len(rows))
    learned = rows[kept] + jitter(rows[kept].shape, profile, seed)
    largest = min(NEIGHBOURS[-1], len(kept) // 4)
    inside = wide_search(learned, largest=largest)
    held_out = HeldOutDensity.over(rows, learned, kept, Blocks.over(len(rows)), inside, largest=largest)
    outside = Search.from_outside(queries, tree_of(learned), largest=largest)
    sizes = {k: min(k, largest) for k in NEIGHBOURS}
    return {k: (held_out.factor(n), held_out_factor(inside, outside, n)) for k, n in sizes.items()}


def _spread_out(said: Floats, usable: NDArray[np.bool_]) -> Floats:
    column = np.full(usable.size, np.nan)
    column[usable] = said
    return column
