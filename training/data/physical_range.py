"""The physical range of an instrument: what it can measure. Readings outside are faults of the instrument.

Knows numbers only; each sensor has its range (`training.data.sensors`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from training.common.arrays import Flags, Floats, Ints


class PhysicalRange(NamedTuple):
    """From `low` to `high`, both included; infinite where an end is not known."""

    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def between(cls, low: float | None, high: float | None) -> "PhysicalRange":
        """The range between two ends, either of which may be unknown."""
        return cls(-np.inf if low is None else low, np.inf if high is None else high)

    @property
    def is_limited(self) -> bool:
        """Whether any end is known."""
        return self != (-np.inf, np.inf)

    def excludes(self, values: Floats) -> Flags:
        """Which values are outside; NaN is not."""
        return np.asarray((values < self.low) | (values > self.high))

    def exceeded_end(self, value: float) -> float | None:
        """The end that a value is beyond; None inside.

        >>> PhysicalRange(0, 300).exceeded_end(350.0), PhysicalRange(0, 300).exceeded_end(300.0)
        (300, None)
        """
        if value < self.low:
            return self.low
        return self.high if value > self.high else None


def outside_ranges(values: Floats, ranges: Sequence[PhysicalRange], owners: Ints) -> Flags:
    """Which values are outside the range of their owner, a position in `ranges`."""
    low, high = np.array(ranges, float).reshape(-1, 2)[owners].T
    return np.asarray((values < low) | (values > high))
