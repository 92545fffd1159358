"""Array types and the runs in them: where flags are true, and where values do not change.

Pure numpy. Does not know time; that is `times`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class IndexRuns(NamedTuple):
    """Runs of positions: the first and the last of each, both included."""

    firsts: Ints
    lasts: Ints

    @property
    def counts(self) -> Ints:
        """The length of each run."""
        return self.lasts - self.firsts + 1

    def where(self, chosen: Flags) -> "IndexRuns":
        """The chosen runs."""
        return IndexRuns(self.firsts[chosen], self.lasts[chosen])

    def covers(self, total: int) -> Flags:
        """For each of `total` positions, whether a run contains it."""
        edges = np.zeros(total + 1, dtype=np.int64)
        np.add.at(edges, self.firsts, 1)
        np.add.at(edges, self.lasts + 1, -1)
        return np.cumsum(edges[:-1]) > 0

    def slices(self) -> list[slice]:
        """Each run as a slice."""
        return [slice(int(first), int(last) + 1) for first, last in zip(self.firsts, self.lasts, strict=True)]


def true_runs(flags: Flags) -> IndexRuns:
    """The runs of true flags.

    >>> true_runs(np.array([False, True, True, False, True]))
    IndexRuns(firsts=array([1, 4]), lasts=array([2, 4]))
    """
    padded = np.concatenate(([False], flags, [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return IndexRuns(edges[::2], edges[1::2] - 1)


def equal_runs(values: Floats) -> IndexRuns:
    """The runs of equal neighbouring values; every position is in one.

    >>> equal_runs(np.array([1.0, 1.0, 2.0, 1.0])).counts.tolist()
    [2, 1, 1]
    """
    if not len(values):
        return IndexRuns(np.zeros(0, np.int64), np.zeros(0, np.int64))
    moves = np.flatnonzero(values[1:] != values[:-1]) + 1
    return IndexRuns(np.concatenate(([0], moves)), np.concatenate((moves, [len(values)])) - 1)
