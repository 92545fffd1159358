"""From statistics to a verdict at a stated false-alarm rate.

Knows how many statistics are looked at, how alike they are, and what the window's own past blocks say about
each one's spread. Tells drift from a window that has merely aged. Leaves words to `drift_kinds`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from monitoring.drift.blocks import WindowBlocks
from monitoring.drift.null_distribution import (
    TAIL_DEGREES_OF_FREEDOM,
    NullModel,
    StatisticShift,
    spread_factor,
)
from monitoring.drift.statistics import Statistic, StatisticSeries
from training.common.arrays import Floats

# Statistics of one block move together: on undrifted real readings, all of them count for as many alarms as
# this share of them would, were they independent.
EFFECTIVE_SHARE = 0.75


@dataclass(frozen=True)
class DriftFinding:
    """One statistic of the block that was checked."""

    statistic: Statistic
    shift: StatisticShift = field(repr=False)
    p: float  # with spreads as the window's past blocks speak for
    worst: float  # the smallest p of a past block
    exchangeable_p: float  # p were blocks exchangeable, however far the check is from the window
    bound: float  # the shift from which on this one alone raises the alarm
    before: float  # the statistic over the window, and over the block
    after: float

    @property
    def size(self) -> float:
        """How far it has moved, in the statistic's own unit."""
        return self.shift.size


@dataclass(frozen=True)
class DriftJudgement:
    """All statistics of a block, and what they come to together."""

    findings: tuple[DriftFinding, ...]
    p: float
    exchangeable_p: float

    @property
    def strongest(self) -> DriftFinding:
        """The one that says most."""
        return strongest_finding(self.findings)

    def corrected_p(self, subset: Sequence[DriftFinding]) -> float:
        """The p of some of the statistics, on the scale of all."""
        total = EFFECTIVE_SHARE * sum(finding.statistic.weight for finding in self.findings)
        return _combined_p([finding.p for finding in subset], subset, total)

    def finding_for(self, statistic: str) -> DriftFinding:
        """What was found of one statistic."""
        return next(finding for finding in self.findings if finding.statistic.name == statistic)

    def drifted(self, rate: float) -> bool:
        """Whether the block has moved further than the window's own blocks do."""
        return self.p <= rate

    def aged(self, rate: float) -> bool:
        """Whether it has moved as this sensor does in so much time, but further than inside the window."""
        return self.p > rate and self.exchangeable_p <= rate


def strongest_finding(findings: Sequence[DriftFinding]) -> DriftFinding:
    """The one whose p is least for its share of the false-alarm rate."""
    return min(findings, key=lambda finding: finding.p / finding.statistic.weight)


def judge_block(series: Iterable[StatisticSeries], blocks: WindowBlocks, *, rate: float) -> DriftJudgement:
    """Judge a block by the past of its window."""
    all_series = list(series)
    total = EFFECTIVE_SHARE * sum(one.statistic.weight for one in all_series)
    findings = tuple(_evaluate_statistic(one, blocks, _rate_per_weight(rate, total)) for one in all_series)
    return DriftJudgement(
        findings,
        _combined_p([finding.p for finding in findings], findings, total),
        _combined_p([finding.exchangeable_p for finding in findings], findings, total),
    )


def _evaluate_statistic(series: StatisticSeries, blocks: WindowBlocks, share: float) -> DriftFinding:
    statistic = series.statistic
    per_block = statistic.per_block
    is_known = np.isfinite(series.checked)
    null, past = _fit_null(
        series.window.tobytes(),
        per_block,
        blocks.week(per_block),
        statistic.floor,
        round(blocks.lag_seconds / blocks.length),
    )
    cell_places = blocks.checked_places(per_block)[is_known]
    shift = null.measure_shift(cell_places, series.checked[is_known], stretch=spread_factor(past))
    harmless = statistic.one_sided and shift.size <= 0
    return DriftFinding(
        statistic=statistic,
        shift=shift,
        p=1.0 if harmless else shift.p,
        worst=float(2 * special.stdtr(TAIL_DEGREES_OF_FREEDOM, -np.abs(past).max())) if len(past) else 1.0,
        exchangeable_p=1.0 if harmless else _exchangeable_p(series, is_known),
        bound=shift.bound(share * statistic.weight, statistic.floor),
        before=float(np.nanmean(series.window)),
        after=float(series.checked[is_known].mean()),
    )


@lru_cache(maxsize=16)
def _fit_null(series: bytes, per_block: int, week: float, floor: float, lag: int) -> tuple[NullModel, Floats]:
    """What is learned of a window's series; both models of a sensor were trained on the same readings."""
    null = NullModel(np.frombuffer(series, np.float64), per_block=per_block, week=week, floor=floor)
    return null, null.past_shifts(lag)


def _exchangeable_p(series: StatisticSeries, is_known: NDArray[np.bool_]) -> float:
    """The p by the spread of the window's blocks alone, as if their order and age did not matter."""
    per_block = series.statistic.per_block
    blocks_by_cell = series.window[: len(series.window) // per_block * per_block].reshape(-1, per_block)
    is_filled = np.isfinite(blocks_by_cell).sum(1) >= per_block / 2
    means = np.nanmean(blocks_by_cell[is_filled], axis=1)
    if len(means) < 3:
        return 1.0
    scale = np.hypot(means.std(ddof=1) * np.sqrt(1 + 1 / len(means)), series.statistic.floor)
    distance = abs(float(series.checked[is_known].mean()) - float(means.mean()))
    return float(2 * special.stdtr(len(means) - 1, -distance / max(scale, 1e-300)))


def _combined_p(p: Sequence[float], findings: Sequence[DriftFinding], total: float) -> float:
    """The p of the loudest of several that are alike."""
    if not p:
        return 1.0
    smallest = min(one / finding.statistic.weight for one, finding in zip(p, findings, strict=True))
    return float(-np.expm1(total * np.log1p(-min(smallest, 1.0 - 1e-12))))


def _rate_per_weight(rate: float, total: float) -> float:
    """What each statistic of weight 1 may use of a false-alarm rate; the inverse of `_together`."""
    return float(-np.expm1(np.log1p(-rate) / max(total, 1e-9)))
