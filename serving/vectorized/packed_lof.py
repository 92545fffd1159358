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

from training.anomaly.local_outlier_factor import NEVER_ZERO

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GROUPS = 128  # in so many the columns of a product are compared; more than a density has neighbours
# Of single precision, in units of the squared lengths: more than rounding and ten additions can amount to.
ROUNDING = 4e-6
ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class Density:
    """What one density learned: its rows, how far the k-th neighbour of each is, how dense it is there."""

    rows: Floats
    reach: Floats
    density: Floats
    k: int


@dataclass(frozen=True)
class Surroundings:
    """The same, laid out to be compared with: a product with `turned` gives squared distances, nearly."""

    turned: NDArray[np.float32]  # -2 times each row, and below it its squared length; a column a row
    known: Floats  # each row, its reach, its density
    longest: float
    k: int
    shape: tuple[int, int]  # columns compared, and neighbours: what those asked together must share

    @classmethod
    def of(cls, density: Density) -> "Surroundings":
        """Lay a density out.

        Raises:
            ValueError: it has more neighbours than are told apart here.
        """
        if density.k > GROUPS:
            raise ValueError(f"a density of {density.k} neighbours; at most {GROUPS} are compared at once")
        rows = density.rows
        squares = (rows**2).sum(axis=1)
        width = -(-len(rows) // GROUPS) * GROUPS
        # Columns that stand for no row are infinitely far.
        turned = np.zeros((rows.shape[1] + 1, width), np.float32)
        turned[-1] = np.inf
        turned[:-1, : len(rows)], turned[-1, : len(rows)] = -2 * rows.T, squares
        known = np.column_stack([rows, density.reach, density.density])
        return cls(turned, known, float(np.sqrt(squares.max())), density.k, (width, density.k))


def factors(surroundings: Sequence[Surroundings | None], owner: Ints, rows: Floats) -> Floats:
    """LOF of each row, 1 is ordinary, by the surroundings of its owner; `owner` ascends."""
    found = np.empty(len(rows))
    owners, firsts, counts = np.unique(owner, return_index=True, return_counts=True)
    alike: dict[tuple[int, int], list[int]] = {}
    near = [one for whose in owners.tolist() if (one := surroundings[whose]) is not None]
    for place, one in enumerate(near):
        alike.setdefault(one.shape, []).append(place)
    for places in alike.values():
        lengths = counts[places]
        starts = np.cumsum(lengths) - lengths
        where = np.repeat(firsts[places] - starts, lengths) + np.arange(lengths.sum())
        found[where] = _factors([near[place] for place in places], lengths.tolist(), rows[where])
    return found


def _factors(near: Sequence[Surroundings], lengths: list[int], rows: Floats) -> Floats:
    """The same where all have one number of neighbours and of columns; each is asked about so many rows."""
    k, columns = near[0].k, rows.shape[1]
    row, column = _candidates(near, lengths, rows)
    # Each candidate's row, reach and density, fetched sensor by sensor.
    known = np.empty((len(row), columns + 2))
    cuts = np.searchsorted(row, [0, *accumulate(lengths)]).tolist()
    for one, first, last in zip(near, cuts, cuts[1:], strict=False):
        one.known.take(column[first:last], axis=0, out=known[first:last], mode="clip")
    apart = known[:, :columns] - rows.take(row, axis=0)
    squared = np.einsum("ij,ij->i", apart, apart)
    starts = np.searchsorted(row, np.arange(len(rows)))
    slot = np.arange(len(row)) - starts[row]
    table = np.full((len(rows), int(slot.max()) + 1), np.inf)
    table[row, slot] = squared
    # Of rows equally far the one learned first, whatever else is asked about.
    nearest = np.argsort(table, axis=1, kind="stable")[:, :k]
    chosen = starts[:, None] + nearest
    distances = np.sqrt(np.take_along_axis(table, nearest, axis=1))
    reached = np.maximum(distances, known[chosen, columns])
    own = 1.0 / (reached.mean(axis=1) + NEVER_ZERO)
    return np.asarray(known[chosen, columns + 1].mean(axis=1) / own)


def _candidates(
    surroundings: Sequence[Surroundings], lengths: Sequence[int], rows: Floats
) -> tuple[Ints, Ints]:
    """For each row, in order, those that may be among its k nearest: all of them, and a few more."""
    k, width = surroundings[0].k, surroundings[0].turned.shape[1]
    asked = np.ones((len(rows), rows.shape[1] + 1), np.float32)
    asked[:, :-1] = rows
    longest = np.repeat([one.longest for one in surroundings], lengths)
    slack = (ROUNDING * (np.sqrt((rows**2).sum(axis=1)) + longest) ** 2).astype(np.float32)
    ends = list(accumulate(lengths))
    found = []
    # So few at once that the products stay in the processor's cache.
    near = np.empty((max(ROWS_AT_ONCE, *lengths), width), np.float32)
    first = place = 0
    while place < len(lengths):
        begin = first
        while place < len(lengths) and (first == begin or ends[place] - begin <= len(near)):
            last = ends[place]
            np.dot(asked[first:last], surroundings[place].turned, out=near[first - begin : last - begin])
            first, place = last, place + 1
        products = near[: first - begin]
        # k groups have a row at least as near as the k-th nearest group's nearest: so k rows are that near.
        closest = products.reshape(len(products), -1, GROUPS).min(axis=1)
        bound = np.partition(closest, k - 1, axis=1)[:, k - 1] + slack[begin:first]
        # Ten times as quick as np.nonzero.
        found.append(np.flatnonzero(products <= bound[:, None]) + begin * width)
    row, column = np.divmod(np.concatenate(found), width)
    return row, column
