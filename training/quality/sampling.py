"""How often a sensor speaks, and how finely.

Knows time stamps and distinct values: the step, its phase, the gaps, the resolution. Knows nothing of faults.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.common.arrays import Floats

Stamps = NDArray[np.int64]  # microseconds since 1970, ascending

MICROSECOND = timedelta(microseconds=1)
STEP_UNITS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1)
COMMON_VALUES_SHARE = 0.9  # share of the readings that a sensor's common values make up
SNAP_TOLERANCE = (
    0.03  # how far, as a share, a step may be moved to become a whole number of days, hours, minutes, ...
)


def microseconds(timestamps: pd.DatetimeIndex) -> Stamps:
    """The same numbers on every machine and pandas, whatever unit the index is kept in."""
    return np.asarray(timestamps.as_unit("us").asi8)


def infer_step(timestamps: pd.DatetimeIndex) -> timedelta | None:
    """The time from one reading to the next, as a person would say it; None for fewer than two stamps.

    The commonest interval where one is common, else the middle one, made a whole number of the largest unit
    that is near enough. Gaps, repeats and the order of the stamps do not matter.

    >>> infer_step(pd.DatetimeIndex(["2026-01-01 00:00:01", "2026-01-01 00:05:00", "2026-01-01 00:09:58"]))
    datetime.timedelta(seconds=300)
    """
    intervals = np.diff(np.unique(microseconds(timestamps)))
    if not len(intervals):
        return None
    lengths, counts = np.unique(intervals, return_counts=True)
    if counts.max() * 2 > len(intervals):
        return int(lengths[counts.argmax()]) * MICROSECOND
    return round_to_unit(float(np.median(intervals))) * MICROSECOND


def round_to_unit(interval: float) -> int:
    """The whole number of days, hours, ... closest to an interval in microseconds, largest unit first."""
    for unit in STEP_UNITS:
        multiple = round(interval / unit)
        if multiple and abs(multiple * unit - interval) <= SNAP_TOLERANCE * interval:
            return multiple * unit
    return max(1, round(interval))


def step_phase(stamps: Stamps, step: int) -> int:
    """Where in a step most readings come, in [0, step): five past the hour stays five past the hour."""
    offsets, counts = np.unique(stamps % step, return_counts=True)
    if counts.max() * 2 > len(stamps):
        return int(offsets[counts.argmax()])
    # Offsets lie on a circle: 59 minutes and 1 minute past are two minutes apart.
    mean = np.average(np.exp(2j * np.pi * offsets / step), weights=counts)
    if abs(mean) < 0.5:  # readings come at any moment of the step: no phase to keep
        return 0
    angle = np.angle(mean) / (2 * np.pi) * step
    tick = next(unit for unit in STEP_UNITS if unit * 20 <= step or unit == 1)
    return int(round(angle / tick) * tick) % step


def regularity(stamps: Stamps, step: int) -> float:
    """Share of intervals within a quarter of a step of a whole number of steps, in [0, 1]."""
    intervals = np.diff(stamps)
    if not len(intervals):
        return 1.0
    off = np.abs(intervals - np.maximum(1, np.round(intervals / step)) * step)
    return float(np.mean(off <= step / 4))


def resolution_of(values: Floats) -> float:
    """The step between neighbouring values a sensor can send; 0 where it sends only one.

    Read off the values it sends most, and there off the gap below which only a fifth of them lie:
    an averaged hour or the rounding noise of a sum puts values between the marks of the grid.

    >>> resolution_of(np.array([20.0, 20.5, 20.1, 20.1 + 1e-14, 20.3]))
    0.1
    """
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(distinct) < 2:
        return 0.0
    common = np.argsort(-counts, kind="stable")
    enough = int(np.searchsorted(np.cumsum(counts[common]), COMMON_VALUES_SHARE * counts.sum())) + 1
    # A quarter of each value, because the gap between 1e308 and -1e308 is infinite.
    grid_values = np.sort(distinct[common[: max(enough, 20)]]) / 4
    gaps = np.diff(grid_values)
    gaps = gaps[gaps > 1e-12 * np.abs(grid_values).max()]
    gap = np.quantile(gaps, 0.2, method="lower") if len(gaps) else 0.0
    return float(f"{4 * min(gap, 4e307):.6g}")
