"""Compute the Local Outlier Factor (LOF) from one neighbour search, which serves any smaller k too.

Gives scikit-learn's scores without its 2 ms per call. Rows, features and k are chosen in `base_detectors` and
`crossfit`; many sensors' LOFs are computed together by `serving.vectorized.packed_lof`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree
from sklearn.neighbors import LocalOutlierFactor

from training.anomaly.models.sklearn_adapter import read_lof
from training.common.arrays import Flags, Floats, Ints
from training.errors import UntrustedModel

DENSITY_EPSILON = 1e-10  # scikit-learn's guard against infinite densities of tied rows
LEAF_ROWS = 32  # of the search tree: with SciPy's 16 a search takes a tenth longer


def build_tree(rows: Floats) -> cKDTree:
    """A search tree of these rows."""
    return cKDTree(rows, leafsize=LEAF_ROWS)


@dataclass(frozen=True)
class Neighbourhood:
    """The training rows, the distance of each one to its k-th neighbour, and its density."""

    rows: Floats
    reach: Floats
    density: Floats
    k: int

    @classmethod
    def of(cls, fitted: LocalOutlierFactor) -> "Neighbourhood":
        """The numbers of a fitted LOF.

        Raises:
            UntrustedModel: sizes disagree or numbers are not finite.
        """
        rows, distances, density = read_lof(fitted)
        k = int(fitted.n_neighbors_)
        sound = (
            rows.ndim == 2
            and rows.shape[1] == fitted.n_features_in_
            and 1 <= k < len(rows)
            and distances.shape == (len(rows), k)
            and density.shape == (len(rows),)
            and all(bool(np.isfinite(part).all()) for part in (rows, distances, density))
        )
        if not sound:
            raise UntrustedModel("A LOF's file is inconsistent. Retrain this sensor.")
        return cls(rows, distances[:, -1], density, k)

    @cached_property
    def tree(self) -> cKDTree:
        """The search tree, built here: scikit-learn's own validates its input for 0.2 ms at every call."""
        return build_tree(self.rows)

    def score(self, rows: Floats) -> Floats:
        """LOF: how much lower the density at each row is than at its neighbours; 1 is ordinary."""
        if not len(rows):
            return np.empty(0)
        distances, indices = self.tree.query(rows, self.k)
        return local_outlier_factor(distances, indices, self.reach, self.density)


@dataclass(frozen=True)
class NeighbourSearch:
    """Distances to the nearest rows, sorted, for the largest k that will be used."""

    distances: Floats
    indices: Ints

    @classmethod
    def among(cls, rows: Floats, *, max_neighbours: int) -> "NeighbourSearch":
        """The neighbours of each row among the other rows."""
        return cls(*_neighbours_of_rows(build_tree(rows), np.arange(len(rows)), max_neighbours))

    @classmethod
    def of_queries(cls, queries: Floats, tree: cKDTree, *, max_neighbours: int) -> "NeighbourSearch":
        """The neighbours of queries among the rows of a tree, which contains none of the queries."""
        return cls(*tree.query(queries, max_neighbours))

    def nearest(self, n_neighbors: int) -> tuple[Floats, Ints]:
        """Distances and indices of the nearest `n_neighbors`."""
        return self.distances[:, :n_neighbors], self.indices[:, :n_neighbors]

    def restricted_to(self, tree: cKDTree, row_mask: Flags, *, max_neighbours: int) -> "NeighbourSearch":
        """The search of the rows in `row_mask` among themselves, with their indices in the smaller table.

        Drops the other rows from each list of neighbours. `tree` holds the rows in `row_mask`; it is searched
        for the few rows that have too few neighbours left.
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
    """Distances and indices of the neighbours of some of a tree's own rows."""
    distances, indices = tree.query(tree.data[rows], largest + 1)
    # A row is its own nearest neighbour; among exact copies it may come later, at the same distance.
    is_self = indices == rows[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    shape = (len(rows), largest)
    return distances[~is_self].reshape(shape), indices[~is_self].reshape(shape)


def held_out_lof(inside: NeighbourSearch, outside: NeighbourSearch, k: int) -> Floats:
    """LOF of queries against rows they are not among, for any k up to that of the searches."""
    reach = inside.distances[:, k - 1]
    density = _density(inside.distances[:, :k], inside.indices[:, :k], reach)
    return local_outlier_factor(outside.distances[:, :k], outside.indices[:, :k], reach, density)


def local_outlier_factor(distances: Floats, indices: Ints, reach: Floats, density: Floats) -> Floats:
    """LOF from the distances to neighbours with known reach and density (Breunig and others 2000)."""
    return np.asarray(density[indices].mean(axis=1) / _density(distances, indices, reach))


def _density(distances: Floats, indices: Ints, reach: Floats) -> Floats:
    return np.asarray(1.0 / (np.maximum(distances, reach[indices]).mean(axis=1) + DENSITY_EPSILON))
