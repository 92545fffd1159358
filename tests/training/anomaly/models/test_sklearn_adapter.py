"""Forests and LOFs are those of scikit-learn, bit by bit; an upgrade that changes them fails here."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.tree import ExtraTreeRegressor

from training.anomaly.crossfit import search_with_margin
from training.anomaly.models.sklearn_adapter import Tree, fit_forest_in_parts, fit_lof, read_lof, read_trees

ROWS = np.random.default_rng(0).normal(size=(400, 5))


def make_parts(rows: int, columns: int, *, seed: int) -> list[np.ndarray]:
    """Three overlapping parts with ties among their values."""
    values = np.random.default_rng(seed).normal(size=(rows, columns)).round(1)
    return [values[start : start + rows // 2] for start in (0, rows // 4, rows // 2)]


def fit_by_scikit_learn(parts: list[np.ndarray], *, trees: int, samples: int, seed: int) -> IsolationForest:
    """The slow way: one forest, fitted with warm start to one part after another."""
    forest = IsolationForest(max_samples=samples, random_state=seed, warm_start=True)
    for number, part in enumerate(parts, start=1):
        forest.set_params(n_estimators=number * trees).fit(part)
    return forest


@pytest.fixture(params=[(600, 3, 256, 0), (80, 8, 40, 7), (60, 1, 5, 3)], ids=str)
def both_forests(request):
    rows, columns, samples, seed = request.param
    parts = make_parts(rows, columns, seed=seed)
    how = {"trees": 5, "samples": samples, "seed": seed}
    return fit_forest_in_parts(parts, **how), fit_by_scikit_learn(parts, **how)


def test_every_tree_is_the_same(both_forests):
    """Except for predictions and impurities, which an Isolation Forest does not use."""
    ours, theirs = both_forests

    assert len(ours.estimators_) == len(theirs.estimators_) == 15
    for mine, other in zip(read_trees(ours), read_trees(theirs), strict=True):
        here, there = mine.__getstate__(), other.__getstate__()
        for name in set(there["nodes"].dtype.names) - {"impurity"}:
            assert here["nodes"][name].tobytes() == there["nodes"][name].tobytes(), name
        assert not here["values"].any()
        assert not here["nodes"]["impurity"].any()
        assert here["max_depth"] == there["max_depth"]


def test_a_forest_has_every_attribute_of_a_fitted_one(both_forests):
    """Otherwise it could not be saved, loaded and used as one."""
    ours, theirs = both_forests

    assert vars(ours).keys() == vars(theirs).keys()
    assert ours.get_params() == theirs.get_params()
    assert [tree.get_params() for tree in ours.estimators_] == [t.get_params() for t in theirs.estimators_]
    assert [vars(tree).keys() for tree in ours.estimators_] == [vars(t).keys() for t in theirs.estimators_]
    for name in ("n_features_in_", "max_samples_", "_n_samples", "_max_samples", "_max_features", "offset_"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("_seeds", "_average_path_length_per_tree", "_decision_path_lengths", "estimators_features_"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_forest_scores_are_the_same(both_forests):
    ours, theirs = both_forests
    queries = np.random.default_rng(1).normal(size=(50, theirs.n_features_in_))

    np.testing.assert_array_equal(ours.score_samples(queries), theirs.score_samples(queries))


def test_a_tree_has_the_arrays_that_scoring_reads():
    tree = ExtraTreeRegressor(max_features=1).fit(ROWS, ROWS[:, 0]).tree_
    names = ("children_left", "children_right", "feature", "threshold", "n_node_samples", "impurity", "value")

    assert isinstance(tree, Tree)
    assert {len(getattr(tree, name)) for name in names} == {tree.node_count}
    assert tree.apply(ROWS.astype(np.float32)).shape == (400,)
    assert tree.compute_node_depths().shape == (tree.node_count,)


def test_a_lof_with_known_neighbours_is_the_one_that_searches():
    theirs = LocalOutlierFactor(n_neighbors=20, novelty=True, algorithm="kd_tree").fit(ROWS)

    ours = fit_lof(ROWS, search_with_margin(ROWS, max_neighbours=20).nearest, neighbours=20)

    assert vars(ours).keys() == vars(theirs).keys()
    np.testing.assert_allclose(ours.negative_outlier_factor_, theirs.negative_outlier_factor_, rtol=1e-12)
    np.testing.assert_allclose(ours.score_samples(ROWS + 1), theirs.score_samples(ROWS + 1), rtol=1e-12)


def test_what_a_lof_learned_is_read_from_its_private_attributes():
    lof = LocalOutlierFactor(n_neighbors=20, novelty=True, algorithm="kd_tree").fit(ROWS)

    rows, distances, density = read_lof(lof)

    np.testing.assert_array_equal(rows, ROWS)
    own = np.linalg.norm(ROWS[:, None] - ROWS, axis=2)
    np.testing.assert_allclose(distances, np.sort(own, axis=1)[:, 1:21], rtol=1e-9)
    neighbours = np.argsort(own, axis=1)[:, 1:21]
    np.testing.assert_allclose(density[neighbours].mean(axis=1) / density, -lof.negative_outlier_factor_)
