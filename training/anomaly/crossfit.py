"""Fit Isolation Forest and LOF on all rows, and score each block of time without fitting a second time.

A quarter of the trees leaves out each block, and the neighbours of a block are searched in the other blocks.
What held-out scores mean is learned in `calibration`.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import IsolationForest

from training.anomaly.isolation_forest import Forest, isolation_score
from training.anomaly.local_outlier_factor import NeighbourSearch, build_tree, held_out_lof
from training.anomaly.profile import Profile
from training.anomaly.sklearn_adapter import fit_forest_in_parts
from training.common.arrays import Flags, Floats, Ints

BLOCK_COUNT = 4
SAMPLES_PER_TREE = 256  # rows
MAX_DENSITY_ROWS = 1_500  # of a LOF: its file and its search grow with them
NEIGHBOUR_MARGIN = 1.5  # searched neighbours per needed one; about a quarter are in the held-out block


@dataclass(frozen=True)
class HoldoutBlocks:
    """Contiguous blocks of the training rows; one is held out at a time."""

    block_of_row: Ints

    @classmethod
    def for_rows(cls, rows: int) -> "HoldoutBlocks":
        """Equal blocks of this number of rows."""
        return cls((np.arange(rows) * BLOCK_COUNT) // max(rows, 1))


def fit_forest(rows: Floats, blocks: HoldoutBlocks, *, trees: int, seed: int) -> IsolationForest:
    """One forest; each quarter of its trees is grown without one block."""
    parts = [rows[blocks.block_of_row != block] for block in range(BLOCK_COUNT)]
    samples = min(SAMPLES_PER_TREE, *(len(part) for part in parts))
    return fit_forest_in_parts(parts, trees=trees // BLOCK_COUNT, samples=samples, seed=seed)


def held_out_path_lengths(forest: Forest, rows: Floats, blocks: HoldoutBlocks) -> Floats:
    """Each row's path lengths in the trees grown without its block, shape (rows, trees per block)."""
    trees_per_block = forest.roots.size // BLOCK_COUNT
    lengths = np.empty((len(rows), trees_per_block))
    for block in range(BLOCK_COUNT):
        in_block = blocks.block_of_row == block
        lengths[in_block] = forest.lengths(
            rows[in_block], trees=slice(block * trees_per_block, (block + 1) * trees_per_block)
        )
    return lengths


def held_out_forest(forest: Forest, rows: Floats, blocks: HoldoutBlocks) -> Floats:
    """Each row's anomaly score by the trees grown without its block."""
    return isolation_score(held_out_path_lengths(forest, rows, blocks).mean(axis=1), forest.normal_length)


def spread_row_indices(rows: int, *, max_rows: int = MAX_DENSITY_ROWS) -> Ints:
    """The rows a LOF is fitted to: at most `max_rows`, evenly spread over time."""
    return np.unique(np.linspace(0, rows - 1, min(rows, max_rows)).astype(np.int64))


def resolution_jitter(shape: tuple[int, ...], profile: Profile, seed: int) -> Floats:
    """Noise within the sensor's resolution, because tied rows have neighbours at distance zero.

    After sixty identical readings the next ordinary value had a LOF of 3e8; half a step brings it to 1.4.
    """
    half_step = 0.5 * profile.resolution / (profile.spread * profile.remaining)
    scale = float(np.clip(half_step, 1e-3, 0.5))
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


def search_with_margin(rows: Floats, *, max_neighbours: int) -> NeighbourSearch:
    """The neighbours of each row, with enough to spare for those of a block to be dropped."""
    return NeighbourSearch.among(
        rows, max_neighbours=min(int(NEIGHBOUR_MARGIN * max_neighbours), len(rows) - 1)
    )


@dataclass(frozen=True)
class HeldOutLof:
    """For each block: the neighbours within the other blocks, and of the block's rows among them."""

    searches: tuple[tuple[Flags, NeighbourSearch, NeighbourSearch], ...]
    rows: int

    @classmethod
    def build(
        cls,
        rows: Floats,
        lof_input: Floats,
        lof_rows: Ints,
        blocks: HoldoutBlocks,
        inside: NeighbourSearch,
        *,
        max_neighbours: int,
    ) -> "HeldOutLof":
        """Search once per block.

        The LOF is fitted to `lof_input`, the rows at `lof_rows` with jitter; all `rows` are scored without
        jitter. `inside` is the `search_with_margin` of `lof_input`.
        """
        searches = []
        for block in range(BLOCK_COUNT):
            in_block, others = blocks.block_of_row == block, blocks.block_of_row[lof_rows] != block
            tree = build_tree(lof_input[others])
            outside = NeighbourSearch.of_queries(rows[in_block], tree, max_neighbours=max_neighbours)
            searches.append(
                (in_block, inside.restricted_to(tree, others, max_neighbours=max_neighbours), outside)
            )
        return cls(tuple(searches), len(rows))

    def lof(self, k: int) -> Floats:
        """The held-out LOF of every row at this k, without a new search."""
        factors = np.empty(self.rows)
        for in_block, inside, outside in self.searches:
            factors[in_block] = held_out_lof(inside, outside, k)
        return factors
