"""Isolation Forests as arrays of nodes: checked once, small, and scored without scikit-learn's overhead.

Gives the scores of scikit-learn's `score_samples`, which takes 9 ms for one row, nearly all of it overhead;
this takes 0.1 ms. Forests are fitted in `crossfit`; those of many sensors are kept and scored together by
`serving.vectorized.packed_forest`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from training.anomaly.models.sklearn_adapter import Tree, read_trees
from training.common.arrays import Floats, Ints
from training.errors import UntrustedModel

# An inner node's left child is the next node; its right child comes `beyond` nodes later. The `value` of an
# inner node is its threshold, that of a leaf the position of its path length in PATH_LENGTHS.
NODE_DTYPE = np.dtype(
    [("value", np.float32), ("beyond", np.uint16), ("feature", np.uint8), ("inner", np.uint8)]
)
Nodes = NDArray[np.void]

TREEWISE_MIN_ROWS = 64  # rows from which scikit-learn's trees, one after another, are faster
MAX_DEPTH = 64
LEAF_SIZES = 1024  # the samples in a leaf are fewer; trees are grown from 256


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees, one behind the other."""

    nodes: Nodes
    roots: Ints
    normal_length: float  # expected path length of a row in a tree of that number of samples
    depth: int
    trees: tuple[Tree, ...] = ()  # scikit-learn's; none where the forest was read from a packed file

    @classmethod
    def of(cls, fitted: IsolationForest) -> "Forest":
        """The trees of a fitted forest.

        Raises:
            UntrustedModel: a node is invalid, or not in the order in which scikit-learn stores them.
        """
        trees = read_trees(fitted)
        sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
        roots = np.cumsum(sizes) - sizes
        left, right, feature, samples, threshold = (
            np.concatenate([getattr(tree, name) for tree in trees])
            for name in ("children_left", "children_right", "feature", "n_node_samples", "threshold")
        )
        leaf = left == -1
        following = np.arange(len(left)) - np.repeat(roots, sizes) + 1
        beyond = np.where(leaf, 0, right - following)
        sound = (
            np.array_equal(leaf, right == -1)
            and np.array_equal(left[~leaf], following[~leaf])
            and _within(beyond, 0, 2**16)
            and _within(np.where(leaf, 0, feature), 0, 2**8)
            and _within(samples, 1, LEAF_SIZES)
        )
        if not sound:
            raise UntrustedModel("A forest's file contains an invalid tree. Retrain this sensor.")
        nodes = np.zeros(len(left), NODE_DTYPE)
        # A single precision reading exceeds a threshold exactly if it exceeds the next lower single number.
        nearest = threshold.astype(np.float32)
        below = np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest)
        nodes["value"], nodes["beyond"], nodes["inner"] = np.where(leaf, 0.0, below), beyond, ~leaf
        nodes["feature"] = np.where(leaf, 0, feature)
        check_nodes(nodes, roots, columns=int(fitted.n_features_in_))
        depths = _depths(nodes, roots)
        nodes["value"][leaf] = (depths * LEAF_SIZES + samples)[leaf]
        normal_length = float(expected_length(np.array([float(fitted.max_samples_)]))[0])
        return cls(nodes, roots, normal_length, int(depths.max()), tuple(trees))

    def lengths(self, rows: Floats, *, trees: slice = slice(None)) -> Floats:
        """Path length of each row in each of these trees, shape (rows, trees)."""
        # scikit-learn compares readings in single precision.
        single, roots = rows.astype(np.float32), self.roots[trees]
        if len(single) >= TREEWISE_MIN_ROWS and self.trees:
            leaves = np.column_stack([tree.apply(single) for tree in self.trees[trees]]) + roots
            return self._length_of_node[leaves]
        first = np.repeat(np.arange(len(single)) * single.shape[1], len(roots))
        leaf_values = walk_trees(self.nodes, np.tile(roots, len(single)), single, first, self.depth)
        return path_lengths(leaf_values).reshape(len(single), len(roots))

    @cached_property
    def _length_of_node(self) -> Floats:
        return path_lengths(np.where(self.nodes["inner"] > 0, np.float32(0.0), self.nodes["value"]))

    def score(self, rows: Floats) -> Floats:
        """Anomaly scores in (0, 1]: the negative of scikit-learn's `score_samples`."""
        return isolation_score(self.lengths(rows).mean(axis=1), self.normal_length)


def walk_trees(
    nodes: Nodes, node: Ints, rows: NDArray[np.float32], first: Ints, depth: int
) -> NDArray[np.float32]:
    """The value of the leaf that each lane reaches from its `node`, which is overwritten.

    A lane is a row in a tree; its row begins at `first` in the flat `rows`. Each step writes into the same
    few arrays, because allocating them would take longer than the arithmetic.
    """
    lanes, readings = len(node), rows.ravel()
    packed_nodes, current = nodes.view(np.uint64), np.empty(lanes, np.uint64)
    current_nodes = current.view(NODE_DTYPE)
    value, beyond, feature, inner = (current_nodes[name] for name in ("value", "beyond", "feature", "inner"))
    reading_index, reading = np.empty(lanes, np.int64), np.empty(lanes, np.float32)
    above, step = np.empty(lanes, bool), np.empty(lanes, np.uint16)
    for _ in range(depth):
        packed_nodes.take(node, out=current, mode="clip")
        np.add(first, feature, out=reading_index)
        readings.take(reading_index, out=reading, mode="clip")
        np.greater(reading, value, out=above)
        np.multiply(beyond, above, out=step)
        np.add(step, inner, out=step)
        np.add(node, step, out=node)
    packed_nodes.take(node, out=current, mode="clip")
    return value


def check_nodes(nodes: Nodes, roots: Ints, *, columns: int, depth: int = 0) -> None:
    """Refuse nodes from a file whose walk could leave their tree; children behind their parent form no cycle.

    Raises:
        UntrustedModel: a child, a feature or a number is invalid.
    """
    index, inner = np.arange(len(nodes)), nodes["inner"] > 0
    ends = np.append(roots[1:], len(nodes))
    sound = (
        len(nodes) > 0
        and roots[0] == 0
        and bool((np.diff(ends) > 0).all())
        and bool((nodes["inner"] <= 1).all() and (nodes["beyond"][~inner] == 0).all())
        and bool((index + nodes["inner"] + nodes["beyond"] < np.repeat(ends, ends - roots)).all())
        and bool((nodes["feature"][inner] < columns).all())
        and bool(np.isfinite(nodes["value"]).all())
        and _within(nodes["value"][~inner], 0, len(PATH_LENGTHS))
        and 0 <= depth <= MAX_DEPTH
    )
    if not sound:
        raise UntrustedModel("A forest's file contains an invalid tree. Retrain this sensor.")


def path_lengths(leaf_values: NDArray[np.float32]) -> Floats:
    """The expected path lengths of leaves with these values."""
    return PATH_LENGTHS.take(leaf_values.astype(np.int64))


def isolation_score(mean_length: Floats, normal_length: Floats | float) -> Floats:
    """Isolation Forest's score from the mean path length: 0.5 is ordinary, 1 isolated at once."""
    normal = np.asarray(normal_length)
    return np.where(normal > 0, np.exp2(-mean_length / np.where(normal > 0, normal, 1.0)), 1.0)


def _within(numbers: NDArray[np.int64] | NDArray[np.float32], low: int, high: int) -> bool:
    return bool(((numbers >= low) & (numbers < high)).all())


def _depths(nodes: Nodes, roots: Ints) -> Ints:
    depths = np.zeros(len(nodes), np.int64)
    level = roots
    for depth in range(MAX_DEPTH):
        depths[level] = depth
        parents = level[nodes["inner"][level] > 0]
        level = np.concatenate([parents + 1, parents + 1 + nodes["beyond"][parents]])
        if not level.size:
            return depths
        if level.size > len(nodes):
            raise UntrustedModel("A forest's file contains a node twice in one tree. Retrain this sensor.")
    raise UntrustedModel(f"A forest's file contains a tree deeper than {MAX_DEPTH}. Retrain this sensor.")


def expected_length(samples: Floats) -> Floats:
    """The average path length in a tree of this number of samples (Liu, Ting and Zhou 2008, equation 1)."""
    size = np.maximum(samples, 3.0) - 1.0
    general = 2.0 * (np.log(size) + np.euler_gamma) - 2.0 * size / (size + 1.0)
    return np.select([samples <= 1, samples == 2], [0.0, 1.0], general)


# By depth and samples of a leaf. Nodes hold positions here, because single precision cannot hold the lengths.
PATH_LENGTHS = (np.arange(MAX_DEPTH)[:, None] + expected_length(np.arange(float(LEAF_SIZES)))).ravel()
