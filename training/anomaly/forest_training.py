"""Isolation Forests grown without scikit-learn's overhead: trees that split alike, in a third of the time.

Knows in which order scikit-learn draws its random numbers and what a fitted forest remembers; the trees are
grown by its own builder. For trees of 256 rows, cloning, checking and scheduling cost four times the growing.
Leaves what is held out to `crossfit`, and scoring to `forest`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length
from sklearn.tree import ExtraTreeRegressor
from sklearn.tree._classes import CRITERIA_REG, DENSE_SPLITTERS
from sklearn.tree._tree import DepthFirstTreeBuilder, Tree
from sklearn.utils.random import sample_without_replacement

from training.common.arrays import Floats

MAX_SEED = np.iinfo(np.int32).max


def fit_forest_in_parts(parts: Sequence[Floats], *, trees: int, samples: int, seed: int) -> IsolationForest:
    """What fitting one warm-started forest to each part in turn gives: so many more trees from each.

    `samples` are the rows that a tree is grown from.
    """
    estimators: list[ExtraTreeRegressor] = []
    seeds = np.empty(0, np.int64)
    random = _SeededRandom()
    for number, part in enumerate(parts):
        rows = np.ascontiguousarray(part, np.float32)
        target = random.from_seed(seed).uniform(size=len(rows)).reshape(-1, 1)
        # Each fit begins the same stream anew and skips what the trees before it have drawn.
        seeds = random.from_seed(seed).randint(MAX_SEED, size=(number + 1) * trees)[-trees:]
        estimators += [_tree(rows, target, samples, int(drawn), random) for drawn in seeds]
    return _forest(estimators, parts[-1], samples, seeds, seed=seed)


class _SeededRandom:
    """One generator that is seeded again and again: a new one asks the system for entropy for 0.1 ms."""

    def __init__(self) -> None:
        self._state = np.random.RandomState()

    def from_seed(self, seed: int) -> np.random.RandomState:
        """At the start of the stream that `RandomState(seed)` gives; until asked for another."""
        self._state.seed(seed)
        return self._state


def _tree(
    rows: NDArray[np.float32], target: Floats, samples: int, seed: int, random: _SeededRandom
) -> ExtraTreeRegressor:
    count, columns = rows.shape
    drawing = random.from_seed(seed)
    sample_without_replacement(columns, columns, random_state=drawing)  # the order of the columns: unused
    weights = np.zeros(count)
    weights[sample_without_replacement(count, samples, random_state=drawing)] = 1.0
    fitted = ExtraTreeRegressor(max_features=1, max_depth=_depth(samples))
    fitted.random_state = random.from_seed(seed).randint(MAX_SEED)
    splitter = DENSE_SPLITTERS["random"](
        CRITERIA_REG["squared_error"](1, count), 1, 1, 0.0, random.from_seed(fitted.random_state), None
    )
    tree = Tree(columns, np.array([1], dtype=np.intp), 1)
    DepthFirstTreeBuilder(splitter, 2, 1, 0.0, fitted.max_depth, 0.0).build(tree, rows, target, weights, None)
    # What such a tree foretells is chance, and nobody asks; without it a forest's file is a third smaller.
    tree.value[:] = tree.impurity[:] = 0.0
    fitted.n_features_in_, fitted.n_outputs_, fitted.max_features_, fitted.tree_ = columns, 1, 1, tree
    return fitted


def _forest(
    estimators: list[ExtraTreeRegressor], rows: Floats, samples: int, seeds: NDArray[np.int64], *, seed: int
) -> IsolationForest:
    count, columns = rows.shape
    forest = IsolationForest(
        n_estimators=len(estimators), max_samples=samples, random_state=seed, warm_start=True
    )
    forest.n_features_in_ = columns
    forest.max_samples_ = forest._max_samples = samples
    forest._n_samples = count
    forest._max_features = columns
    forest._sample_weight = None
    forest._seeds = seeds
    forest.estimator_ = ExtraTreeRegressor(max_features=1, max_depth=_depth(samples), random_state=seed)
    forest.estimators_ = estimators
    forest.estimators_features_ = [np.arange(columns)] * len(estimators)
    nodes = [each.tree_.n_node_samples for each in estimators]
    lengths = _average_path_length(np.concatenate(nodes))
    forest._average_path_length_per_tree = tuple(np.split(lengths, np.cumsum([len(n) for n in nodes])[:-1]))
    forest._decision_path_lengths = tuple(each.tree_.compute_node_depths() for each in estimators)
    forest.offset_ = -0.5
    return forest


def _depth(samples: int) -> int:
    return int(np.ceil(np.log2(max(samples, 2))))
