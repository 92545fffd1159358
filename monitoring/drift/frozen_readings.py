"""Readings that do not move: a sensor that is stuck, one that was never alive, one that comes alive.

Knows plateaus. Where either side stands still there is nothing to compare statistics of.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.blocks import MIN_READINGS
from monitoring.drift.kinds import DriftKind
from monitoring.drift.statistics import Readings
from training.common.arrays import Floats
from training.common.formatting import format_count, format_value

MIN_STUCK_SHARE = 0.5  # of the block without any move
MIN_STUCK_FACTOR = 2.0  # longer than the longest plateau of the window


@dataclass(frozen=True)
class StillnessResult:
    """What is said where one side stands still; without a kind, nothing changed."""

    kind: DriftKind | None
    text: str
    began_at: float
    p: float


def check_stillness(
    window: Readings, checked: Readings, since: Readings, *, blocks: int, unit: str
) -> StillnessResult | None:
    """What to say of a block or a window without moves; None where both move.

    The window is `blocks` blocks long, and none held still for so long: one more would do so in one of
    `blocks + 1` cases, and for as many times longer, in as many times fewer.
    """
    if np.ptp(window.values) == 0:
        constant = float(window.values[0])
        constant_text = format_value(constant, unit or None)
        if np.all(checked.values == constant):
            return StillnessResult(
                None, f"constant at {constant_text}, as in the window", checked.seconds[0], 1.0
            )
        low, high = float(checked.values.min()), float(checked.values.max())
        text = f"constant at {constant_text} for {format_count(len(window), 'reading')}, "
        text += f"now {format_value(low)} to {format_value(high, unit or None)}"
        first_move = float(since.seconds[np.argmax(since.values != constant)])
        return StillnessResult(DriftKind.STARTED_MOVING, text, first_move, 1 / len(window))
    run, usual = plateau_lengths(checked.values)[-1], int(plateau_lengths(window.values).max())
    if run < max(MIN_STUCK_SHARE * len(checked), MIN_READINGS / 2, MIN_STUCK_FACTOR * usual):
        return None
    total_run = int(plateau_lengths(since.values)[-1])
    stuck_text = format_value(float(checked.values[-1]), unit or None)
    text = f"stuck at {stuck_text} for {format_count(total_run, 'reading')}"
    return StillnessResult(
        DriftKind.STUCK, text, float(since.seconds[-total_run]), usual / total_run / (blocks + 1)
    )


def plateau_lengths(values: Floats) -> NDArray[np.int64]:
    """How many equal readings stand in each row of them.

    >>> plateaus(np.array([1.0, 1.0, 2.0, 3.0, 3.0, 3.0])).tolist()
    [2, 1, 3]
    """
    edges = np.flatnonzero(np.diff(values) != 0) + 1
    return np.diff(np.concatenate([[0], edges, [len(values)]]))
