"""The statistics that are compared: readings of a window and of a later block as series over their cells.

Level, noise, spread and edges of the deviations from the daily profile, depth of that profile, edges of the
values, share missing, sampling step and, if given, detector scores and forecast errors. How far each moves by
itself is in `null_distribution`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.blocks import COARSE_CELLS, FINE_CELLS, WindowBlocks
from training.anomaly.robust_statistics import robust_spread
from training.anomaly.seasonal_profile import DAY, SeasonalProfile, fit_seasonal_profile
from training.common.arrays import Floats

Cells = NDArray[np.int64]

MAX_DEVIATION = 5.0  # robust SDs; further readings are clipped in the level
EDGE_QUANTILES = (0.05, 0.95)
MAX_ONSET_CELLS = 50_000  # between window and check, searched for the onset
MIN_FILL_SHARE = 0.3  # of the usual number of readings; emptier cells do not count
# Daily only: a profile must explain readings it was not fitted to, or its slots add noise to the deviations.
DAILY_CYCLES = ((DAY, 24),)


@dataclass(frozen=True)
class Readings:
    """Readings in order of time; scores and errors are NaN where there are none."""

    seconds: Floats
    values: Floats
    scores: Floats
    errors: Floats

    def __len__(self) -> int:
        return len(self.seconds)

    def between(self, start: float, end: float) -> "Readings":
        """The readings from `start` until before `end`."""
        part = slice(*np.searchsorted(self.seconds, [start, end]).tolist())
        return Readings(self.seconds[part], self.values[part], self.scores[part], self.errors[part])


@dataclass(frozen=True)
class Statistic:
    """One statistic that may drift."""

    name: str
    channel: str  # the heading of the report: value, course, score, error, missing, step
    weight: float  # share of the false-alarm rate, relative to the others
    per_block: int
    floor: float  # a shift this small never matters
    one_sided: bool = False  # only increases are drift: smaller errors are no problem


STATISTICS = {
    one.name: one
    for one in (
        Statistic("level", "course", 1.0, FINE_CELLS, 0.0),
        Statistic("noise", "course", 1.0, FINE_CELLS, 0.02),
        Statistic("spread", "course", 0.5, COARSE_CELLS, 0.02),
        Statistic("cycle", "course", 0.5, COARSE_CELLS, 0.02),
        Statistic("below", "course", 1.0, COARSE_CELLS, 0.1),
        Statistic("above", "course", 1.0, COARSE_CELLS, 0.1),
        Statistic("low", "value", 1.0, COARSE_CELLS, 0.1),
        Statistic("high", "value", 1.0, COARSE_CELLS, 0.1),
        Statistic("score", "score", 0.25, COARSE_CELLS, 0.1, one_sided=True),
        Statistic("error", "error", 0.25, COARSE_CELLS, 0.1, one_sided=True),
        Statistic("missing", "missing", 0.25, COARSE_CELLS, 0.05, one_sided=True),
        Statistic("step", "step", 0.25, COARSE_CELLS, 0.1),
    )
}


@dataclass(frozen=True)
class StatisticSeries:
    """A statistic over the cells of the window and of the checked block, NaN in empty cells."""

    statistic: Statistic
    window: Floats
    checked: Floats


@dataclass(frozen=True)
class WindowScale:
    """The daily profile, centre and spreads of a window."""

    profile: SeasonalProfile | None
    centre: float
    robust: float  # robust spread of the deviations from the profile
    spread: float  # standard deviation of the values

    def expected(self, seconds: Floats) -> Floats:
        """The profile's deviation from the centre at these times."""
        return np.zeros(len(seconds)) if self.profile is None else self.profile.at(seconds) - self._level

    @property
    def _level(self) -> float:
        assert self.profile is not None
        return float(np.mean(self.profile.usual))


def fit_window_scale(window: Readings, *, step: float) -> WindowScale:
    """Fit the scale of a window."""
    profile = fit_seasonal_profile(window.seconds, window.values, step=step, cycles=DAILY_CYCLES)
    usual = 0.0 if profile is None else profile.at(window.seconds) - float(np.mean(profile.usual))
    residuals = window.values - usual
    spread = float(window.values.std())
    return WindowScale(profile, float(np.median(residuals)), robust_spread(residuals) or spread, spread)


def compute_series(
    window: Readings, checked: Readings, blocks: WindowBlocks, scale: WindowScale
) -> Iterator[StatisticSeries]:
    """Every statistic that has enough cells on both sides."""
    for per_block, measure in ((FINE_CELLS, _fine_statistics), (COARSE_CELLS, _coarse_statistics)):
        past = _CellGrid(blocks.past_cells(window.seconds, per_block), blocks.count * per_block)
        now = _CellGrid(blocks.checked_cells(checked.seconds, per_block), per_block)
        medians = _CellMedians(blocks.length / per_block / blocks.step)
        before = measure(window, past, scale, medians)
        after = measure(checked, now, scale, medians)
        for name, series in before.items():
            enough = max(8, 3 * per_block)
            if np.isfinite(series).sum() >= enough and name in after and np.isfinite(after[name]).any():
                yield StatisticSeries(STATISTICS[name], series, after[name])


def compute_series_since(
    since: Readings, window: Readings, blocks: WindowBlocks, scale: WindowScale, statistic: Statistic
) -> tuple[Floats, Floats]:
    """One statistic over the cells from the window to the end of the check, and the start of each cell."""
    width = blocks.length / statistic.per_block
    count = int(np.ceil((blocks.checked_to - blocks.end) / width - 1e-9))
    count = min(max(count, statistic.per_block), MAX_ONSET_CELLS)
    begin = blocks.checked_to - count * width
    measure, medians = (
        (_fine_statistics if statistic.per_block == FINE_CELLS else _coarse_statistics),
        _CellMedians(width / blocks.step),
    )
    past = blocks.past_cells(window.seconds, statistic.per_block)
    measure(window, _CellGrid(past, blocks.count * statistic.per_block), scale, medians)
    cells = np.floor((since.seconds - begin) / width + 1e-9).astype(np.int64)
    series = measure(since, _CellGrid(cells, count), scale, medians)[statistic.name]
    return series, np.asarray(begin + width * np.arange(count), np.float64)


class _CellGrid:
    """Readings by cell; readings outside the cells are left out."""

    def __init__(self, cells: Cells, count: int) -> None:
        self.inside = (cells >= 0) & (cells < count)
        self.cells, self.count = cells[self.inside], count
        self.sizes = np.bincount(self.cells, minlength=count).astype(np.float64)

    def mean(self, values: Floats) -> Floats:
        """The mean of each cell, NaN without a reading."""
        return _divide(_cell_sums(self.cells, values, self.count), self.sizes)

    def is_filled(self, usual: float, least: float = 1.0) -> NDArray[np.bool_]:
        """Cells with enough readings."""
        return self.sizes >= max(least, MIN_FILL_SHARE * usual)


class _CellMedians:
    """Medians of the window's cells; computed for the window, reused for the block."""

    def __init__(self, expected: float) -> None:
        self.expected = expected  # readings per cell if none are missing
        self._medians: dict[str, float] = {}

    def of(self, name: str, values: Floats) -> float:
        """The median of the window's positive values of this name."""
        if name not in self._medians:
            positive = values[np.isfinite(values) & (values > 0)]
            self._medians[name] = float(np.median(positive)) if len(positive) else 0.0
        return self._medians[name]


def _fine_statistics(
    readings: Readings, cut: _CellGrid, scale: WindowScale, medians: _CellMedians
) -> dict[str, Floats]:
    seconds, values = readings.seconds[cut.inside], readings.values[cut.inside]
    residuals = (values - scale.expected(seconds) - scale.centre) / scale.robust
    level = cut.mean(np.clip(residuals, -MAX_DEVIATION, MAX_DEVIATION))
    level[~cut.is_filled(medians.of("filled", cut.sizes))] = np.nan
    pairs = np.flatnonzero(cut.cells[1:] == cut.cells[:-1])
    moves = np.minimum(np.abs(np.diff(residuals)[pairs]), 4 * MAX_DEVIATION)
    counts = np.bincount(cut.cells[pairs], minlength=cut.count).astype(np.float64)
    noise = _divide(_cell_sums(cut.cells[pairs], moves, cut.count), counts)
    usual = medians.of("moves", noise)
    noise[counts < max(1.0, MIN_FILL_SHARE * medians.of("pairs", counts))] = np.nan
    return {"level": level, "noise": np.log(noise + 0.1 * usual + 1e-9)}


def _coarse_statistics(
    readings: Readings, cut: _CellGrid, scale: WindowScale, medians: _CellMedians
) -> dict[str, Floats]:
    seconds, values = readings.seconds[cut.inside], readings.values[cut.inside]
    expected = scale.expected(seconds)
    residuals = np.clip((values - expected - scale.centre) / scale.robust, -8.0, 8.0)
    empty = ~cut.is_filled(medians.of("filled", cut.sizes), least=3.0)
    spread = np.sqrt(np.maximum(cut.mean((residuals - cut.mean(residuals)[cut.cells]) ** 2), 0.0))
    statistics = {"spread": np.log(spread + 0.1 * medians.of("spread", spread) + 1e-6)}
    statistics |= _edge_quantiles(
        np.clip((values - scale.centre) / scale.spread, -50.0, 50.0), cut, ("low", "high")
    )
    statistics |= _edge_quantiles(residuals, cut, ("below", "above"))
    if scale.profile is not None:
        statistics["cycle"] = _cycle_depth(residuals, expected / scale.robust, cut)
    if np.isfinite(readings.scores).any():
        statistics["score"] = cut.mean(readings.scores[cut.inside])
    if np.isfinite(readings.errors).any():
        errors = cut.mean(np.abs(readings.errors[cut.inside]))
        statistics["error"] = np.log(errors + 0.1 * medians.of("error", errors) + 1e-12)
    statistics["step"] = _log_steps(seconds, cut)
    for series in statistics.values():
        series[empty] = np.nan
    return statistics | {"missing": 1 - np.minimum(cut.sizes / medians.expected, 1.0)}


def _edge_quantiles(scaled: Floats, cut: _CellGrid, names: tuple[str, str]) -> dict[str, Floats]:
    """A low and a high quantile of each cell."""
    quantiles = {name: np.full(cut.count, np.nan) for name in names}
    ordered = scaled[np.lexsort((scaled, cut.cells))]
    non_empty = np.flatnonzero(cut.sizes)
    firsts = (np.cumsum(cut.sizes) - cut.sizes)[non_empty].astype(np.int64)
    for name, level in zip(names, EDGE_QUANTILES, strict=True):
        rank = (cut.sizes[non_empty] - 1) * level
        lower_rank = rank.astype(np.int64)
        lower = ordered[firsts + lower_rank]
        upper = ordered[firsts + np.minimum(lower_rank + 1, cut.sizes[non_empty].astype(np.int64) - 1)]
        quantiles[name][non_empty] = lower + (upper - lower) * (rank - lower_rank)
    return quantiles


def _cycle_depth(residuals: Floats, expected: Floats, cut: _CellGrid) -> Floats:
    """The depth of the profile in each cell, 1 as usual: the slope of the values over the profile."""
    usual = expected - cut.mean(expected)[cut.cells]
    actual = residuals + expected
    actual = actual - cut.mean(actual)[cut.cells]
    power = cut.mean(usual**2)
    return _divide(cut.mean(actual * usual), np.where(power > 1e-9, power, 0.0))


def _log_steps(seconds: Floats, cut: _CellGrid) -> Floats:
    """The log of the median interval of each cell."""
    pairs = np.flatnonzero(cut.cells[1:] == cut.cells[:-1])
    intervals, cells = np.diff(seconds)[pairs], cut.cells[pairs]
    order = np.lexsort((intervals, cells))
    counts = np.bincount(cells, minlength=cut.count)
    middle = np.cumsum(counts) - counts + counts // 2
    log_steps = np.full(cut.count, np.nan)
    non_empty = counts > 0
    log_steps[non_empty] = np.log(np.maximum(intervals[order][middle[non_empty]], 1e-6))
    return log_steps


def _cell_sums(cells: Cells, values: Floats, count: int) -> Floats:
    return np.bincount(cells, values, count).astype(np.float64)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    quotient = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
