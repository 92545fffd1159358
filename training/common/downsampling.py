"""Thin out readings for a chart so that the line looks the same.

Divides the time into equal buckets and keeps the first, lowest, highest and last value of each, so that a
spike of one reading stays visible.
"""

import numpy as np
import pandas as pd

from training.common.arrays import Floats, Ints
from training.common.sampling import infer_step_us

MAX_BUCKETS = 900  # in a chart's width; each keeps up to four readings
GAP_STEPS = 8  # steps without a reading after which the line is broken


def downsample_indices(times: Ints, values: Floats, buckets: int = MAX_BUCKETS) -> Ints:
    """Positions of the first, lowest, highest and last value of each bucket of equal time, ascending.

    >>> times, values = np.arange(1_000), np.zeros(1_000)
    >>> values[567] = 9.0
    >>> kept = downsample_indices(times, values, buckets=10)
    >>> 567 in kept, len(kept)
    (True, 21)
    """
    if len(values) <= 4 * buckets:
        return np.arange(len(values))
    width = max(1, -(-int(times[-1] - times[0] + 1) // buckets))
    bucket = (times - times[0]) // width
    firsts = np.flatnonzero(np.diff(bucket, prepend=-1))
    lasts = np.append(firsts[1:], len(values)) - 1
    # Sorted by value within each bucket, the lowest comes first and its highest last.
    order = np.lexsort((values, bucket))
    return np.unique(np.concatenate([firsts, order[firsts], order[lasts], lasts]))


def downsample(readings: pd.DataFrame, buckets: int = MAX_BUCKETS) -> pd.DataFrame:
    """Readings (`timestamp, value`, oldest first) thinned out, with a NaN in each gap to break the line."""
    if readings.empty:
        return readings
    times = readings["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
    thin = readings.iloc[downsample_indices(times, readings["value"].to_numpy(np.float64), buckets)]
    step = infer_step_us(times)
    if step is None:
        return thin.reset_index(drop=True)
    # Gaps between all readings: those that were kept lie further apart without one missing.
    gap_starts = np.flatnonzero(np.diff(times) > GAP_STEPS * step)
    breaks = pd.DataFrame({"timestamp": (times[gap_starts] + step).astype("datetime64[us]"), "value": np.nan})
    if breaks.empty:
        return thin.reset_index(drop=True)
    with_breaks = pd.concat([thin, breaks]).sort_values("timestamp", kind="stable")
    return with_breaks.reset_index(drop=True)
