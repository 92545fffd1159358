"""Detect readings that do not change: a stuck sensor, a constant one, and one that started to move.

Where either side is constant there are no statistics to compare; those are in `statistics` and `judgement`.
"""

from dataclasses import dataclass

import numpy as np

from monitoring.drift.blocks import MIN_READINGS
from monitoring.drift.kinds import DriftKind
from monitoring.drift.statistics import Readings
from training.common.arrays import equal_runs
from training.reasons import Reason, ReasonCode

MIN_STUCK_SHARE = 0.5  # of the block, unchanged
MIN_STUCK_FACTOR = 2.0  # times the longest plateau of the window


@dataclass(frozen=True)
class StillnessResult:
    """The finding where one side is constant; without a kind, nothing changed."""

    kind: DriftKind | None
    reason: Reason
    began_at: float
    p: float


def check_stillness(
    window: Readings, checked: Readings, since: Readings, *, blocks: int, unit: str
) -> StillnessResult | None:
    """The finding for a block or a window that does not change; None where both do.

    The window is `blocks` blocks long and has no plateau this long: one more block would have one with
    probability 1 / (blocks + 1), and a plateau n times longer with a probability n times smaller.
    """
    if np.ptp(window.values) == 0:
        return _check_constant_window(window, checked, since, unit)
    run = int(equal_runs(checked.values).counts[-1])
    longest_usual = int(equal_runs(window.values).counts.max())
    if run < max(MIN_STUCK_SHARE * len(checked), MIN_READINGS / 2, MIN_STUCK_FACTOR * longest_usual):
        return None
    total_run = int(equal_runs(since.values).counts[-1])
    values = {"value": float(checked.values[-1]), "readings": total_run, "unit": unit}
    return StillnessResult(
        DriftKind.STUCK,
        Reason(ReasonCode.DRIFT_STUCK, values),
        float(since.seconds[-total_run]),
        longest_usual / total_run / (blocks + 1),
    )


def _check_constant_window(
    window: Readings, checked: Readings, since: Readings, unit: str
) -> StillnessResult:
    constant = float(window.values[0])
    values = {"value": constant, "unit": unit}
    if np.all(checked.values == constant):
        return StillnessResult(
            None, Reason(ReasonCode.DRIFT_CONSTANT, values), float(checked.seconds[0]), 1.0
        )
    values |= {
        "readings": len(window),
        "low": float(checked.values.min()),
        "high": float(checked.values.max()),
    }
    first_move = float(since.seconds[np.argmax(since.values != constant)])
    reason = Reason(ReasonCode.DRIFT_STARTED_MOVING, values)
    return StillnessResult(DriftKind.STARTED_MOVING, reason, first_move, 1 / len(window))
