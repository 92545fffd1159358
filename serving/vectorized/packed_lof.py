"""Compute the Local Outlier Factor of few rows of many sensors.

For two rows of each of 500 sensors, search trees take 50 ms, mostly waiting for memory. A matrix product per
sensor reads memory in order and leaves some 25 candidates, whose distances are computed exactly. Many rows
of one sensor are computed in `training.anomaly.models.local_outlier_factor`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from training.anomaly.models.local_outlier_factor import DENSITY_EPSILON, Neighbourhood
from training.common.arrays import Floats, Ints

COLUMN_GROUPS = 128  # into which the columns of a product are divided; the largest number of neighbours
# Relative to squared lengths: more than the rounding of ten additions in single precision.
ROUNDING_TOLERANCE = 4e-6
ROW_BATCH = 128


@dataclass(frozen=True)
class PackedLof:
    """A fitted LOF for comparison: a product with `distance_matrix` gives approximate squared distances."""

    distance_matrix: NDArray[np.float32]  # a column per row: -2 times the row, then its squared length
    row_data: Floats  # each row, its reach, its density
    max_norm: float
    k: int
    shape: tuple[int, int]  # columns of the matrix, and k; LOFs of one shape are computed together

    @classmethod
    def of(cls, density: Neighbourhood) -> "PackedLof":
        """Prepare a fitted LOF.

        Raises:
            ValueError: it has more neighbours than COLUMN_GROUPS.
        """
        if density.k > COLUMN_GROUPS:
            raise ValueError(
                f"a LOF of {density.k} neighbours cannot be packed: at most {COLUMN_GROUPS} are possible"
            )
        rows = density.rows
        squares = (rows**2).sum(axis=1)
        width = -(-len(rows) // COLUMN_GROUPS) * COLUMN_GROUPS
        # The columns beyond the rows are infinitely far.
        turned = np.zeros((rows.shape[1] + 1, width), np.float32)
        turned[-1] = np.inf
        turned[:-1, : len(rows)], turned[-1, : len(rows)] = -2 * rows.T, squares
        known = np.column_stack([rows, density.reach, density.density])
        return cls(turned, known, float(np.sqrt(squares.max())), density.k, (width, density.k))


def compute_lof(lof_of_sensor: Sequence[PackedLof | None], owner: Ints, rows: Floats) -> Floats:
    """LOF of each row by the LOF of its sensor, whose index `owner` ascends; 1 is ordinary."""
    result = np.empty(len(rows))
    owners, firsts, counts = np.unique(owner, return_index=True, return_counts=True)
    by_shape: dict[tuple[int, int], list[int]] = {}
    lofs = [one for index in owners.tolist() if (one := lof_of_sensor[index]) is not None]
    for place, lof in enumerate(lofs):
        by_shape.setdefault(lof.shape, []).append(place)
    for places in by_shape.values():
        lengths = counts[places]
        starts = np.cumsum(lengths) - lengths
        positions = np.repeat(firsts[places] - starts, lengths) + np.arange(lengths.sum())
        result[positions] = _compute_group_lof(
            [lofs[place] for place in places], lengths.tolist(), rows[positions]
        )
    return result


def _compute_group_lof(lofs: Sequence[PackedLof], lengths: list[int], rows: Floats) -> Floats:
    """LOF where all fitted LOFs have one shape; `lengths` is the number of rows of each."""
    k, columns = lofs[0].k, rows.shape[1]
    row, column = _find_candidates(lofs, lengths, rows)
    # The row, reach and density of each candidate, copied sensor by sensor.
    candidate_data = np.empty((len(row), columns + 2))
    cuts = np.searchsorted(row, [0, *accumulate(lengths)]).tolist()
    for lof, first, last in zip(lofs, cuts, cuts[1:], strict=False):
        lof.row_data.take(column[first:last], axis=0, out=candidate_data[first:last], mode="clip")
    differences = candidate_data[:, :columns] - rows.take(row, axis=0)
    squared = np.einsum("ij,ij->i", differences, differences)
    starts = np.searchsorted(row, np.arange(len(rows)))
    slot = np.arange(len(row)) - starts[row]
    table = np.full((len(rows), int(slot.max()) + 1), np.inf)
    table[row, slot] = squared
    # A stable order of ties makes results independent of the other rows.
    nearest = np.argsort(table, axis=1, kind="stable")[:, :k]
    nearest_rows = starts[:, None] + nearest
    distances = np.sqrt(np.take_along_axis(table, nearest, axis=1))
    reach_distances = np.maximum(distances, candidate_data[nearest_rows, columns])
    own_density = 1.0 / (reach_distances.mean(axis=1) + DENSITY_EPSILON)
    return np.asarray(candidate_data[nearest_rows, columns + 1].mean(axis=1) / own_density)


def _find_candidates(lofs: Sequence[PackedLof], lengths: Sequence[int], rows: Floats) -> tuple[Ints, Ints]:
    """Pairs (row, column) in order of rows: the k nearest neighbours of each row and a few others."""
    k, width = lofs[0].k, lofs[0].distance_matrix.shape[1]
    queries = np.ones((len(rows), rows.shape[1] + 1), np.float32)
    queries[:, :-1] = rows
    longest = np.repeat([one.max_norm for one in lofs], lengths)
    tolerance = (ROUNDING_TOLERANCE * (np.sqrt((rows**2).sum(axis=1)) + longest) ** 2).astype(np.float32)
    ends = list(accumulate(lengths))
    candidates = []
    # In batches whose products stay in the processor's cache.
    products_buffer = np.empty((max(ROW_BATCH, *lengths), width), np.float32)
    first = place = 0
    while place < len(lengths):
        begin = first
        while place < len(lengths) and (first == begin or ends[place] - begin <= len(products_buffer)):
            last = ends[place]
            np.dot(
                queries[first:last],
                lofs[place].distance_matrix,
                out=products_buffer[first - begin : last - begin],
            )
            first, place = last, place + 1
        products = products_buffer[: first - begin]
        # At least k rows are as near as the k-th smallest of the minima of groups.
        closest = products.reshape(len(products), -1, COLUMN_GROUPS).min(axis=1)
        bound = np.partition(closest, k - 1, axis=1)[:, k - 1] + tolerance[begin:first]
        # Ten times as fast as np.nonzero.
        candidates.append(np.flatnonzero(products <= bound[:, None]) + begin * width)
    row, column = np.divmod(np.concatenate(candidates), width)
    return row, column
