"""How thin it is around readings, compared with their neighbours in what a sensor's detector learned from.

Knows the Local Outlier Factor of many sensors at once. Asked for two rows of each of 500 sensors, search
trees wait for memory most of their 50 ms; one small matrix product a sensor reads it in order, and leaves
some 25 rows to be measured exactly. Leaves learning to `training.anomaly.local_outlier_factor`, whose numbers
these are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from training.anomaly.local_outlier_factor import DENSITY_EPSILON
from training.common.arrays import Floats, Ints

COLUMN_GROUPS = 128  # in so many the columns of a product are compared; more than a density has neighbours
# Of single precision, in units of the squared lengths: more than rounding and ten additions can amount to.
ROUNDING_TOLERANCE = 4e-6
ROW_BATCH = 128


@dataclass(frozen=True)
class LofData:
    """What one density learned: its rows, how far the k-th neighbour of each is, how dense it is there."""

    rows: Floats
    reach: Floats
    density: Floats
    k: int


@dataclass(frozen=True)
class PackedLof:
    """The same, laid out to be compared with: a product with `turned` gives squared distances, nearly."""

    distance_matrix: NDArray[np.float32]  # -2 times each row, and below it its squared length; a column a row
    row_data: Floats  # each row, its reach, its density
    max_norm: float
    k: int
    shape: tuple[int, int]  # columns compared, and neighbours: what those asked together must share

    @classmethod
    def of(cls, density: LofData) -> "PackedLof":
        """Lay a density out.

        Raises:
            ValueError: it has more neighbours than are told apart here.
        """
        if density.k > COLUMN_GROUPS:
            raise ValueError(
                f"a density of {density.k} neighbours; at most {COLUMN_GROUPS} are compared at once"
            )
        rows = density.rows
        squares = (rows**2).sum(axis=1)
        width = -(-len(rows) // COLUMN_GROUPS) * COLUMN_GROUPS
        # Columns that stand for no row are infinitely far.
        turned = np.zeros((rows.shape[1] + 1, width), np.float32)
        turned[-1] = np.inf
        turned[:-1, : len(rows)], turned[-1, : len(rows)] = -2 * rows.T, squares
        known = np.column_stack([rows, density.reach, density.density])
        return cls(turned, known, float(np.sqrt(squares.max())), density.k, (width, density.k))


def compute_lof(surroundings: Sequence[PackedLof | None], owner: Ints, rows: Floats) -> Floats:
    """LOF of each row, 1 is ordinary, by the surroundings of its owner; `owner` ascends."""
    result = np.empty(len(rows))
    owners, firsts, counts = np.unique(owner, return_index=True, return_counts=True)
    by_shape: dict[tuple[int, int], list[int]] = {}
    lofs = [one for whose in owners.tolist() if (one := surroundings[whose]) is not None]
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
    """The same where all have one number of neighbours and of columns; each is asked about so many rows."""
    k, columns = lofs[0].k, rows.shape[1]
    row, column = _find_candidates(lofs, lengths, rows)
    # Each candidate's row, reach and density, fetched sensor by sensor.
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
    # Of rows equally far the one learned first, whatever else is asked about.
    nearest = np.argsort(table, axis=1, kind="stable")[:, :k]
    nearest_rows = starts[:, None] + nearest
    distances = np.sqrt(np.take_along_axis(table, nearest, axis=1))
    reach_distances = np.maximum(distances, candidate_data[nearest_rows, columns])
    own_density = 1.0 / (reach_distances.mean(axis=1) + DENSITY_EPSILON)
    return np.asarray(candidate_data[nearest_rows, columns + 1].mean(axis=1) / own_density)


def _find_candidates(
    surroundings: Sequence[PackedLof], lengths: Sequence[int], rows: Floats
) -> tuple[Ints, Ints]:
    """For each row, in order, those that may be among its k nearest: all of them, and a few more."""
    k, width = surroundings[0].k, surroundings[0].distance_matrix.shape[1]
    queries = np.ones((len(rows), rows.shape[1] + 1), np.float32)
    queries[:, :-1] = rows
    longest = np.repeat([one.max_norm for one in surroundings], lengths)
    tolerance = (ROUNDING_TOLERANCE * (np.sqrt((rows**2).sum(axis=1)) + longest) ** 2).astype(np.float32)
    ends = list(accumulate(lengths))
    candidates = []
    # So few at once that the products stay in the processor's cache.
    products_buffer = np.empty((max(ROW_BATCH, *lengths), width), np.float32)
    first = place = 0
    while place < len(lengths):
        begin = first
        while place < len(lengths) and (first == begin or ends[place] - begin <= len(products_buffer)):
            last = ends[place]
            np.dot(
                queries[first:last],
                surroundings[place].distance_matrix,
                out=products_buffer[first - begin : last - begin],
            )
            first, place = last, place + 1
        products = products_buffer[: first - begin]
        # k groups have a row at least as near as the k-th nearest group's nearest: so k rows are that near.
        closest = products.reshape(len(products), -1, COLUMN_GROUPS).min(axis=1)
        bound = np.partition(closest, k - 1, axis=1)[:, k - 1] + tolerance[begin:first]
        # Ten times as quick as np.nonzero.
        candidates.append(np.flatnonzero(products <= bound[:, None]) + begin * width)
    row, column = np.divmod(np.concatenate(candidates), width)
    return row, column
