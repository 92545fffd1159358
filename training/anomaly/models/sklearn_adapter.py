"""Private interfaces of scikit-learn: fit its Isolation Forest and LOF faster, and read what they learned.

The only module of the project that uses names of scikit-learn that begin with an underscore; a test compares
all of them with the public `fit`, so an upgrade that changes one fails there. Which rows are held out is
decided in `crossfit`; scores are computed in `isolation_forest` and `local_outlier_factor`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length
from sklearn.neighbors import LocalOutlierFactor
from sklearn.tree import ExtraTreeRegressor
from sklearn.tree._classes import CRITERIA_REG, DENSE_SPLITTERS
from sklearn.tree._tree import DepthFirstTreeBuilder, Tree
from sklearn.utils.random import sample_without_replacement

from training.common.arrays import Floats, Ints

__all__ = ["FittedLof", "Tree", "fit_forest_in_parts", "fit_lof", "read_lof", "read_trees"]

MAX_SEED = np.iinfo(np.int32).max


class FittedLof(NamedTuple):
    """What a LOF learned; from a file, any of it may be nonsense."""

    rows: Floats
    distances: Floats  # to the neighbours of each row, nearest first
    density: Floats


def read_lof(fitted: LocalOutlierFactor) -> FittedLof:
    """The rows of a fitted LOF, their distances to neighbours and their densities."""
    parts = (fitted._fit_X, fitted._distances_fit_X_, fitted._lrd)
    return FittedLof(*(np.asarray(part, np.float64) for part in parts))


def fit_lof(
    rows: Floats, nearest: Callable[..., tuple[Floats, Ints]], *, neighbours: int
) -> LocalOutlierFactor:
    """LOF fitted to rows whose neighbours are known: `nearest(n_neighbors=k)` gives distances and indices.

    Its own search would take most of the time of `fit`.
    """
    lof = LocalOutlierFactor(n_neighbors=neighbours, novelty=True, algorithm="kd_tree")
    lof.kneighbors = nearest
    lof.fit(rows)
    del lof.kneighbors
    return lof


def read_trees(fitted: IsolationForest) -> list[Tree]:
    """The trees of a fitted forest, with their arrays of nodes."""
    return [estimator.tree_ for estimator in fitted.estimators_]


def fit_forest_in_parts(parts: Sequence[Floats], *, trees: int, samples: int, seed: int) -> IsolationForest:
    """The forest that scikit-learn gives when it is fitted with warm start to each part in turn.

    Each part adds `trees`, each grown from `samples` rows. Takes a third of the time: for trees of 256 rows,
    cloning, validation and scheduling take four times as long as growing.
    """
    estimators: list[ExtraTreeRegressor] = []
    seeds = np.empty(0, np.int64)
    random = _SeededRandom()
    for number, part in enumerate(parts):
        rows = np.ascontiguousarray(part, np.float32)
        target = random.from_seed(seed).uniform(size=len(rows)).reshape(-1, 1)
        # Each fit starts the same stream again and skips what the trees before it have drawn.
        seeds = random.from_seed(seed).randint(MAX_SEED, size=(number + 1) * trees)[-trees:]
        estimators += [_grow_tree(rows, target, samples, int(drawn), random) for drawn in seeds]
    return _assemble_forest(estimators, parts[-1], samples, seeds, seed=seed)


class _SeededRandom:
    """One generator that is seeded repeatedly: creating one asks the system for entropy, for 0.1 ms."""

    def __init__(self) -> None:
        self._state = np.random.RandomState()

    def from_seed(self, seed: int) -> np.random.RandomState:
        """The stream of `RandomState(seed)`; valid until the next call."""
        self._state.seed(seed)
        return self._state


def _grow_tree(
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
    # Predictions of such a tree are random and unused; without them a forest's file is a third smaller.
    tree.value[:] = tree.impurity[:] = 0.0
    fitted.n_features_in_, fitted.n_outputs_, fitted.max_features_, fitted.tree_ = columns, 1, 1, tree
    return fitted


def _assemble_forest(
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
    nodes = [tree.n_node_samples for tree in read_trees(forest)]
    lengths = _average_path_length(np.concatenate(nodes))
    forest._average_path_length_per_tree = tuple(np.split(lengths, np.cumsum([len(n) for n in nodes])[:-1]))
    forest._decision_path_lengths = tuple(tree.compute_node_depths() for tree in read_trees(forest))
    forest.offset_ = -0.5
    return forest


def _depth(samples: int) -> int:
    return int(np.ceil(np.log2(max(samples, 2))))
