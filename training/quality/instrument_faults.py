"""Find instrument faults in an array of values, oldest first: standstills, spikes and dropouts.

The rules are conservative: unusual behaviour of a process must stay in the data for the detector, and a few
bad readings in a training window do less harm than real behaviour that was excluded. What a finding means for
training is decided in `training.quality.fault_checks`.
"""

import numpy as np
from scipy.ndimage import median_filter

from training.common.arrays import Floats, IndexRuns, equal_runs, true_runs
from training.common.sampling import Stamps

NO_RUNS = IndexRuns(np.empty(0, np.int64), np.empty(0, np.int64))
MIN_READINGS = 30  # for a running median to show the range of a sensor
MEDIAN_READINGS = 7  # an excursion of up to three readings does not move a running median of this width


def find_standstills(
    stamps: Stamps, values: Floats, *, min_readings: int, duration: int, factor: float, habit: int
) -> IndexRuns:
    """Runs of equal values far longer than is normal for this sensor.

    A run counts if it has `min_readings`, lasts `duration` microseconds and is `factor` times as long as the
    `habit`-th longest run. A valve or a set-point, which rests more than it moves, is never reported.
    """
    runs = equal_runs(values)
    if len(runs.firsts) <= habit:
        return NO_RUNS
    usual = np.partition(runs.counts, -habit)[-habit]
    lasted = stamps[runs.lasts] - stamps[runs.firsts]
    standstills = runs.where((runs.counts >= max(min_readings, factor * usual)) & (lasted >= duration))
    return NO_RUNS if is_naturally_still(standstills, len(values)) else standstills


def is_naturally_still(standstills: IndexRuns, total: int) -> bool:
    """Whether standstills are normal for this sensor: they hold most readings, with short moves between them.

    A sensor that failed moved before for 500 readings, or for a fifth of a usual standstill.
    """
    if 2 * standstills.counts.sum() <= total:
        return False
    moving = np.concatenate((standstills.firsts, [total])) - np.concatenate(([0], standstills.lasts + 1))
    return bool(moving.max() < min(500, np.median(standstills.counts) / 5))


def find_excursions(
    stamps: Stamps,
    values: Floats,
    *,
    max_readings: int,
    duration: int,
    max_gap: int,
    beyond: float,
    steepness: float,
) -> IndexRuns:
    """Short excursions out of the normal range of a sensor that return to where they began.

    The normal range is that of the running median. An excursion leaves it by `beyond` times its width, has at
    most `max_readings` within `duration` microseconds, and the readings before and after it are near each
    other and at most `max_gap` microseconds away. The smallest jump of an excursion must be `steepness` times
    the largest ordinary jump and every excursion below it: a sensor with bursts of all sizes has none.
    """
    if len(values) < MIN_READINGS:
        return NO_RUNS
    median = median_filter(values, size=MEDIAN_READINGS, mode="nearest")
    margin = beyond * (median.max() - median.min())
    if margin == 0:
        return NO_RUNS
    excursions = true_runs((values < median.min() - margin) | (values > median.max() + margin))
    excursions = excursions.where((excursions.firsts > 0) & (excursions.lasts < len(values) - 1))
    first, last = excursions
    before, after = first - 1, last + 1
    jumps = np.minimum(np.abs(values[first] - values[before]), np.abs(values[last] - values[after]))
    accepted = (
        (excursions.counts <= max_readings)
        & (stamps[last] - stamps[first] <= duration)
        & (stamps[first] - stamps[before] <= max_gap)
        & (stamps[after] - stamps[last] <= max_gap)
        & (np.abs(values[after] - values[before]) < jumps / 2)
        & (jumps >= first_gap(ordinary_jumps(values, excursions), jumps, steepness))
    )
    return excursions.where(accepted)


def ordinary_jumps(values: Floats, excursions: IndexRuns) -> float:
    """The largest jump of a single reading away and back, outside the excursions."""
    moves = np.abs(np.diff(values))
    both_ways = np.minimum(moves[:-1], moves[1:])
    near = IndexRuns(np.maximum(excursions.firsts - 1, 0), excursions.lasts + 1).covers(len(values))[1:-1]
    return float(both_ways[~near].max(initial=0.0))


def first_gap(ordinary: float, jumps: Floats, factor: float) -> float:
    """The smallest jump that is `factor` times the next smaller one; infinite where there is none.

    >>> first_gap(2.0, np.array([3.0, 40.0, 50.0]), factor=3)
    40.0
    """
    sizes = np.sort(np.append(jumps, ordinary))
    sizes = sizes[np.searchsorted(sizes, ordinary) :]
    gaps = np.flatnonzero(sizes[1:] > factor * sizes[:-1])
    return float(sizes[gaps[0] + 1]) if len(gaps) else np.inf
