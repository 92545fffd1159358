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

from training.anomaly.features import Profile
from training.anomaly.forest_training import grow_in_parts
from training.anomaly.isolation_forest import Forest, oddness
from training.anomaly.local_outlier_factor import Search, held_out_factor, tree_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCKS = 4
SAMPLES = 256  # rows a tree is grown from
DENSITY_ROWS = 1_500  # LOF's file and search grow with its rows
WIDER = 1.5  # times the neighbours wanted; of most rows a quarter are in the block left out


@dataclass(frozen=True)
class Blocks:
    """Contiguous stretches of the training rows; one is held out at a time."""

    of_row: Ints

    @classmethod
    def over(cls, rows: int) -> "Blocks":
        """Equal stretches of this many rows."""
        return cls((np.arange(rows) * BLOCKS) // max(rows, 1))


def grow_forest(rows: Floats, blocks: Blocks, *, trees: int, seed: int) -> IsolationForest:
    """One forest; each quarter of its trees has not seen one quarter of time."""
    parts = [rows[blocks.of_row != block] for block in range(BLOCKS)]
    samples = min(SAMPLES, *(len(part) for part in parts))
    return grow_in_parts(parts, trees=trees // BLOCKS, samples=samples, seed=seed)


def held_out_lengths(forest: Forest, rows: Floats, blocks: Blocks) -> Floats:
    """Each row's path lengths in the trees that have not seen its block, shape (rows, trees a block)."""
    each = forest.roots.size // BLOCKS
    lengths = np.empty((len(rows), each))
    for block in range(BLOCKS):
        own = blocks.of_row == block
        lengths[own] = forest.lengths(rows[own], trees=slice(block * each, (block + 1) * each))
    return lengths


def held_out_forest(forest: Forest, rows: Floats, blocks: Blocks) -> Floats:
    """Each row's oddness by the trees that have not seen its block."""
    return oddness(held_out_lengths(forest, rows, blocks).mean(axis=1), forest.normal_length)


def thin(rows: int, *, most: int = DENSITY_ROWS) -> Ints:
    """At most as many rows as LOF keeps, evenly over time."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def jitter(shape: tuple[int, ...], profile: Profile, seed: int) -> Floats:
    """Noise within the sensor's resolution: tied rows would have neighbours at distance zero.

    Sixty identical readings once gave the next ordinary value a LOF of 3e8; half a step brings it to 1.4.
    """
    half_step = 0.5 * profile.resolution / (profile.spread * profile.remaining)
    scale = float(np.clip(half_step, 1e-3, 0.5))
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


def fit_density(rows: Floats, inside: Search, *, neighbours: int) -> LocalOutlierFactor:
    """LOF on thinned rows, whose neighbours are known from their `wide_search`."""
    density = LocalOutlierFactor(n_neighbors=neighbours, novelty=True, algorithm="kd_tree")
    # It would search for what has been found, in most of the time that its fit takes.
    density.kneighbors = inside.nearest
    density.fit(rows)
    del density.kneighbors
    return density


def wide_search(learned: Floats, *, largest: int) -> Search:
    """So many neighbours of each row that nearly always enough are left without those of one block."""
    return Search.among(learned, largest=min(int(WIDER * largest), len(learned) - 1))


@dataclass(frozen=True)
class HeldOutDensity:
    """Per block: neighbours within the other blocks, and of the block's rows among them."""

    searches: tuple[tuple[NDArray[np.bool_], Search, Search], ...]
    rows: int

    @classmethod
    def over(
        cls, rows: Floats, learned: Floats, kept: Ints, blocks: Blocks, inside: Search, *, largest: int
    ) -> "HeldOutDensity":
        """`learned` is what LOF learns of the rows at `kept`, jitter included; `rows` are asked as they are.

        `inside` is the `wide_search` of what is learned.
        """
        searches = []
        for block in range(BLOCKS):
            own, others = blocks.of_row == block, blocks.of_row[kept] != block
            tree = tree_of(learned[others])
            outside = Search.from_outside(rows[own], tree, largest=largest)
            searches.append((own, inside.within(tree, others, largest=largest), outside))
        return cls(tuple(searches), len(rows))

    def factor(self, k: int) -> Floats:
        """Held-out LOF of every row at this k; no new search."""
        found = np.empty(self.rows)
        for own, inside, outside in self.searches:
            found[own] = held_out_factor(inside, outside, k)
        return found
