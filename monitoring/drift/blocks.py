"""Blocks of time: the block that is checked, and the window divided into blocks of the same length.

Handles times only; what is measured in the cells of a block is in `statistics`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.anomaly.seasonal_profile import WEEK
from training.common.arrays import Floats
from training.errors import DataError
from training.reasons import Reason, ReasonCode, render

FINE_CELLS = 8  # of a block
COARSE_CELLS = 2
MIN_BLOCKS = 6  # of a window; fewer do not show how much blocks differ by themselves
TARGET_BLOCKS = 8  # blocks are made shorter than requested until the window holds this number
MAX_BLOCKS = 24  # the newest; older ones are less relevant and cost time
MIN_READINGS = 12  # expected in a block


class HistoryTooShort(DataError):
    """The window or the readings since are too few for a verdict."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(render(reason))
        self.reason = reason


@dataclass(frozen=True)
class WindowBlocks:
    """The newest blocks of a window and the block that is checked; times in seconds since 1970."""

    start: float
    length: float
    count: int
    checked_from: float
    step: float  # usual seconds between readings

    @property
    def end(self) -> float:
        """The end of the window."""
        return self.start + self.count * self.length

    @property
    def checked_to(self) -> float:
        """The end of the checked block."""
        return self.checked_from + self.length

    @property
    def lag_seconds(self) -> float:
        """Seconds from the window to the checked block."""
        return self.checked_from - self.end

    def week(self, per_block: int) -> float:
        """The length of a week in cells, `per_block` a block; 0 if the window is shorter than two weeks."""
        if self.count * self.length < 2 * WEEK - self.length or self.length < WEEK / 14:
            return 0.0
        return round(WEEK / (self.length / per_block), 6)

    def past_cells(self, seconds: Floats, per_block: int) -> NDArray[np.int64]:
        """The cell of each reading of the window; negative before its first block."""
        return np.floor((seconds - self.start) / (self.length / per_block) + 1e-9).astype(np.int64)

    def checked_cells(self, seconds: Floats, per_block: int) -> NDArray[np.int64]:
        """The cell of each reading of the checked block, counted from its start."""
        return np.floor((seconds - self.checked_from) / (self.length / per_block) + 1e-9).astype(np.int64)

    def checked_places(self, per_block: int) -> Floats:
        """The places of the checked block's cells, counted like the window's cells."""
        first = (self.checked_from - self.start) / (self.length / per_block)
        return first + np.arange(per_block, dtype=np.float64)


def split_into_blocks(
    window: Floats, checked: tuple[float, float], *, step: float, length: float
) -> WindowBlocks:
    """Blocks of about this length that fit the window and the readings since.

    The length is reduced until the window holds eight blocks, and increased until a block holds enough
    readings. The newest block of `checked` (from, to) is the one that is compared.

    Raises:
        HistoryTooShort: the window has fewer than six blocks of twelve readings, or fewer came since.
    """
    start, end = float(window[0]), float(window[-1]) + step
    check_start, check_end = max(checked[0], end), checked[1] + step
    span = end - start
    min_length = MIN_READINGS * step
    if (block_count := int(span // min_length)) < MIN_BLOCKS:
        counts = {"blocks": block_count, "readings": MIN_READINGS, "duration": span}
        raise HistoryTooShort(Reason(ReasonCode.DRIFT_SHORT_WINDOW, counts))
    if check_end - check_start < min_length * (1 - 1e-9):
        elapsed = max(check_end - check_start, 0.0)
        counts = {"duration": elapsed, "readings": MIN_READINGS}
        raise HistoryTooShort(Reason(ReasonCode.DRIFT_SHORT_CHECK, counts))
    block_length = min(
        max(min(length, span / TARGET_BLOCKS), min_length), check_end - check_start, span / MIN_BLOCKS
    )
    count = min(int(span / block_length + 1e-6), MAX_BLOCKS)
    return WindowBlocks(end - count * block_length, block_length, count, check_end - block_length, step)
