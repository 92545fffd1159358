"""Store the trees of many sensors' forests in a few large blocks of memory, and score all rows at once.

A forest scored alone takes 0.1 ms, nearly all of it overhead; here 1,000 rows of 500 sensors share it. What a
node is, and the walk from root to leaf, is in `training.anomaly.models.isolation_forest`.
"""

import threading
import weakref
from collections import deque
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike

from serving.vectorized.parameter_table import ParameterTable
from training.anomaly.models.isolation_forest import (
    NODE_DTYPE,
    Forest,
    Nodes,
    isolation_score,
    path_lengths,
    walk_trees,
)
from training.common.arrays import Floats, Ints
from training.errors import UntrustedModel

BLOCK_NODES = 8 * 2**20  # 64 MB of address space; the system provides memory only for what is written
LANE_BATCH = 2**19  # pairs of row and tree walked at once


@dataclass(frozen=True, eq=False)
class Slot:
    """A forest's place in a block; released when this object is collected."""

    block: int  # index of the arena's block
    start: int
    size: int
    roots: Ints  # in the block
    normal_length: float
    depth: int


@dataclass(eq=False)
class NodeBlock:
    """Nodes of many forests, and the free parts (start, size)."""

    nodes: Nodes = field(default_factory=lambda: np.empty(BLOCK_NODES, NODE_DTYPE))
    free: list[tuple[int, int]] = field(default_factory=lambda: [(0, BLOCK_NODES)])

    def take(self, size: int) -> int | None:
        """Take a part of this size and return its start; None where no free part is large enough."""
        for place, (start, length) in enumerate(self.free):
            if length >= size:
                self.free[place] = (start + size, length - size)
                return start
        return None

    def release(self, start: int, size: int) -> None:
        """Free a part and join it with free neighbours."""
        joined: list[tuple[int, int]] = []
        for begin, length in sorted([*self.free, (start, size)]):
            if joined and joined[-1][0] + joined[-1][1] == begin:
                joined[-1] = (joined[-1][0], joined[-1][1] + length)
            elif length:
                joined.append((begin, length))
        self.free = joined


class ForestArena:
    """The memory of all forests; safe for several threads."""

    def __init__(self) -> None:
        self.blocks: list[NodeBlock] = []
        # Filled by the garbage collector, possibly in the middle of `add`: without the lock.
        self._returned: deque[tuple[NodeBlock, int, int]] = deque()
        self._lock = threading.Lock()

    def add(self, forest: Forest) -> Slot:
        """Copy a forest into a block."""
        size = len(forest.nodes)
        with self._lock:
            while self._returned:
                block, start, length = self._returned.popleft()
                block.release(start, length)
            number, start = self._allocate(size)
        block = self.blocks[number]
        block.nodes[start : start + size] = forest.nodes
        slot = Slot(number, start, size, forest.roots + start, forest.normal_length, forest.depth)
        weakref.finalize(slot, self._returned.append, (block, start, size))
        return slot

    def _allocate(self, size: int) -> tuple[int, int]:
        for number, block in enumerate(self.blocks):
            if (start := block.take(size)) is not None:
                return number, start
        self.blocks.append(NodeBlock())
        start = self.blocks[-1].take(size)
        if start is None:
            raise UntrustedModel(
                f"a forest of {size:,} nodes exceeds the limit of {BLOCK_NODES:,}. Retrain this sensor."
            )
        return len(self.blocks) - 1, start


def slot_parameters(slot: Slot | None) -> dict[str, ArrayLike]:
    """What a slot's forest needs to be scored, as entries of the parameter table."""
    if slot is None:
        return {"block": 0, "roots": np.zeros(1, np.int64), "trees": 0, "normal_length": 0.0, "depth": 0}
    return {
        "block": slot.block,
        "roots": slot.roots,
        "trees": len(slot.roots),
        "normal_length": slot.normal_length,
        "depth": slot.depth,
    }


@dataclass(frozen=True)
class ForestBatch:
    """The forest of each row; of `roots` the first `trees` count."""

    block: Ints
    roots: Ints
    trees: Ints
    normal_length: Floats
    depth: Ints

    @classmethod
    def from_table(cls, table: ParameterTable, detector_name: str, rows: Ints) -> "ForestBatch":
        """The forests of these rows of the table, in all of which the base detector is active."""
        return cls(*(table.column(f"{detector_name}.{field.name}")[rows] for field in fields(cls)))

    def select(self, chosen: Ints) -> "ForestBatch":
        """The forests of some rows only."""
        return ForestBatch(*(entries[chosen] for entries in vars(self).values()))


def score_forests(arena: ForestArena, batch: ForestBatch, rows: Floats) -> Floats:
    """The anomaly score of each row by its own forest."""
    result = np.empty(len(rows))
    batch_rows = max(1, LANE_BATCH // int(batch.trees.max(initial=1)))
    for number in np.unique(batch.block).tolist():
        in_block = np.flatnonzero(batch.block == number)
        for first in range(0, len(in_block), batch_rows):
            chunk = in_block[first : first + batch_rows]
            result[chunk] = _score_block(arena.blocks[number].nodes, batch.select(chunk), rows[chunk])
    return result


def _score_block(nodes: Nodes, batch: ForestBatch, rows: Floats) -> Floats:
    """One lane per row and tree, all walked together."""
    max_trees = int(batch.trees.max())
    node = batch.roots[:, :max_trees][np.arange(max_trees) < batch.trees[:, None]]
    # scikit-learn compares readings in single precision.
    single_precision = rows.astype(np.float32)
    first = np.repeat(np.arange(len(rows)) * single_precision.shape[1], batch.trees)
    lengths = path_lengths(walk_trees(nodes, node, single_precision, first, int(batch.depth.max())))
    starts = np.cumsum(batch.trees) - batch.trees
    return isolation_score(np.add.reduceat(lengths, starts) / batch.trees, batch.normal_length)
