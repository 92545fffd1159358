"""Take bad samples out of the readings that scores look back on.

A spike or a reading out of range is scored itself, but is no history of the readings after it: windowed
features would carry one bad sample through the next 64 scores. Spikes are found in
`training.quality.spikes`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from serving.recent_readings import Tail
from training.common.arrays import Flags, Ints
from training.data.physical_range import PhysicalRange, outside_ranges
from training.quality.spikes import CONTEXT_READINGS, find_spikes

BAD_SHARE = 8  # one bad sample in this many readings leaves enough history


class CleanPart(NamedTuple):
    """Readings to score with a history without bad samples; `places` are their positions in the request."""

    asked: Tail
    before: Tail
    places: Ints


def raw_history(context: int) -> int:
    """How many readings to look back on for `context` ones without bad samples."""
    return context + CONTEXT_READINGS + context // BAD_SHARE


def mark_bad_samples(readings: Sequence[tuple[Tail, Tail]], ranges: Sequence[PhysicalRange]) -> list[Flags]:
    """The bad samples of each sensor among the readings before and those to score, in order of time."""
    lengths = np.array([len(before.seconds) + len(asked.seconds) for asked, before in readings])
    starts = np.cumsum(lengths) - lengths
    seconds = np.concatenate([tail.seconds for asked, before in readings for tail in (before, asked)])
    values = np.concatenate([tail.values for asked, before in readings for tail in (before, asked)])
    is_bad = find_spikes(seconds, values, np.repeat(starts, lengths))
    if any(limits.is_limited for limits in ranges):
        is_bad |= outside_ranges(values, ranges, np.repeat(np.arange(len(lengths)), lengths))
    return [is_bad[first : first + length] for first, length in zip(starts, lengths, strict=True)]


def split_bad_samples(asked: Tail, before: Tail, is_bad: Flags) -> Iterator[CleanPart]:
    """The good readings to score, and each bad sample by itself, all with good readings as history."""
    seconds = np.concatenate([before.seconds, asked.seconds])
    values = np.concatenate([before.values, asked.values])
    earlier = len(before.seconds)

    def good_before(end: int) -> Tail:
        good = ~is_bad[:end]
        return Tail(seconds[:end][good], values[:end][good], before.whole)

    good = np.flatnonzero(~is_bad[earlier:])
    if len(good):
        yield CleanPart(Tail(asked.seconds[good], asked.values[good]), good_before(earlier), good)
    for place in np.flatnonzero(is_bad[earlier:]).tolist():
        yield CleanPart(asked.part(place, place + 1), good_before(earlier + place), np.array([place]))
