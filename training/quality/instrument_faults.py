"""Instrument faults in a row of values: what no process does and only an instrument can.

Knows arrays, oldest first: stretches that stand still, spikes, dropouts. Each finder is slow to accuse: a
process that moves oddly must stay in the data to be judged, and a few bad readings in a training window do
less harm than real behaviour cut out of it. What a finding means for training is `quality`'s.
"""


import numpy as np
from scipy.ndimage import median_filter

from training.common.arrays import Floats, IndexRuns, true_runs
from training.common.sampling import Stamps


def find_standstills(
    stamps: Stamps, values: Floats, *, min_readings: int, duration: int, factor: float, habit: int
) -> IndexRuns:
    """Where a value stood still far longer than this sensor does by habit.

    What it did `habit` times is a habit: a stretch must be `factor` times the `habit`-th longest one, and
    have at least `least` readings and `duration` microseconds. A valve or a set-point, which stands still
    more than it moves, is never accused.
    """
    moves = np.flatnonzero(values[1:] != values[:-1]) + 1
    runs = IndexRuns(np.concatenate(([0], moves)), np.concatenate((moves, [len(values)])) - 1)
    if len(runs.firsts) <= habit:
        return runs.where(runs.counts < 0)
    usual = np.partition(runs.counts, -habit)[-habit]
    lasted = stamps[runs.lasts] - stamps[runs.firsts]
    runs_found = runs.where((runs.counts >= max(min_readings, factor * usual)) & (lasted >= duration))
    return (
        runs_found.where(runs_found.counts < 0) if is_naturally_still(runs_found, len(values)) else runs_found
    )


def is_naturally_still(standstills: IndexRuns, total: int) -> bool:
    """Whether standing still is this sensor's way: most of its readings, and only short moves in between.

    A gauge that died had a life before: 500 readings of it, or a fifth of a usual stretch.
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
    """Short excursions out of everything the sensor ever showed for longer, that come straight back.

    The sensor's world is the range of its running median, which no excursion of up to three readings moves.
    An island lies outside it by `beyond` times its width, has at most `longest` readings within `duration`
    microseconds, and its two shores are near each other and at most `apart` microseconds away. A sensor whose
    bursts come in all sizes has no islands: between its largest ordinary jump there and back and the smallest
    one called an island lies a factor of `steepness` with nothing in it.
    """
    none = IndexRuns(np.empty(0, np.int64), np.empty(0, np.int64))
    if len(values) < 30:
        return none
    course = median_filter(values, size=7, mode="nearest")
    margin = beyond * (course.max() - course.min())
    if margin == 0:
        return none
    excursions = true_runs((values < course.min() - margin) | (values > course.max() + margin))
    excursions = excursions.where((excursions.firsts > 0) & (excursions.lasts < len(values) - 1))
    first, last, before, after = (
        excursions.firsts,
        excursions.lasts,
        excursions.firsts - 1,
        excursions.lasts + 1,
    )
    jumps = np.minimum(np.abs(values[first] - values[before]), np.abs(values[last] - values[after]))
    accepted = (
        (excursions.counts <= max_readings)
        & (stamps[last] - stamps[first] <= duration)
        & (stamps[first] - stamps[before] <= max_gap)
        & (stamps[after] - stamps[last] <= max_gap)
        & (np.abs(values[after] - values[before]) < jumps / 2)
    )
    return excursions.where(
        accepted & (jumps >= first_gap(ordinary_jumps(values, excursions), jumps, steepness))
    )


def ordinary_jumps(values: Floats, excursions: IndexRuns) -> float:
    """The largest jump there and back of a single reading outside the islands."""
    moves = np.abs(np.diff(values))
    both_ways = np.minimum(moves[:-1], moves[1:])
    near = IndexRuns(np.maximum(excursions.firsts - 1, 0), excursions.lasts + 1).covers(len(values))[1:-1]
    return float(both_ways[~near].max(initial=0.0))


def first_gap(ordinary: float, jumps: Floats, factor: float) -> float:
    """The smallest jump that is `factor` times the next smaller one; infinite where there is none.

    >>> first_gap(2.0, np.array([3.0, 40.0, 50.0]), factor=3)
    40.0
    """
    ladder = np.sort(np.append(jumps, ordinary))
    ladder = ladder[np.searchsorted(ladder, ordinary) :]
    gaps = np.flatnonzero(ladder[1:] > factor * ladder[:-1])
    return float(ladder[gaps[0] + 1]) if len(gaps) else np.inf
