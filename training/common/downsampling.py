"""Fewer points for the eye: a year of minute readings as a line that looks the same, extremes included.

Knows arrays of times and values. A spike of one reading is never lost: of each stretch the lowest and the
highest value stay, where they were.
"""

import numpy as np
import pandas as pd

from training.common.arrays import Floats, Ints
from training.common.sampling import infer_step_us

Indices = Ints

MAX_BUCKETS = 900  # of a chart's width; each keeps up to four readings
GAP_STEPS = 8  # steps without a reading, after which a line is broken


def downsample_indices(times: Ints, values: Floats, stretches: int = MAX_BUCKETS) -> Indices:
    """The places of the first, lowest, highest and last value of each stretch of equal time, in order.

    >>> times, values = np.arange(1_000), np.zeros(1_000)
    >>> values[567] = 9.0
    >>> 567 in kept_places(times, values, stretches=10), len(kept_places(times, values, stretches=10))
    (True, 21)
    """
    if len(values) <= 4 * stretches:
        return np.arange(len(values))
    width = max(1, -(-int(times[-1] - times[0] + 1) // stretches))
    stretch = (times - times[0]) // width
    firsts = np.flatnonzero(np.diff(stretch, prepend=-1))
    lasts = np.append(firsts[1:], len(values)) - 1
    # Sorted by value within each stretch, its lowest comes first and its highest last.
    order = np.lexsort((values, stretch))
    return np.unique(np.concatenate([firsts, order[firsts], order[lasts], lasts]))


def downsample(readings: pd.DataFrame, stretches: int = MAX_BUCKETS) -> pd.DataFrame:
    """Readings (`timestamp, value`, oldest first) thinned out; an empty value breaks the line at a gap."""
    if readings.empty:
        return readings
    times = readings["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
    thin = readings.iloc[downsample_indices(times, readings["value"].to_numpy(np.float64), stretches)]
    step = infer_step_us(times)
    if step is None:
        return thin.reset_index(drop=True)
    # A gap is one of the readings, not of those that were kept of them.
    gap_starts = np.flatnonzero(np.diff(times) > GAP_STEPS * step)
    breaks = pd.DataFrame({"timestamp": (times[gap_starts] + step).astype("datetime64[us]"), "value": np.nan})
    if breaks.empty:
        return thin.reset_index(drop=True)
    with_breaks = pd.concat([thin, breaks]).sort_values("timestamp", kind="stable")
    return with_breaks.reset_index(drop=True)
