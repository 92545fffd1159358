"""Score rows by an Isolation Forest whose trees are plain arrays, after checking them.

Gives the scores of scikit-learn's `score_samples`, which takes 9 ms for one row, nearly all of it overhead;
this takes 0.1 ms. Forests are fitted in `crossfit`; many sensors' forests are scored together, in single
precision, by `serving.vectorized.packed_forest`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from training.anomaly.sklearn_adapter import Tree, read_trees
from training.common.arrays import Flags, Floats, Ints
from training.errors import UntrustedModel

TREEWISE_MIN_ROWS = 64  # rows from which one tree after another is faster than all trees at once
MAX_DEPTH = 64


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees, one behind the other; a leaf is its own child."""

    roots: Ints
    feature: Ints
    threshold: Floats
    children: NDArray[np.int64]  # (nodes, 2): left, right
    length: Floats  # at leaves: the expected path length
    depth: int
    normal_length: float  # expected path length of a row in a tree of that number of samples
    trees: tuple[Tree, ...]  # scikit-learn's trees, faster for many rows

    @classmethod
    def of(cls, fitted: IsolationForest) -> "Forest":
        """The trees of a fitted forest.

        Raises:
            UntrustedModel: a child lies outside its tree, a path is a cycle, or a number is not finite.
        """
        trees = read_trees(fitted)
        sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
        roots = np.cumsum(sizes) - sizes
        left, right, feature = (
            np.concatenate([getattr(tree, name) for tree in trees]).astype(np.int64)
            for name in ("children_left", "children_right", "feature")
        )
        threshold, samples = (
            np.concatenate([getattr(tree, name) for tree in trees]).astype(np.float64)
            for name in ("threshold", "n_node_samples")
        )
        columns = int(fitted.n_features_in_)
        root = np.repeat(roots, sizes)
        node_index = np.arange(root.size)
        leaf = left == -1
        inner = ~leaf
        sound = (
            np.array_equal(leaf, right == -1)
            # Children behind their parent and inside its tree cannot form a cycle.
            and _within(left + root, node_index + 1, root + np.repeat(sizes, sizes), where=inner)
            and _within(right + root, node_index + 1, root + np.repeat(sizes, sizes), where=inner)
            and _within(feature, 0, columns, where=inner)
            and bool(np.isfinite(threshold).all() and np.isfinite(samples).all() and (samples >= 1).all())
        )
        if not sound:
            raise UntrustedModel("A forest's file contains an invalid tree. Retrain this sensor.")
        children = np.where(
            leaf[:, None], node_index[:, None], np.column_stack([left, right]) + root[:, None]
        )
        depths = _depths(roots, children, leaf)
        return cls(
            roots=roots,
            feature=np.where(leaf, 0, feature),
            threshold=threshold,
            children=children,
            length=np.where(leaf, depths + expected_length(samples), 0.0),
            depth=int(depths.max()),
            normal_length=float(expected_length(np.array([float(fitted.max_samples_)]))[0]),
            trees=tuple(trees),
        )

    def lengths(self, rows: Floats, *, trees: slice = slice(None)) -> Floats:
        """Path length of each row in each of these trees, shape (rows, trees)."""
        # scikit-learn compares readings in single precision with thresholds in double precision.
        single = rows.astype(np.float32)
        roots = self.roots[trees]
        if len(single) >= TREEWISE_MIN_ROWS:
            leaves = [tree.apply(single) for tree in self.trees[trees]]
            return self.length[np.column_stack(leaves) + roots]
        return self._lengths(single, roots)

    def score(self, rows: Floats) -> Floats:
        """Anomaly scores in (0, 1]: the negative of scikit-learn's `score_samples`."""
        return isolation_score(self.lengths(rows).mean(axis=1), self.normal_length)

    def _lengths(self, rows: NDArray[np.float32], roots: Ints) -> Floats:
        node = np.broadcast_to(roots, (len(rows), roots.size))
        row = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            right = rows[row, self.feature[node]] > self.threshold[node]
            node = self.children[node, right.astype(np.int64)]
        return self.length[node]


def isolation_score(mean_length: Floats, normal_length: float) -> Floats:
    """Isolation Forest's score from the mean path length: 0.5 is ordinary, 1 isolated at once."""
    if normal_length <= 0:
        return np.ones_like(mean_length)
    return np.exp2(-mean_length / normal_length)


def _within(numbers: Ints, low: Ints | int, high: Ints | int, *, where: Flags) -> bool:
    return bool(np.all(((numbers >= low) & (numbers < high))[where]))


def _depths(roots: Ints, children: Ints, leaf: Flags) -> Floats:
    depths = np.zeros(leaf.size)
    level = roots
    for depth in range(MAX_DEPTH):
        depths[level] = depth
        level = children[level[~leaf[level]]].ravel()
        if not level.size:
            return depths
        if level.size > leaf.size:
            raise UntrustedModel("A forest's file contains a node twice in one tree. Retrain this sensor.")
    raise UntrustedModel(f"A forest's file contains a tree deeper than {MAX_DEPTH}. Retrain this sensor.")


def expected_length(samples: Floats) -> Floats:
    """The average path length in a tree of this number of samples (Liu, Ting and Zhou 2008, equation 1)."""
    size = np.maximum(samples, 3.0) - 1.0
    general = 2.0 * (np.log(size) + np.euler_gamma) - 2.0 * size / (size + 1.0)
    return np.select([samples <= 1, samples == 2], [0.0, 1.0], general)
