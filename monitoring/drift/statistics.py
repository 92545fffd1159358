"""What is compared: a window and a later block as a few series over their cells.

Knows readings and, where given, detector scores and forecast errors: two edges of the values; the level,
edges, noise and spread of what deviates from the daily course; the depth of that course; the share missing
and the step between readings. Leaves to `drift_null` how far each moves by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.blocks import CELLS, HALVES, Blocks
from training.anomaly.robust_statistics import robust_spread
from training.anomaly.seasonal_profile import DAY, SeasonalProfile, fit_seasonal_profile

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]

FARTHEST = 5.0  # robust sd from the centre beyond which a reading says no more about the level
EDGES = (0.05, 0.95)
MOST_CELLS = 50_000  # between a window and a check, in which the beginning of a drift is looked for
FILLED = 0.3  # of the usual number of readings, for a cell to count
# A course must explain readings that it was not learned from, or its slots are noise put into the deviation.
DAILY = ((DAY, 24),)


@dataclass(frozen=True)
class Readings:
    """Readings in order of time; scores and errors are NaN or empty where nobody gave them."""

    seconds: Floats
    values: Floats
    scores: Floats
    errors: Floats

    def __len__(self) -> int:
        return len(self.seconds)

    def between(self, start: float, end: float) -> "Readings":
        """Those from `start` on and before `end`."""
        part = slice(*np.searchsorted(self.seconds, [start, end]).tolist())
        return Readings(self.seconds[part], self.values[part], self.scores[part], self.errors[part])


@dataclass(frozen=True)
class Statistic:
    """One thing that may drift."""

    name: str
    channel: str  # what it is told under: value, course, score, error, missing, step
    weight: float  # of the false-alarm rate, beside the others
    per_block: int
    floor: float  # a shift as small is not worth a word
    rising: bool = False  # only more of it is drift: smaller errors harm nobody


STATISTICS = {
    one.name: one
    for one in (
        Statistic("level", "course", 1.0, CELLS, 0.0),
        Statistic("noise", "course", 1.0, CELLS, 0.02),
        Statistic("spread", "course", 0.5, HALVES, 0.02),
        Statistic("cycle", "course", 0.5, HALVES, 0.02),
        Statistic("below", "course", 1.0, HALVES, 0.1),
        Statistic("above", "course", 1.0, HALVES, 0.1),
        Statistic("low", "value", 1.0, HALVES, 0.1),
        Statistic("high", "value", 1.0, HALVES, 0.1),
        Statistic("score", "score", 0.25, HALVES, 0.1, rising=True),
        Statistic("error", "error", 0.25, HALVES, 0.1, rising=True),
        Statistic("missing", "missing", 0.25, HALVES, 0.05, rising=True),
        Statistic("step", "step", 0.25, HALVES, 0.1),
    )
}


@dataclass(frozen=True)
class Series:
    """A statistic over the cells of the window and of the block that is checked, NaN in empty cells."""

    statistic: Statistic
    window: Floats
    checked: Floats


@dataclass(frozen=True)
class Ruler:
    """What a window is measured by: its daily course, centre and sizes."""

    course: SeasonalProfile | None
    centre: float
    robust: float  # spread of what deviates from the course, as the bulk of the readings shows it
    spread: float  # standard deviation of the values

    def expected(self, seconds: Floats) -> Floats:
        """The usual deviation from the centre at these times."""
        return np.zeros(len(seconds)) if self.course is None else self.course.at(seconds) - self._level

    @property
    def _level(self) -> float:
        assert self.course is not None
        return float(np.mean(self.course.usual))


def ruler_of(window: Readings, *, step: float) -> Ruler:
    """Learn what is usual in a window."""
    course = fit_seasonal_profile(window.seconds, window.values, step=step, cycles=DAILY)
    usual = 0.0 if course is None else course.at(window.seconds) - float(np.mean(course.usual))
    left = window.values - usual
    spread = float(window.values.std())
    return Ruler(course, float(np.median(left)), robust_spread(left) or spread, spread)


def series_of(window: Readings, checked: Readings, blocks: Blocks, ruler: Ruler) -> Iterator[Series]:
    """Every statistic that both sides can tell."""
    for per_block, measure in ((CELLS, _fine), (HALVES, _coarse)):
        past = _Cut(blocks.past_cells(window.seconds, per_block), blocks.count * per_block)
        now = _Cut(blocks.checked_cells(checked.seconds, per_block), per_block)
        scale = _Scale(blocks.length / per_block / blocks.step)
        before = measure(window, past, ruler, scale)
        after = measure(checked, now, ruler, scale)
        for name, series in before.items():
            enough = max(8, 3 * per_block)
            if np.isfinite(series).sum() >= enough and name in after and np.isfinite(after[name]).any():
                yield Series(STATISTICS[name], series, after[name])


def cells_since(
    since: Readings, window: Readings, blocks: Blocks, ruler: Ruler, statistic: Statistic
) -> tuple[Floats, Floats]:
    """One statistic over the cells from the window to the end of the check, and when each cell begins."""
    width = blocks.length / statistic.per_block
    count = int(np.ceil((blocks.checked_to - blocks.end) / width - 1e-9))
    count = min(max(count, statistic.per_block), MOST_CELLS)
    begin = blocks.checked_to - count * width
    measure, scale = (_fine if statistic.per_block == CELLS else _coarse), _Scale(width / blocks.step)
    past = blocks.past_cells(window.seconds, statistic.per_block)
    measure(window, _Cut(past, blocks.count * statistic.per_block), ruler, scale)
    cells = np.floor((since.seconds - begin) / width + 1e-9).astype(np.int64)
    series = measure(since, _Cut(cells, count), ruler, scale)[statistic.name]
    return series, np.asarray(begin + width * np.arange(count), np.float64)


class _Cut:
    """Readings by cell; those outside of the cells are left out."""

    def __init__(self, cells: Cells, count: int) -> None:
        self.inside = (cells >= 0) & (cells < count)
        self.cells, self.count = cells[self.inside], count
        self.sizes = np.bincount(self.cells, minlength=count).astype(np.float64)

    def mean(self, values: Floats) -> Floats:
        """The mean of each cell, NaN without a reading."""
        return _divided(_sums(self.cells, values, self.count), self.sizes)

    def filled(self, usual: float, least: float = 1.0) -> NDArray[np.bool_]:
        """Cells with enough readings."""
        return self.sizes >= max(least, FILLED * usual)


class _Scale:
    """What the window's cells are like; learned from the first series measured, kept for the second."""

    def __init__(self, expected: float) -> None:
        self.expected = expected  # readings a cell, were none missing
        self._kept: dict[str, float] = {}

    def of(self, name: str, values: Floats) -> float:
        """The middle of the window's positive values under this name."""
        if name not in self._kept:
            positive = values[np.isfinite(values) & (values > 0)]
            self._kept[name] = float(np.median(positive)) if len(positive) else 0.0
        return self._kept[name]


def _fine(readings: Readings, cut: _Cut, ruler: Ruler, scale: _Scale) -> dict[str, Floats]:
    seconds, values = readings.seconds[cut.inside], readings.values[cut.inside]
    left = (values - ruler.expected(seconds) - ruler.centre) / ruler.robust
    level = cut.mean(np.clip(left, -FARTHEST, FARTHEST))
    level[~cut.filled(scale.of("filled", cut.sizes))] = np.nan
    pairs = np.flatnonzero(cut.cells[1:] == cut.cells[:-1])
    moves = np.minimum(np.abs(np.diff(left)[pairs]), 4 * FARTHEST)
    counts = np.bincount(cut.cells[pairs], minlength=cut.count).astype(np.float64)
    noise = _divided(_sums(cut.cells[pairs], moves, cut.count), counts)
    usual = scale.of("moves", noise)
    noise[counts < max(1.0, FILLED * scale.of("pairs", counts))] = np.nan
    return {"level": level, "noise": np.log(noise + 0.1 * usual + 1e-9)}


def _coarse(readings: Readings, cut: _Cut, ruler: Ruler, scale: _Scale) -> dict[str, Floats]:
    seconds, values = readings.seconds[cut.inside], readings.values[cut.inside]
    expected = ruler.expected(seconds)
    left = np.clip((values - expected - ruler.centre) / ruler.robust, -8.0, 8.0)
    empty = ~cut.filled(scale.of("filled", cut.sizes), least=3.0)
    spread = np.sqrt(np.maximum(cut.mean((left - cut.mean(left)[cut.cells]) ** 2), 0.0))
    found = {"spread": np.log(spread + 0.1 * scale.of("spread", spread) + 1e-6)}
    found |= _edges(np.clip((values - ruler.centre) / ruler.spread, -50.0, 50.0), cut, ("low", "high"))
    found |= _edges(left, cut, ("below", "above"))
    if ruler.course is not None:
        found["cycle"] = _depth(left, expected / ruler.robust, cut)
    if np.isfinite(readings.scores).any():
        found["score"] = cut.mean(readings.scores[cut.inside])
    if np.isfinite(readings.errors).any():
        errors = cut.mean(np.abs(readings.errors[cut.inside]))
        found["error"] = np.log(errors + 0.1 * scale.of("error", errors) + 1e-12)
    found["step"] = _steps(seconds, cut)
    for series in found.values():
        series[empty] = np.nan
    return found | {"missing": 1 - np.minimum(cut.sizes / scale.expected, 1.0)}


def _edges(scaled: Floats, cut: _Cut, names: tuple[str, str]) -> dict[str, Floats]:
    """A low and a high quantile of each cell."""
    found = {name: np.full(cut.count, np.nan) for name in names}
    ordered = scaled[np.lexsort((scaled, cut.cells))]
    some = np.flatnonzero(cut.sizes)
    firsts = (np.cumsum(cut.sizes) - cut.sizes)[some].astype(np.int64)
    for name, level in zip(names, EDGES, strict=True):
        place = (cut.sizes[some] - 1) * level
        below = place.astype(np.int64)
        lower = ordered[firsts + below]
        upper = ordered[firsts + np.minimum(below + 1, cut.sizes[some].astype(np.int64) - 1)]
        found[name][some] = lower + (upper - lower) * (place - below)
    return found


def _depth(left: Floats, expected: Floats, cut: _Cut) -> Floats:
    """How deep the course goes in each cell, 1 where as usual: the slope of the values over the course."""
    usual = expected - cut.mean(expected)[cut.cells]
    actual = left + expected
    actual = actual - cut.mean(actual)[cut.cells]
    power = cut.mean(usual**2)
    return _divided(cut.mean(actual * usual), np.where(power > 1e-9, power, 0.0))


def _steps(seconds: Floats, cut: _Cut) -> Floats:
    """The log of the middle interval of each cell."""
    pairs = np.flatnonzero(cut.cells[1:] == cut.cells[:-1])
    intervals, cells = np.diff(seconds)[pairs], cut.cells[pairs]
    order = np.lexsort((intervals, cells))
    counts = np.bincount(cells, minlength=cut.count)
    middle = np.cumsum(counts) - counts + counts // 2
    found = np.full(cut.count, np.nan)
    some = counts > 0
    found[some] = np.log(np.maximum(intervals[order][middle[some]], 1e-6))
    return found


def _sums(cells: Cells, values: Floats, count: int) -> Floats:
    return np.bincount(cells, values, count).astype(np.float64)


def _divided(part: Floats, whole: Floats) -> Floats:
    found = np.full(len(part), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found
