"""Share work between the trials of a detector search: features, one forest, one neighbour search.

The first trees of a large forest are a smaller forest, and neighbours sorted by distance serve any smaller
number of neighbours, so no trial fits a model. The objective is in `training.tuning.detector_search`.
"""

from dataclasses import dataclass, field

import numpy as np

from training.anomaly.crossfit import (
    BLOCK_COUNT,
    HeldOutLof,
    fit_forest,
    held_out_path_lengths,
)
from training.anomaly.ensemble import fit_detector_rarity, weighted_mean_rarity
from training.anomaly.features import Design
from training.anomaly.models.base_detectors import (
    BASE_DETECTORS,
    DetectorParameters,
    family_of,
    input_rows,
    skip_reason,
)
from training.anomaly.models.isolation_forest import Forest, isolation_score
from training.anomaly.models.local_outlier_factor import NeighbourSearch, build_tree, held_out_lof
from training.anomaly.profile import Profile
from training.common.arrays import Flags, Floats

TREE_SIZES = (32, 64, 96)
NEIGHBOUR_SIZES = (10, 20, 40)


@dataclass(frozen=True)
class TrialCache:
    """Scores of each base detector at each size, on the training rows (held out) and on the holdout rows."""

    training_scores: dict[tuple[str, int], Floats]
    holdout_scores: dict[tuple[str, int], Floats]
    row_counts: tuple[int, int]  # training and holdout rows
    _rarities: dict[tuple[str, int], tuple[Floats, Floats]] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, design: Design, holdout: Design, profile: Profile, *, seed: int) -> "TrialCache":
        """Fit the largest forest, search the most neighbours, and derive all smaller sizes from them."""
        cache = cls({}, {}, (len(design.points), len(holdout.points)))
        for name in BASE_DETECTORS[:-1]:
            (usable, rows), (usable_queries, queries) = input_rows(design, name), input_rows(holdout, name)
            if skip_reason(rows, name, profile) is None:
                if family_of(name) == "forest":
                    measured = _measure_forest(rows, queries, seed)
                else:
                    measured = _measure_density(rows, queries, profile, seed)
                for size, (held_out, query_scores) in measured.items():
                    cache.training_scores[name, size] = _scatter_rows(held_out, usable)
                    cache.holdout_scores[name, size] = _scatter_rows(query_scores, usable_queries)
        cache.training_scores["deviation", 0] = design.deviation
        cache.holdout_scores["deviation", 0] = holdout.deviation
        return cache

    def surprise(self, parameters: DetectorParameters) -> tuple[Floats, Floats]:
        """The ensemble's surprise at the training rows and at the holdout rows, from the stored scores."""
        chosen = {"forest": parameters.trees, "density": parameters.neighbours, "deviation": 0}
        parts = [np.full((rows, len(BASE_DETECTORS)), np.nan) for rows in self.row_counts]
        for column, name in enumerate(BASE_DETECTORS):
            key = (name, chosen[family_of(name)])
            if key in self.training_scores:
                for part, rarities in zip(parts, self._fit_rarities(key), strict=True):
                    part[:, column] = rarities
        training, holdout = (weighted_mean_rarity(part, parameters.weights()) for part in parts)
        return training, holdout

    def _fit_rarities(self, key: tuple[str, int]) -> tuple[Floats, Floats]:
        """Rarity of one base detector's scores, fitted once for all trials that give it this size."""
        if key not in self._rarities:
            raw_scores = self.training_scores[key]
            rarity = fit_detector_rarity(key[0], raw_scores[np.isfinite(raw_scores)])
            self._rarities[key] = (rarity.of(raw_scores), rarity.of(self.holdout_scores[key]))
        return self._rarities[key]


def _measure_forest(rows: Floats, queries: Floats, seed: int) -> dict[int, tuple[Floats, Floats]]:
    forest = Forest.of(fit_forest(rows, trees=TREE_SIZES[-1], seed=seed))
    trees_per_block = TREE_SIZES[-1] // BLOCK_COUNT
    inside, outside = held_out_path_lengths(forest, rows), forest.lengths(queries)
    measured = {}
    for trees in TREE_SIZES:
        first = np.arange(TREE_SIZES[-1]) % trees_per_block < trees // BLOCK_COUNT
        held_out = inside[:, : trees // BLOCK_COUNT].mean(axis=1)
        query_scores = outside[:, first].mean(axis=1)
        measured[trees] = (
            isolation_score(held_out, forest.normal_length),
            isolation_score(query_scores, forest.normal_length),
        )
    return measured


def _measure_density(
    rows: Floats, queries: Floats, profile: Profile, seed: int
) -> dict[int, tuple[Floats, Floats]]:
    lof = HeldOutLof.fit(rows, profile, neighbours=NEIGHBOUR_SIZES[-1], seed=seed)
    outside = NeighbourSearch.of_queries(queries, build_tree(lof.sample), max_neighbours=lof.neighbours)
    sizes = {k: min(k, lof.neighbours) for k in NEIGHBOUR_SIZES}
    return {k: (lof.lof(n), held_out_lof(lof.near, outside, n)) for k, n in sizes.items()}


def _scatter_rows(raw_scores: Floats, usable: Flags) -> Floats:
    column = np.full(usable.size, np.nan)
    column[usable] = raw_scores
    return column
