"""Since when, and at once or slowly: the loudest statistic among all readings since the window.

Knows cells of time, a step and a ramp. Whether there is drift was decided before.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.blocks import Blocks
from monitoring.drift.judgement import Finding
from monitoring.drift.statistics import Readings, Ruler, cells_since
from training.anomaly.seasonal_profile import DAY

Floats = NDArray[np.float64]

SLOWER = 0.7  # a ramp must leave this share of what the best step leaves, to be told as one
LEAST = 6  # cells, to tell a ramp from a step
MOST_TRIED = 200  # beginnings


@dataclass(frozen=True)
class Onset:
    """When a drift began, in seconds of the epoch; where it came slowly, by how much a day."""

    begun: float
    per_day: float | None = None


def onset(since: Readings, blocks: Blocks, ruler: Ruler, window: Readings, finding: Finding) -> Onset:
    """Fit a step and a ramp, each lasting to the newest reading, to what came since the window."""
    series, starts = cells_since(since, window, blocks, ruler, finding.statistic)
    known = np.flatnonzero(np.isfinite(series))
    if len(known) < LEAST:
        return Onset(max(blocks.checked_from, float(since.seconds[0])))
    moved = series[known] - finding.before
    days = starts[known] / DAY
    step_left, step = min(_step_left(moved, place) for place in _places(len(moved) - 1))
    ramp_left, ramp = min(_ramp_left(moved, days, place) for place in _places(len(moved) - LEAST + 1))
    if ramp_left < SLOWER * step_left:
        begun = float(starts[known[ramp]])
        passed = days[ramp:] - days[ramp]
        return Onset(begun, float(moved[ramp:] @ passed / (passed @ passed)))
    return Onset(max(float(starts[known[step]]), float(since.seconds[0])))


def moment_of(seconds: float) -> datetime:
    """A naive UTC time.

    >>> moment_of(1_767_225_600.0)
    datetime.datetime(2026, 1, 1, 0, 0)
    """
    return datetime.fromtimestamp(round(seconds), UTC).replace(tzinfo=None)


def seconds_of(moment: datetime) -> float:
    """The inverse of `moment_of`, to the microsecond."""
    return moment.replace(tzinfo=UTC).timestamp()


def _places(count: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, max(count - 1, 0), MOST_TRIED)})


def _step_left(moved: Floats, place: int) -> tuple[float, int]:
    after = moved[place:]
    return float((moved[:place] ** 2).sum() + ((after - after.mean()) ** 2).sum()), place


def _ramp_left(moved: Floats, days: Floats, place: int) -> tuple[float, int]:
    passed = days[place:] - days[place]
    slope = float(moved[place:] @ passed / max(passed @ passed, 1e-12))
    return float((moved[:place] ** 2).sum() + ((moved[place:] - slope * passed) ** 2).sum()), place
