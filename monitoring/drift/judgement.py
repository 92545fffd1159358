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

from monitoring.drift.blocks import Blocks
from monitoring.drift.null_distribution import TAIL, Null, Shift, stretch_of
from monitoring.drift.statistics import Series, Statistic

Floats = NDArray[np.float64]

# Statistics of one block move together: on undrifted real readings, all of them count for as many alarms as
# this share of them would, were they independent.
ALIKE = 0.75


@dataclass(frozen=True)
class Finding:
    """One statistic of the block that was checked."""

    statistic: Statistic
    shift: Shift = field(repr=False)
    p: float  # with spreads as the window's past blocks speak for
    worst: float  # the smallest p of a past block
    plain: float  # p were blocks exchangeable, however far the check is from the window
    bound: float  # the shift from which on this one alone raises the alarm
    before: float  # the statistic over the window, and over the block
    after: float

    @property
    def size(self) -> float:
        """How far it has moved, in the statistic's own unit."""
        return self.shift.size


@dataclass(frozen=True)
class Judgement:
    """All statistics of a block, and what they come to together."""

    findings: tuple[Finding, ...]
    p: float
    plain: float

    @property
    def loudest(self) -> Finding:
        """The one that says most."""
        return loudest_of(self.findings)

    def corrected(self, some: Sequence[Finding]) -> float:
        """The p of some of the statistics, on the scale of all."""
        total = ALIKE * sum(finding.statistic.weight for finding in self.findings)
        return _together([finding.p for finding in some], some, total)

    def named(self, statistic: str) -> Finding:
        """What was found of one statistic."""
        return next(finding for finding in self.findings if finding.statistic.name == statistic)

    def drifted(self, rate: float) -> bool:
        """Whether the block has moved further than the window's own blocks do."""
        return self.p <= rate

    def aged(self, rate: float) -> bool:
        """Whether it has moved as this sensor does in so much time, but further than inside the window."""
        return self.p > rate and self.plain <= rate


def loudest_of(findings: Sequence[Finding]) -> Finding:
    """The one whose p is least for its share of the false-alarm rate."""
    return min(findings, key=lambda finding: finding.p / finding.statistic.weight)


def judge(series: Iterable[Series], blocks: Blocks, *, rate: float) -> Judgement:
    """Judge a block by the past of its window."""
    known = list(series)
    total = ALIKE * sum(one.statistic.weight for one in known)
    findings = tuple(_finding(one, blocks, _share(rate, total)) for one in known)
    return Judgement(
        findings,
        _together([finding.p for finding in findings], findings, total),
        _together([finding.plain for finding in findings], findings, total),
    )


def _finding(series: Series, blocks: Blocks, share: float) -> Finding:
    statistic = series.statistic
    per_block = statistic.per_block
    known = np.isfinite(series.checked)
    null, past = _learned(
        series.window.tobytes(),
        per_block,
        blocks.week(per_block),
        statistic.floor,
        round(blocks.lag / blocks.length),
    )
    places = blocks.checked_places(per_block)[known]
    shift = null.judge(places, series.checked[known], stretch=stretch_of(past))
    harmless = statistic.rising and shift.size <= 0
    return Finding(
        statistic=statistic,
        shift=shift,
        p=1.0 if harmless else shift.p,
        worst=float(2 * special.stdtr(TAIL, -np.abs(past).max())) if len(past) else 1.0,
        plain=1.0 if harmless else _plain(series, known),
        bound=shift.bound(share * statistic.weight, statistic.floor),
        before=float(np.nanmean(series.window)),
        after=float(series.checked[known].mean()),
    )


@lru_cache(maxsize=16)
def _learned(series: bytes, per_block: int, week: float, floor: float, lag: int) -> tuple[Null, Floats]:
    """What is learned of a window's series; both models of a sensor were trained on the same readings."""
    null = Null(np.frombuffer(series, np.float64), per_block=per_block, week=week, floor=floor)
    return null, null.past(lag)


def _plain(series: Series, known: NDArray[np.bool_]) -> float:
    """The p by the spread of the window's blocks alone, as if their order and age did not matter."""
    per_block = series.statistic.per_block
    cut = series.window[: len(series.window) // per_block * per_block].reshape(-1, per_block)
    filled = np.isfinite(cut).sum(1) >= per_block / 2
    means = np.nanmean(cut[filled], axis=1)
    if len(means) < 3:
        return 1.0
    scale = np.hypot(means.std(ddof=1) * np.sqrt(1 + 1 / len(means)), series.statistic.floor)
    far = abs(float(series.checked[known].mean()) - float(means.mean()))
    return float(2 * special.stdtr(len(means) - 1, -far / max(scale, 1e-300)))


def _together(p: Sequence[float], findings: Sequence[Finding], total: float) -> float:
    """The p of the loudest of several that are alike."""
    if not p:
        return 1.0
    loudest = min(one / finding.statistic.weight for one, finding in zip(p, findings, strict=True))
    return float(-np.expm1(total * np.log1p(-min(loudest, 1.0 - 1e-12))))


def _share(rate: float, total: float) -> float:
    """What each statistic of weight 1 may use of a false-alarm rate; the inverse of `_together`."""
    return float(-np.expm1(np.log1p(-rate) / max(total, 1e-9)))
