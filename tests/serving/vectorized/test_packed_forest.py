"""Forests of many sensors in shared memory: scores, validity, and reuse of memory."""

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from serving.vectorized import packed_forest
from serving.vectorized.packed_forest import (
    ForestArena,
    ForestBatch,
    NodeBlock,
    score_forests,
    slot_parameters,
)
from serving.vectorized.parameter_table import ParameterTable
from training.anomaly.models.isolation_forest import Forest
from training.errors import UntrustedModel

RNG = np.random.default_rng(0)


def fit(*, trees: int, columns: int = 4, rows: int = 300, seed: int = 0) -> Forest:
    values = np.random.default_rng(seed).normal(size=(rows, columns)).round(1)
    return Forest.of(IsolationForest(n_estimators=trees, random_state=seed).fit(values))


FORESTS = [fit(trees=16), fit(trees=40, seed=1), fit(trees=8, rows=12, seed=2)]


def batch_of(
    arena: ForestArena, forests: list[Forest], of_row: np.ndarray
) -> tuple[ForestBatch, list[object]]:
    """The forests of rows, and the objects that hold their memory."""
    table = ParameterTable()
    slots = [arena.add(forest) for forest in forests]
    handles = [
        table.put({f"f.{name}": entry for name, entry in slot_parameters(slot).items()}) for slot in slots
    ]
    rows = np.array([handle.row for handle in handles])[of_row]
    return ForestBatch.from_table(table, "f", rows), [slots, handles]


def test_rows_of_many_forests_score_as_each_forest_does():
    of_row = np.sort(RNG.integers(0, 3, 200))
    queries = RNG.normal(size=(200, 4)) * 3
    arena = ForestArena()
    batch, _held = batch_of(arena, FORESTS, of_row)

    scores = score_forests(arena, batch, queries)

    for index, forest in enumerate(FORESTS):
        assert scores[of_row == index] == pytest.approx(forest.score(queries[of_row == index]), abs=1e-14)


def test_a_batch_larger_than_the_lanes_is_scored_in_parts(monkeypatch):
    arena, of_row = ForestArena(), np.repeat([0, 1], 50)
    batch, _held = batch_of(arena, FORESTS, of_row)
    queries = RNG.normal(size=(100, 4))
    whole = score_forests(arena, batch, queries)

    monkeypatch.setattr(packed_forest, "LANE_BATCH", 100)

    np.testing.assert_array_equal(score_forests(arena, batch, queries), whole)


def test_forests_of_several_blocks_are_scored(monkeypatch):
    monkeypatch.setattr(packed_forest, "BLOCK_NODES", max(len(f.nodes) for f in FORESTS))
    arena, of_row = ForestArena(), np.array([0, 1, 2])
    arena.blocks.append(small_block())
    batch, _held = batch_of(arena, FORESTS, of_row)
    queries = RNG.normal(size=(3, 4))

    assert len(arena.blocks) > 1
    assert score_forests(arena, batch, queries) == pytest.approx(
        [forest.score(queries[[row]])[0] for row, forest in enumerate(FORESTS)], abs=1e-14
    )


def small_block() -> NodeBlock:
    size = packed_forest.BLOCK_NODES
    return NodeBlock(np.empty(size, packed_forest.NODE_DTYPE), [(0, size)])


def test_memory_of_released_forests_is_reused(monkeypatch):
    forest = FORESTS[0]
    monkeypatch.setattr(packed_forest, "BLOCK_NODES", 3 * len(forest.nodes))
    arena = ForestArena()
    arena.blocks.append(small_block())

    for _ in range(20):
        arena.add(forest)
    gc.collect()
    slots = [arena.add(forest) for _ in range(3)]

    assert len(arena.blocks) == 1
    assert sorted(slot.start for slot in slots) == [0, len(forest.nodes), 2 * len(forest.nodes)]


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12), order=st.randoms())
def test_released_parts_of_a_block_join(sizes, order):
    block = NodeBlock(np.empty(400, packed_forest.NODE_DTYPE), [(0, 400)])
    parts = [(block.take(size), size) for size in sizes]
    order.shuffle(parts)

    for start, size in parts:
        block.release(start, size)

    assert block.free == [(0, 400)]


def test_a_forest_larger_than_a_block_is_refused(monkeypatch):
    monkeypatch.setattr(packed_forest, "BLOCK_NODES", 10)
    arena = ForestArena()
    monkeypatch.setattr(packed_forest, "NodeBlock", small_block)

    with pytest.raises(UntrustedModel, match="exceeds the limit of 10"):
        arena.add(FORESTS[0])
