"""Sampling of a sensor: the step between readings, and the resolution of the values.

Functions of times and values. Does not judge them; that is `training.quality.fault_checks`.
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from training.common.arrays import Floats, Ints

Stamps = Ints  # microseconds since 1970, ascending

MICROSECOND = timedelta(microseconds=1)
STEP_UNITS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1)
SNAP_TOLERANCE = 0.03  # share by which a step may be moved to a whole number of days, hours, minutes, ...
SIMILAR_RATIO = 1.25  # intervals that differ by less count as one step with jitter
COMMON_VALUES_SHARE = 0.9  # share of the readings that a sensor's common values make up


def microseconds(timestamps: pd.DatetimeIndex) -> Stamps:
    """Microseconds since 1970, whatever unit the index is kept in."""
    return np.asarray(timestamps.as_unit("us").asi8)


def infer_step(timestamps: pd.DatetimeIndex) -> timedelta | None:
    """The usual time from one reading to the next; None for fewer than two different times.

    Gaps, repeats and the order of the times do not matter.

    >>> infer_step(pd.DatetimeIndex(["2026-01-01 00:00:01", "2026-01-01 00:05:00", "2026-01-01 00:09:58"]))
    datetime.timedelta(seconds=300)
    """
    step = infer_step_us(microseconds(timestamps))
    return None if step is None else step * MICROSECOND


def infer_step_us(stamps: Stamps) -> int | None:
    """The same from microseconds to microseconds.

    The commonest interval where it makes up the majority. Otherwise the centre of the commonest group of
    similar intervals, as a whole number of the largest unit that fits.
    """
    # The median was right as long as half of the readings arrive: of hourly readings with 5 % jitter, 40 %
    # of them present, it was right in 0 % of simulated series, the commonest group in 86 %. Both agree on all
    # 588 series of the benchmarks.
    intervals = np.sort(np.diff(np.unique(stamps)))
    if not len(intervals):
        return None
    lengths, counts = np.unique(intervals, return_counts=True)
    if counts.max() * 2 > len(intervals):
        return int(lengths[counts.argmax()])
    lowest = np.searchsorted(intervals, intervals / SIMILAR_RATIO)
    highest = np.searchsorted(intervals, intervals * SIMILAR_RATIO, side="right")
    commonest = int((highest - lowest).argmax())
    similar = intervals[lowest[commonest] : highest[commonest]]
    lengths, counts = np.unique(similar, return_counts=True)
    if counts.max() * 2 > len(similar):
        return int(lengths[counts.argmax()])
    return round_to_unit(float(np.median(similar)))


def round_to_unit(interval: float) -> int:
    """The whole number of days, hours, ... closest to an interval in microseconds, largest unit first."""
    for unit in STEP_UNITS:
        multiple = round(interval / unit)
        if multiple and abs(multiple * unit - interval) <= SNAP_TOLERANCE * interval:
            return multiple * unit
    return max(1, round(interval))


def regularity(stamps: Stamps, step: int) -> float:
    """Share of intervals within a quarter of a step of a whole number of steps, in [0, 1]."""
    intervals = np.diff(stamps)
    if not len(intervals):
        return 1.0
    off = np.abs(intervals - np.maximum(1, np.round(intervals / step)) * step)
    return float(np.mean(off <= step / 4))


def resolution_of(values: Floats) -> float:
    """The difference between neighbouring values that a sensor can send; 0 where it sends only one value.

    The gap below which only a fifth of the gaps between the commonest values lie: averages and rounding
    errors of sums put rare values between the marks of the scale.

    >>> resolution_of(np.array([20.0, 20.5, 20.1, 20.1 + 1e-14, 20.3]))
    0.1
    """
    # The 10 % quantile of all gaps, or 0 where fewer than half of the readings repeat, gave the detector the
    # same VUS-PR (0.541 on 73 series, 0.531 on 131), but 0.0016 for a pH sensor that sends steps of 0.01.
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
