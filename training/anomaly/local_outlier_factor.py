"""The Local Outlier Factor from one neighbour search: any smaller k costs no new search.

Knows distances and densities. Gives scikit-learn's numbers without its 2 ms a call; leaves the choice of
rows, features and k to the detector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.neighbors import LocalOutlierFactor

from training.common.arrays import Floats, Ints
from training.errors import UntrustedModel

DENSITY_EPSILON = 1e-10  # scikit-learn's own guard against densities of tied rows
LEAF_ROWS = 32  # rows below which the search looks at each: with SciPy's 16 it takes a tenth longer


def build_tree(rows: Floats) -> cKDTree:
    """The tree in which the neighbours among these rows are found."""
    return cKDTree(rows, leafsize=LEAF_ROWS)


@dataclass(frozen=True)
class Neighbourhood:
    """Rows learned from, how far their k-th neighbour is, and how dense it is around them."""

    # scikit-learn's own tree finds the same, but checks its input for 0.2 ms at every call.
    tree: cKDTree
    reach: Floats
    density: Floats
    k: int
    columns: int

    @classmethod
    def of(cls, fitted: LocalOutlierFactor) -> "Neighbourhood":
        """Take over a fitted LOF; the search tree is built anew, so a file cannot bring a crooked one.

        Raises:
            UntrustedModel: sizes disagree or numbers are not finite.
        """
        rows = np.asarray(fitted._fit_X, np.float64)
        k = int(fitted.n_neighbors_)
        distances, density = np.asarray(fitted._distances_fit_X_), np.asarray(fitted._lrd)
        sound = (
            rows.ndim == 2
            and rows.shape[1] == fitted.n_features_in_
            and 1 <= k < len(rows)
            and distances.shape == (len(rows), k)
            and density.shape == (len(rows),)
            and all(bool(np.isfinite(part).all()) for part in (rows, distances, density))
        )
        if not sound:
            raise UntrustedModel("The neighbours' file is inconsistent. Retrain this sensor.")
        return cls(build_tree(rows), distances[:, -1].astype(np.float64), density, k, rows.shape[1])

    def score(self, rows: Floats) -> Floats:
        """How much thinner it is around each row than around its neighbours: LOF, 1 is ordinary."""
        if not len(rows):
            return np.empty(0)
        distances, indices = self.tree.query(rows, self.k)
        return local_outlier_factor(distances, indices, self.reach, self.density)


@dataclass(frozen=True)
class NeighbourSearch:
    """Distances to the nearest rows, sorted, at the largest k anyone will ask for."""

    distances: Floats
    indices: Ints

    @classmethod
    def among(cls, rows: Floats, *, max_neighbours: int) -> "NeighbourSearch":
        """Each row's neighbours among the other rows."""
        return cls(*_neighbours_of_rows(build_tree(rows), np.arange(len(rows)), max_neighbours))

    @classmethod
    def of_queries(cls, queries: Floats, tree: cKDTree, *, max_neighbours: int) -> "NeighbourSearch":
        """The neighbours that each query has among the rows of a tree, which it is not one of."""
        return cls(*tree.query(queries, max_neighbours))

    def nearest(self, n_neighbors: int) -> tuple[Floats, Ints]:
        """The nearest few of those found, as scikit-learn asks for them: distances and numbers."""
        return self.distances[:, :n_neighbors], self.indices[:, :n_neighbors]

    def restricted_to(
        self, tree: cKDTree, row_mask: NDArray[np.bool_], *, max_neighbours: int
    ) -> "NeighbourSearch":
        """The same among the rows kept only, numbered anew: what is left of each one's neighbours.

        `tree` holds the rows kept; it is asked for those few of whose neighbours not enough are left.
        """
        remaining = row_mask[self.indices[row_mask]]
        rank = np.cumsum(remaining, axis=1, dtype=np.int32)
        complete = rank[:, -1] >= max_neighbours
        selected = remaining & (rank <= max_neighbours) & complete[:, None]
        distances = np.empty((len(complete), max_neighbours))
        indices = np.empty((len(complete), max_neighbours), np.int64)
        shape = (int(complete.sum()), max_neighbours)
        renumbered = np.cumsum(row_mask) - 1
        distances[complete] = self.distances[row_mask][selected].reshape(shape)
        indices[complete] = renumbered[self.indices[row_mask][selected]].reshape(shape)
        if not complete.all():
            lacking = np.flatnonzero(~complete)
            distances[lacking], indices[lacking] = _neighbours_of_rows(tree, lacking, max_neighbours)
        return NeighbourSearch(distances, indices)


def _neighbours_of_rows(tree: cKDTree, rows: Ints, largest: int) -> tuple[Floats, Ints]:
    """Distances to the nearest of a tree's rows, and their numbers, of some of these rows themselves."""
    distances, indices = tree.query(tree.data[rows], largest + 1)
    # A row is its own nearest; among exact copies it may come second, which costs nothing.
    is_self = indices == rows[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    shape = (len(rows), largest)
    return distances[~is_self].reshape(shape), indices[~is_self].reshape(shape)


def held_out_lof(inside: NeighbourSearch, outside: NeighbourSearch, k: int) -> Floats:
    """LOF at any k up to the largest searched, of queries against rows they are not among."""
    reach = inside.distances[:, k - 1]
    density = _density(inside.distances[:, :k], inside.indices[:, :k], reach)
    return local_outlier_factor(outside.distances[:, :k], outside.indices[:, :k], reach, density)


def local_outlier_factor(distances: Floats, indices: Ints, reach: Floats, density: Floats) -> Floats:
    """LOF from distances to neighbours whose reach and density are known."""
    return np.asarray(density[indices].mean(axis=1) / _density(distances, indices, reach))


def _density(distances: Floats, indices: Ints, reach: Floats) -> Floats:
    return np.asarray(1.0 / (np.maximum(distances, reach[indices]).mean(axis=1) + DENSITY_EPSILON))
