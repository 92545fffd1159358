"""Combine all statistics into one p-value, and judge it at a stated false-alarm rate.

Corrects for the number of statistics and their similarity. Describing a drift is in `kinds`; the null
distribution of one statistic in `null_distribution`.
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

# Statistics of one block move together: on undrifted real readings they raise as many alarms as this share of
# them would if they were independent.
EFFECTIVE_SHARE = 0.75


@dataclass(frozen=True)
class DriftFinding:
    """One statistic of the checked block."""

    statistic: Statistic
    shift: StatisticShift = field(repr=False)
    p: float  # with the spreads learned from past blocks
    worst: float  # the smallest p of a past block
    exchangeable_p: float  # p if blocks were exchangeable, whatever the distance from the window
    bound: float  # the shift above which this statistic alone raises the alarm
    before: float  # the statistic's mean over the window
    after: float  # and over the block

    @property
    def size(self) -> float:
        """How far the statistic has moved, in its own unit."""
        return self.shift.size


@dataclass(frozen=True)
class DriftJudgement:
    """All statistics of a block and their combined p-values."""

    findings: tuple[DriftFinding, ...]
    p: float
    exchangeable_p: float

    @property
    def strongest(self) -> DriftFinding:
        """The finding with the smallest p for its weight."""
        return strongest_finding(self.findings)

    def corrected_p(self, subset: Sequence[DriftFinding]) -> float:
        """The p of some statistics, corrected for all."""
        total = EFFECTIVE_SHARE * sum(finding.statistic.weight for finding in self.findings)
        return _combined_p([finding.p for finding in subset], subset, total)

    def finding_for(self, statistic: str) -> DriftFinding:
        """The finding of one statistic."""
        return next(finding for finding in self.findings if finding.statistic.name == statistic)

    def drifted(self, rate: float) -> bool:
        """Whether the block has moved further than the window predicts."""
        return self.p <= rate

    def aged(self, rate: float) -> bool:
        """Whether it moved no further than predicted for its distance, but further than inside the window."""
        return self.p > rate and self.exchangeable_p <= rate


def strongest_finding(findings: Sequence[DriftFinding]) -> DriftFinding:
    """The finding with the smallest p for its share of the false-alarm rate."""
    return min(findings, key=lambda finding: finding.p / finding.statistic.weight)


def judge_block(series: Iterable[StatisticSeries], blocks: WindowBlocks, *, rate: float) -> DriftJudgement:
    """Judge a block by the history of its window."""
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
    """The null of a window's series, cached: both models of a sensor were trained on the same readings."""
    null = NullModel(np.frombuffer(series, np.float64), per_block=per_block, week=week, floor=floor)
    return null, null.past_shifts(lag)


def _exchangeable_p(series: StatisticSeries, is_known: NDArray[np.bool_]) -> float:
    """The p of a t test against the window's block means, ignoring their order and age."""
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
    """Sidak's correction with weights, of the smallest p."""
    if not p:
        return 1.0
    smallest = min(one / finding.statistic.weight for one, finding in zip(p, findings, strict=True))
    return float(-np.expm1(total * np.log1p(-min(smallest, 1.0 - 1e-12))))


def _rate_per_weight(rate: float, total: float) -> float:
    """The part of a false-alarm rate that a statistic of weight 1 may use; the inverse of `_combined_p`."""
    return float(-np.expm1(np.log1p(-rate) / max(total, 1e-9)))
