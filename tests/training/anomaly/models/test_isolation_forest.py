"""Forests as arrays of nodes: exact, and refused where a walk could leave its tree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from training.anomaly.models import isolation_forest
from training.anomaly.models.isolation_forest import Forest, check_nodes
from training.errors import UntrustedModel

ROWS = np.random.default_rng(0).normal(size=(300, 4)).round(1)
QUERIES = np.random.default_rng(1).normal(size=(100, 4)) * 3


def fitted(*, trees: int = 16, seed: int = 0) -> IsolationForest:
    return IsolationForest(n_estimators=trees, random_state=seed).fit(ROWS)


STUMP = fitted(trees=1)


def test_few_rows_and_many_have_the_same_path_lengths(monkeypatch):
    """The walk over our nodes and the one of scikit-learn's trees, to the last bit."""
    forest = Forest.of(fitted())
    many = forest.lengths(QUERIES)

    monkeypatch.setattr(isolation_forest, "TREEWISE_MIN_ROWS", 1_000)

    np.testing.assert_array_equal(forest.lengths(QUERIES), many)
    np.testing.assert_array_equal(forest.lengths(QUERIES, trees=slice(4, 8)), many[:, 4:8])


@given(threshold=st.floats(-1e6, 1e6), steps=st.integers(-3, 3))
def test_single_precision_thresholds_split_single_precision_readings_alike(threshold, steps):
    """At a threshold and its neighbouring single precision numbers, no reading changes sides."""
    reading = np.float32(threshold)
    for _ in range(abs(steps)):
        reading = np.nextafter(reading, np.float32(np.inf if steps > 0 else -np.inf))
    STUMP.estimators_[0].tree_.threshold[0] = threshold

    forest = Forest.of(STUMP)

    assert (float(reading) > threshold) == (reading > forest.nodes["value"][0])


@pytest.mark.parametrize(
    ("field", "value"), [("beyond", 60_000), ("feature", 200), ("inner", 2), ("value", np.nan)]
)
def test_a_forest_with_an_invalid_node_is_refused(field, value):
    forest = Forest.of(fitted())
    nodes = forest.nodes.copy()
    nodes[field][np.flatnonzero(nodes["inner"])[-1]] = value

    check_nodes(forest.nodes, forest.roots, columns=4)
    with pytest.raises(UntrustedModel, match="invalid tree"):
        check_nodes(nodes, forest.roots, columns=4)


@pytest.mark.parametrize("value", [-1, 10**6])
def test_a_leaf_without_a_path_length_is_refused(value):
    forest = Forest.of(fitted())
    nodes = forest.nodes.copy()
    nodes["value"][np.flatnonzero(nodes["inner"] == 0)[0]] = value

    with pytest.raises(UntrustedModel, match="invalid tree"):
        check_nodes(nodes, forest.roots, columns=4)


def test_nodes_in_another_order_are_refused():
    swapped = fitted()
    tree = swapped.estimators_[0].tree_
    tree.children_left[0], tree.children_right[0] = tree.children_right[0], tree.children_left[0]

    with pytest.raises(UntrustedModel, match="invalid tree"):
        Forest.of(swapped)
