"""Our forests are scikit-learn's, tree by tree and bit by bit, but for what no Isolation Forest looks at."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from training.anomaly.forest_training import fit_forest_in_parts


def parts_of(rows: int, columns: int, *, seed: int) -> list[np.ndarray]:
    """Three overlapping stretches with ties among their values."""
    values = np.random.default_rng(seed).normal(size=(rows, columns)).round(1)
    return [values[start : start + rows // 2] for start in (0, rows // 4, rows // 2)]


def grown_by_scikit_learn(parts: list[np.ndarray], *, trees: int, samples: int, seed: int) -> IsolationForest:
    """The slow way: one forest, warm-started from part to part."""
    forest = IsolationForest(max_samples=samples, random_state=seed, warm_start=True)
    for number, part in enumerate(parts, start=1):
        forest.set_params(n_estimators=number * trees).fit(part)
    return forest


@pytest.fixture(params=[(600, 3, 256, 0), (80, 8, 40, 7), (60, 1, 5, 3)], ids=str)
def both_forests(request):
    rows, columns, samples, seed = request.param
    parts = parts_of(rows, columns, seed=seed)
    how = {"trees": 5, "samples": samples, "seed": seed}
    return fit_forest_in_parts(parts, **how), grown_by_scikit_learn(parts, **how)


def test_every_tree_is_the_same(both_forests):
    ours, theirs = both_forests

    assert len(ours.estimators_) == len(theirs.estimators_) == 15
    for mine, other in zip(ours.estimators_, theirs.estimators_, strict=True):
        here, there = mine.tree_.__getstate__(), other.tree_.__getstate__()
        for name in set(there["nodes"].dtype.names) - {"impurity"}:
            assert here["nodes"][name].tobytes() == there["nodes"][name].tobytes(), name
        assert not here["values"].any()
        assert not here["nodes"]["impurity"].any()
        assert here["max_depth"] == there["max_depth"]


def test_a_forest_remembers_what_scikit_learns_does(both_forests):
    """Else it could not be saved, loaded and used as one."""
    ours, theirs = both_forests

    assert vars(ours).keys() == vars(theirs).keys()
    assert ours.get_params() == theirs.get_params()
    assert [tree.get_params() for tree in ours.estimators_] == [t.get_params() for t in theirs.estimators_]
    for name in ("n_features_in_", "max_samples_", "_n_samples", "_max_samples", "_max_features", "offset_"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("_seeds", "_average_path_length_per_tree", "_decision_path_lengths", "estimators_features_"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_scores_are_the_same(both_forests):
    ours, theirs = both_forests
    asked = np.random.default_rng(1).normal(size=(50, theirs.n_features_in_))

    np.testing.assert_array_equal(ours.score_samples(asked), theirs.score_samples(asked))
