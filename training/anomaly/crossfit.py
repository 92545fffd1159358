"""Fit Isolation Forest and LOF on all rows, and score each block of time without fitting a second time.

A quarter of the trees leaves out each block, and the neighbours of a block are searched in the other blocks.
What held-out scores mean is learned in `calibration`.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import IsolationForest

from training.anomaly.models.isolation_forest import Forest
from training.anomaly.models.local_outlier_factor import NeighbourSearch, build_tree, held_out_lof
from training.anomaly.models.sklearn_adapter import fit_forest_in_parts
from training.anomaly.profile import Profile
from training.common.arrays import Flags, Floats, Ints

BLOCK_COUNT = 4
SAMPLES_PER_TREE = 256  # rows
MAX_DENSITY_ROWS = 1_500  # of a LOF: its file and its search grow with them
NEIGHBOUR_MARGIN = 1.5  # searched neighbours per needed one; about a quarter are in the held-out block


def fit_forest(rows: Floats, *, trees: int, seed: int) -> IsolationForest:
    """One forest; each quarter of its trees is grown without one block."""
    block_of_row = _blocks(len(rows))
    parts = [rows[block_of_row != block] for block in range(BLOCK_COUNT)]
    samples = min(SAMPLES_PER_TREE, *(len(part) for part in parts))
    return fit_forest_in_parts(parts, trees=trees // BLOCK_COUNT, samples=samples, seed=seed)


def held_out_path_lengths(forest: Forest, rows: Floats) -> Floats:
    """Path lengths of the training rows in the trees grown without their block, (rows, trees per block)."""
    trees_per_block = forest.roots.size // BLOCK_COUNT
    lengths, block_of_row = np.empty((len(rows), trees_per_block)), _blocks(len(rows))
    for block in range(BLOCK_COUNT):
        in_block = block_of_row == block
        lengths[in_block] = forest.lengths(
            rows[in_block], trees=slice(block * trees_per_block, (block + 1) * trees_per_block)
        )
    return lengths


@dataclass(frozen=True)
class HeldOutLof:
    """What a LOF learns from a sample of the training rows, and for each block the neighbours outside it."""

    sample: Floats  # with noise within the sensor's resolution
    neighbours: int  # the most that can be used
    near: NeighbourSearch  # of the sample
    searches: tuple[
        tuple[Flags, NeighbourSearch, NeighbourSearch], ...
    ]  # rows, inside and outside of a block

    @classmethod
    def fit(
        cls, rows: Floats, profile: Profile, *, neighbours: int, seed: int, max_rows: int = MAX_DENSITY_ROWS
    ) -> "HeldOutLof":
        """Search once per block; the sample has at most `max_rows`, evenly spread over time."""
        sampled = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), max_rows)).astype(np.int64))
        sample = rows[sampled] + _resolution_jitter((len(sampled), rows.shape[1]), profile, seed)
        most = min(neighbours, len(sampled) // 4)
        near = search_with_margin(sample, max_neighbours=most)
        searches, block_of_row = [], _blocks(len(rows))
        for block in range(BLOCK_COUNT):
            in_block, others = block_of_row == block, block_of_row[sampled] != block
            tree = build_tree(sample[others])
            outside = NeighbourSearch.of_queries(rows[in_block], tree, max_neighbours=most)
            searches.append((in_block, near.restricted_to(tree, others, max_neighbours=most), outside))
        return cls(sample, most, near, tuple(searches))

    def lof(self, k: int) -> Floats:
        """The held-out LOF of every row at this k, without a new search."""
        factors = np.empty(len(self.searches[0][0]))
        for in_block, inside, outside in self.searches:
            factors[in_block] = held_out_lof(inside, outside, k)
        return factors


def search_with_margin(rows: Floats, *, max_neighbours: int) -> NeighbourSearch:
    """The neighbours of each row, with enough to spare for those of a block to be dropped."""
    return NeighbourSearch.among(
        rows, max_neighbours=min(int(NEIGHBOUR_MARGIN * max_neighbours), len(rows) - 1)
    )


def _blocks(rows: int) -> Ints:
    """The block of each row: contiguous, equal parts, of which one is held out at a time."""
    return (np.arange(rows) * BLOCK_COUNT) // max(rows, 1)


def _resolution_jitter(shape: tuple[int, int], profile: Profile, seed: int) -> Floats:
    """Noise within the sensor's resolution, because tied rows have neighbours at distance zero.

    After sixty identical readings the next ordinary value had a LOF of 3e8; half a step brings it to 1.4.
    """
    half_step = 0.5 * profile.resolution / (profile.spread * profile.remaining)
    scale = float(np.clip(half_step, 1e-3, 0.5))
    return np.random.default_rng(seed).normal(scale=scale, size=shape)
