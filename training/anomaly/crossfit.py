"""The detector's voices, each learned whole and judged on blocks of time it had not seen.

Knows how Isolation Forest and LOF are fitted, and how their held-out scores come without fitting them
anew: every tree leaves out one block, and neighbours of a block are sought in the others. Leaves what
scores mean to `calibration`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from training.anomaly.forest_training import fit_forest_in_parts
from training.anomaly.isolation_forest import Forest, isolation_score
from training.anomaly.local_outlier_factor import NeighbourSearch, build_tree, held_out_lof
from training.anomaly.profile import Profile
from training.common.arrays import Floats, Ints

BLOCK_COUNT = 4
SAMPLES_PER_TREE = 256  # rows a tree is grown from
MAX_DENSITY_ROWS = 1_500  # LOF's file and search grow with its rows
NEIGHBOUR_MARGIN = 1.5  # times the neighbours wanted; of most rows a quarter are in the block left out


@dataclass(frozen=True)
class HoldoutBlocks:
    """Contiguous stretches of the training rows; one is held out at a time."""

    block_of_row: Ints

    @classmethod
    def for_rows(cls, rows: int) -> "HoldoutBlocks":
        """Equal stretches of this many rows."""
        return cls((np.arange(rows) * BLOCK_COUNT) // max(rows, 1))


def fit_forest(rows: Floats, blocks: HoldoutBlocks, *, trees: int, seed: int) -> IsolationForest:
    """One forest; each quarter of its trees has not seen one quarter of time."""
    parts = [rows[blocks.block_of_row != block] for block in range(BLOCK_COUNT)]
    samples = min(SAMPLES_PER_TREE, *(len(part) for part in parts))
    return fit_forest_in_parts(parts, trees=trees // BLOCK_COUNT, samples=samples, seed=seed)


def held_out_path_lengths(forest: Forest, rows: Floats, blocks: HoldoutBlocks) -> Floats:
    """Each row's path lengths in the trees that have not seen its block, shape (rows, trees a block)."""
    trees_per_block = forest.roots.size // BLOCK_COUNT
    lengths = np.empty((len(rows), trees_per_block))
    for block in range(BLOCK_COUNT):
        in_block = blocks.block_of_row == block
        lengths[in_block] = forest.lengths(
            rows[in_block], trees=slice(block * trees_per_block, (block + 1) * trees_per_block)
        )
    return lengths


def held_out_forest(forest: Forest, rows: Floats, blocks: HoldoutBlocks) -> Floats:
    """Each row's oddness by the trees that have not seen its block."""
    return isolation_score(held_out_path_lengths(forest, rows, blocks).mean(axis=1), forest.normal_length)


def spread_row_indices(rows: int, *, max_rows: int = MAX_DENSITY_ROWS) -> Ints:
    """At most as many rows as LOF keeps, evenly over time."""
    return np.unique(np.linspace(0, rows - 1, min(rows, max_rows)).astype(np.int64))


def resolution_jitter(shape: tuple[int, ...], profile: Profile, seed: int) -> Floats:
    """Noise within the sensor's resolution: tied rows would have neighbours at distance zero.

    Sixty identical readings once gave the next ordinary value a LOF of 3e8; half a step brings it to 1.4.
    """
    half_step = 0.5 * profile.resolution / (profile.spread * profile.remaining)
    scale = float(np.clip(half_step, 1e-3, 0.5))
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


def fit_density(rows: Floats, inside: NeighbourSearch, *, neighbours: int) -> LocalOutlierFactor:
    """LOF on thinned rows, whose neighbours are known from their `wide_search`."""
    density = LocalOutlierFactor(n_neighbors=neighbours, novelty=True, algorithm="kd_tree")
    # It would search for what has been found, in most of the time that its fit takes.
    density.kneighbors = inside.nearest
    density.fit(rows)
    del density.kneighbors
    return density


def search_with_margin(rows: Floats, *, max_neighbours: int) -> NeighbourSearch:
    """So many neighbours of each row that nearly always enough are left without those of one block."""
    return NeighbourSearch.among(
        rows, max_neighbours=min(int(NEIGHBOUR_MARGIN * max_neighbours), len(rows) - 1)
    )


@dataclass(frozen=True)
class HeldOutLof:
    """Per block: neighbours within the other blocks, and of the block's rows among them."""

    searches: tuple[tuple[NDArray[np.bool_], NeighbourSearch, NeighbourSearch], ...]
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
        """`learned` is what LOF learns of the rows at `kept`, jitter included; `rows` are asked as they are.

        `inside` is the `wide_search` of what is learned.
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
        """Held-out LOF of every row at this k; no new search."""
        factors = np.empty(self.rows)
        for in_block, inside, outside in self.searches:
            factors[in_block] = held_out_lof(inside, outside, k)
        return factors
