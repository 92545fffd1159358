"""Readings that do not move: a sensor that is stuck, one that was never alive, one that comes alive.

Knows plateaus. Where either side stands still there is nothing to compare statistics of.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.blocks import FEWEST_READINGS
from monitoring.drift.kinds import DriftKind
from monitoring.drift.statistics import Readings
from training.common.formatting import format_count, format_value

Floats = NDArray[np.float64]

STUCK_SHARE = 0.5  # of the block without any move
STUCK_FACTOR = 2.0  # longer than the longest plateau of the window


@dataclass(frozen=True)
class Still:
    """What is said where one side stands still; without a kind, nothing changed."""

    kind: DriftKind | None
    words: str
    begun: float
    p: float


def stillness(
    window: Readings, checked: Readings, since: Readings, *, blocks: int, unit: str
) -> Still | None:
    """What to say of a block or a window without moves; None where both move.

    The window is `blocks` blocks long, and none held still for so long: one more would do so in one of
    `blocks + 1` cases, and for as many times longer, in as many times fewer.
    """
    if np.ptp(window.values) == 0:
        constant = float(window.values[0])
        told = format_value(constant, unit or None)
        if np.all(checked.values == constant):
            return Still(None, f"constant at {told}, as in the window", checked.seconds[0], 1.0)
        low, high = float(checked.values.min()), float(checked.values.max())
        words = f"constant at {told} for {format_count(len(window), 'reading')}, "
        words += f"now {format_value(low)} to {format_value(high, unit or None)}"
        moved = float(since.seconds[np.argmax(since.values != constant)])
        return Still(DriftKind.ALIVE, words, moved, 1 / len(window))
    run, usual = plateaus(checked.values)[-1], int(plateaus(window.values).max())
    if run < max(STUCK_SHARE * len(checked), FEWEST_READINGS / 2, STUCK_FACTOR * usual):
        return None
    whole = int(plateaus(since.values)[-1])
    held = format_value(float(checked.values[-1]), unit or None)
    words = f"stuck at {held} for {format_count(whole, 'reading')}"
    return Still(DriftKind.STUCK, words, float(since.seconds[-whole]), usual / whole / (blocks + 1))


def plateaus(values: Floats) -> NDArray[np.int64]:
    """How many equal readings stand in each row of them.

    >>> plateaus(np.array([1.0, 1.0, 2.0, 3.0, 3.0, 3.0])).tolist()
    [2, 1, 3]
    """
    edges = np.flatnonzero(np.diff(values) != 0) + 1
    return np.diff(np.concatenate([[0], edges, [len(values)]]))
