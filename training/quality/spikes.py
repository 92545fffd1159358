"""Find the spikes of an instrument: single readings that leave and return with the next one.

A judgement looks at the readings before and at one after, so that scores of stored readings and of readings
as they arrive are equal. Functions of arrays, for many sensors at once. Training windows are also searched
for longer faults, which need the whole window (`training.quality.instrument_faults`).
"""

import numpy as np

from training.common.arrays import Flags, Floats, Ints

CONTEXT_READINGS = 65  # before a reading, from which its ordinary changes are known
MIN_CONTEXT_READINGS = 16  # fewer show too little of a sensor
# A sensor that changes this much five times in its context does so by itself; two bad samples before this one
# (each a change away and a change back) are no such habit.
HABITUAL_CHANGES = 5
MIN_STEEPNESS = 5.0  # times the habitual change: 12 standard deviations of white noise
MIN_RESOLUTION_STEPS = 20.0  # times the smallest change, of a sensor that sends coarse steps
RETURN_SHARE = 0.25  # of the size of a spike, by which the readings before and after may differ
MAX_GAP_STEPS = 5.0  # longest time to the reading before and after, in sampling intervals
PREFILTER_CHANGES = 10  # newest changes that rule most readings out


def find_spikes(seconds: Floats, values: Floats, starts: Ints) -> Flags:
    """The single readings that leave by far more than is usual for their sensor and return with the next one.

    A step that stays is none, because its first reading does not return. Nor is a reading of a sensor whose
    readings before were all equal: how much it changes is not known.

    >>> values = np.tile([10.0, 10.1, 9.9, 10.2], 10)
    >>> values[25] = 15.0
    >>> np.flatnonzero(find_spikes(np.arange(40) * 60.0, values, np.zeros(40, int))).tolist()
    [25]
    """
    spikes = np.zeros(len(values), bool)
    if len(values) < MIN_CONTEXT_READINGS + 2:
        return spikes
    with np.errstate(over="ignore", invalid="ignore"):
        changes = np.abs(np.diff(values, prepend=values[:1]))
        places = _peaks(values, changes, starts)
        sizes = np.minimum(changes[places], changes[places + 1])
        is_large = sizes >= MIN_STEEPNESS * _usual_size(changes, places, starts)
        places, sizes = places[is_large], sizes[is_large]
        ordinary = _ordinary_size(changes, places, starts)
    places = places[(ordinary > 0) & (sizes >= ordinary)]
    spikes[places[_without_gap(seconds, places, starts)]] = True
    return spikes


def _peaks(values: Floats, changes: Floats, starts: Ints) -> Ints:
    """The readings whose neighbours are much nearer to each other than to them, with enough before them.

    `changes` are sizes. This is the only pass over all readings: it takes most of the time.
    """
    returned = np.abs(values[2:] - values[:-2]) <= RETURN_SHARE * np.minimum(changes[1:-1], changes[2:])
    places = np.flatnonzero(returned) + 1
    has_context = places - starts[places] >= MIN_CONTEXT_READINGS
    return np.asarray(places[has_context & (starts[places + 1] == starts[places])])


def _usual_size(changes: Floats, places: Ints, starts: Ints) -> Floats:
    """The habitual change among the newest changes before each place: a lower bound of that among all."""
    before = _changes_before(changes, places, starts, PREFILTER_CHANGES)
    return np.asarray(np.partition(before, -HABITUAL_CHANGES)[:, -HABITUAL_CHANGES])


def _ordinary_size(changes: Floats, places: Ints, starts: Ints) -> Floats:
    """From which size on a peak is no ordinary change; 0 where the sensor has not changed."""
    before = _changes_before(changes, places, starts, CONTEXT_READINGS - 1)
    habitual = np.partition(before, -HABITUAL_CHANGES)[:, -HABITUAL_CHANGES]
    smallest = np.where(before > 0, before, np.inf).min(axis=1)
    smallest[np.isinf(smallest)] = 0.0
    return np.asarray(np.maximum(MIN_STEEPNESS * habitual, MIN_RESOLUTION_STEPS * smallest))


def _changes_before(changes: Floats, places: Ints, starts: Ints, count: int) -> Floats:
    """The changes before each place, 0 where there are none; one row each."""
    positions = places[:, None] - 1 - np.arange(count)
    return np.where(positions > starts[places][:, None], changes[np.maximum(positions, 0)], 0.0)


def _without_gap(seconds: Floats, places: Ints, starts: Ints) -> Flags:
    """Whether the readings before and after each place are as near in time as usual."""
    longest = np.zeros(len(places))
    for number, place in enumerate(places.tolist()):
        first = max(int(starts[place]), place - CONTEXT_READINGS)
        longest[number] = MAX_GAP_STEPS * np.median(np.diff(seconds[first:place]))
    before, after = seconds[places] - seconds[places - 1], seconds[places + 1] - seconds[places]
    return np.asarray((before <= longest) & (after <= longest))
