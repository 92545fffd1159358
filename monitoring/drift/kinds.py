"""What kind of drift it is, in the words of somebody who knows the plant.

Knows how a statistic's move is said, with its unit; whether instrument or process is likelier; what to do.
Decides nothing about whether there is drift.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from monitoring.drift.judgement import Finding, Judgement, loudest_of
from monitoring.drift.statistics import Ruler
from monitoring.drift.store import Origin
from training.common.formatting import format_duration, format_value

LOST = 0.35  # of its usual depth: less is a cycle that is gone
CONSEQUENCES = frozenset({"score", "error"})  # channels that move because readings did
EDGES = (("low", "high"), ("below", "above"))
LIKELY = 0.2  # p of a statistic that may tell of a drift which another one has found


class DriftKind(StrEnum):
    """What changed."""

    LEVEL = "level"
    SLOPE = "slope"
    SPREAD = "spread"
    NOISE = "noise"
    CYCLE = "cycle"
    RANGE = "range"
    STUCK = "stuck"
    ALIVE = "alive"  # constant all through the window, and moving now
    STEP = "step"
    MISSING = "missing"
    SCORE = "score"
    ERROR = "error"


KINDS = {
    "level": DriftKind.LEVEL,
    "noise": DriftKind.NOISE,
    "spread": DriftKind.SPREAD,
    "cycle": DriftKind.CYCLE,
    "low": DriftKind.RANGE,
    "high": DriftKind.RANGE,
    "below": DriftKind.RANGE,
    "above": DriftKind.RANGE,
    "score": DriftKind.SCORE,
    "error": DriftKind.ERROR,
    "missing": DriftKind.MISSING,
    "step": DriftKind.STEP,
}
ORIGINS = {
    DriftKind.STUCK: Origin.INSTRUMENT,
    DriftKind.STEP: Origin.INSTRUMENT,
    DriftKind.MISSING: Origin.INSTRUMENT,
    DriftKind.ALIVE: Origin.PROCESS,
    DriftKind.CYCLE: Origin.PROCESS,
    DriftKind.SCORE: Origin.MODEL,
    DriftKind.ERROR: Origin.MODEL,
}
SLOW = frozenset({DriftKind.LEVEL})  # kinds that may come little by little
# What may be said of a drift once it is known whether the neighbours moved as well.
LEFT_TO_NEIGHBOURS = frozenset(
    {DriftKind.LEVEL, DriftKind.SLOPE, DriftKind.NOISE, DriftKind.SPREAD, DriftKind.RANGE}
)
ADVICE = {
    Origin.INSTRUMENT: "Check and recalibrate the instrument; do not retrain on these readings.",
    Origin.PROCESS: "Look at the process; retrain once this is the new normal.",
    Origin.MODEL: "Retrain.",
    None: "Compare with a neighbouring instrument: recalibrate if only this one moved, retrain if all did.",
}
RETRAIN_AGED = "Retrain on newer readings."


@dataclass(frozen=True)
class Said:
    """The loudest change, in words."""

    kind: DriftKind
    words: str
    statistic: str


def name_drift(judgement: Judgement, ruler: Ruler, *, unit: str) -> Said:
    """The kind of drift that the statistics tell together, and its size."""
    by_name = {finding.statistic.name: finding for finding in judgement.findings}
    name = _cause(judgement).statistic.name
    low, high = (by_name.get(edge) for edge in next((pair for pair in EDGES if name in pair), ("", "")))
    if low and high and max(low.p, high.p) <= LIKELY:
        # Edges that move alike are a level, edges that move apart a spread.
        together = "level" if low.size * high.size > 0 else "spread"
        if together in by_name and by_name[together].p <= LIKELY:
            name = together
    if name == "missing" and "step" in by_name and by_name["step"].p <= LIKELY:
        name = "step"  # half as often is no gap
    return Said(KINDS[name], words_of(by_name[name], ruler, unit=unit), name)


def _cause(judgement: Judgement) -> Finding:
    """The loudest; scores and errors speak only where nothing in the readings themselves explains them."""
    own = [finding for finding in judgement.findings if finding.statistic.channel not in CONSEQUENCES]
    if own and judgement.corrected(own) <= LIKELY:
        return loudest_of(own)
    return judgement.loudest


def slowly(said: Said, per_day: float, unit: str) -> Said:
    """The same of a level that moved little by little.

    >>> slowly(Said(DriftKind.LEVEL, "level moved by +2 bar", "level"), 0.25, "bar").words
    'a slow slope, +0.25 bar a day'
    """
    return Said(DriftKind.SLOPE, f"a slow slope, {signed(per_day, unit)} a day", said.statistic)


def words_of(finding: Finding, ruler: Ruler, *, unit: str) -> str:
    """How far one statistic has moved."""
    return TELLERS[finding.statistic.name](finding, ruler, unit)


def _level(finding: Finding, ruler: Ruler, unit: str) -> str:
    moved = finding.shift.mean * ruler.robust
    return f"level moved by {signed(moved, unit)} ({abs(moved) / ruler.spread:.1f} sd)"


def _edge(finding: Finding, ruler: Ruler, unit: str) -> str:
    side = "lowest" if finding.statistic.name == "low" else "highest"
    return f"{side} readings moved by {signed(finding.shift.mean * ruler.spread, unit)}"


def _beside(finding: Finding, ruler: Ruler, unit: str) -> str:
    side = "lowest" if finding.statistic.name == "below" else "highest"
    moved = signed(finding.shift.mean * ruler.robust, unit)
    return f"{side} readings moved by {moved} beside the usual course"


def _missing(finding: Finding, *_: Any) -> str:
    return f"{finding.after:.0%} of the readings missing, {finding.before:.0%} in the window"


def _step(finding: Finding, *_: Any) -> str:
    now, usual = (
        format_duration(timedelta(seconds=math.exp(log))) for log in (finding.after, finding.before)
    )
    return f"sampling changed: a reading every {now} instead of {usual}"


TELLERS: dict[str, Callable[[Finding, Ruler, str], str]] = {
    "level": _level,
    "noise": lambda finding, *_: f"noise {times(finding.size)}",
    "spread": lambda finding, *_: f"spread {times(finding.size)}",
    "cycle": lambda finding, *_: f"daily cycle {depth(finding.after)}",
    "low": _edge,
    "high": _edge,
    "below": _beside,
    "above": _beside,
    "missing": _missing,
    "step": _step,
    "score": lambda finding, *_: f"anomaly scores rose by {finding.size:.2f}",
    "error": lambda finding, *_: f"forecast errors grew x{math.exp(min(finding.size, 50.0)):.1f}",
}


def signed(value: float, unit: str) -> str:
    """A change with its sign.

    >>> signed(-2.123456, "bar"), signed(0.5, "")
    ('-2.12 bar', '+0.5')
    """
    rounded = float(f"{value:.3g}")
    return f"{'+' if value >= 0 else '-'}{format_value(abs(rounded), unit or None)}"


def times(log_factor: float) -> str:
    """A factor as people say it.

    >>> times(math.log(2.05)), times(math.log(1.4)), times(math.log(0.5))
    ('doubled (x2.05)', 'grew x1.40', 'halved (x0.50)')
    """
    factor = math.exp(min(log_factor, 50.0))
    if 1.8 <= factor <= 2.3:
        return f"doubled (x{factor:.2f})"
    if 0.43 <= factor <= 0.56:
        return f"halved (x{factor:.2f})"
    return f"{'grew' if factor > 1 else 'shrank'} x{factor:.2f}"


def depth(share: float) -> str:
    """What became of a cycle that should be as deep as usual.

    >>> depth(0.1), depth(0.6), depth(1.5), depth(-0.9)
    ('lost', 'only x0.60 as deep', 'x1.50 as deep', 'turned upside down')
    """
    if share < -LOST:
        return "turned upside down"
    if share < LOST:
        return "lost"
    return f"only x{share:.2f} as deep" if share < 1 else f"x{share:.2f} as deep"
