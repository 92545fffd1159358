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

from monitoring.drift.judgement import DriftFinding, DriftJudgement, strongest_finding
from monitoring.drift.statistics import WindowScale
from monitoring.drift.store import DriftOrigin
from training.common.formatting import format_duration, format_value

LOST_CYCLE_DEPTH = 0.35  # of its usual depth: less is a cycle that is gone
DERIVED_CHANNELS = frozenset({"score", "error"})  # channels that move because readings did
EDGE_PAIRS = (("low", "high"), ("below", "above"))
LIKELY_P = 0.2  # p of a statistic that may tell of a drift which another one has found


class DriftKind(StrEnum):
    """What changed."""

    LEVEL = "level"
    SLOPE = "slope"
    SPREAD = "spread"
    NOISE = "noise"
    CYCLE = "cycle"
    RANGE = "range"
    STUCK = "stuck"
    STARTED_MOVING = "alive"  # constant all through the window, and moving now
    STEP = "step"
    MISSING = "missing"
    SCORE = "score"
    ERROR = "error"


KIND_BY_STATISTIC = {
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
ORIGIN_BY_KIND = {
    DriftKind.STUCK: DriftOrigin.INSTRUMENT,
    DriftKind.STEP: DriftOrigin.INSTRUMENT,
    DriftKind.MISSING: DriftOrigin.INSTRUMENT,
    DriftKind.STARTED_MOVING: DriftOrigin.PROCESS,
    DriftKind.CYCLE: DriftOrigin.PROCESS,
    DriftKind.SCORE: DriftOrigin.MODEL,
    DriftKind.ERROR: DriftOrigin.MODEL,
}
GRADUAL_KINDS = frozenset({DriftKind.LEVEL})  # kinds that may come little by little
# What may be said of a drift once it is known whether the neighbours moved as well.
NEIGHBOUR_DECIDED_KINDS = frozenset(
    {DriftKind.LEVEL, DriftKind.SLOPE, DriftKind.NOISE, DriftKind.SPREAD, DriftKind.RANGE}
)
ADVICE = {
    DriftOrigin.INSTRUMENT: "Check and recalibrate the instrument; do not retrain on these readings.",
    DriftOrigin.PROCESS: "Look at the process; retrain once this is the new normal.",
    DriftOrigin.MODEL: "Retrain.",
    None: "Compare with a neighbouring instrument: recalibrate if only this one moved, retrain if all did.",
}
AGED_ADVICE = "Retrain on newer readings."


@dataclass(frozen=True)
class DriftDescription:
    """The loudest change, in words."""

    kind: DriftKind
    text: str
    statistic: str


def describe_drift(judgement: DriftJudgement, ruler: WindowScale, *, unit: str) -> DriftDescription:
    """The kind of drift that the statistics tell together, and its size."""
    by_name = {finding.statistic.name: finding for finding in judgement.findings}
    name = _primary_finding(judgement).statistic.name
    low, high = (by_name.get(edge) for edge in next((pair for pair in EDGE_PAIRS if name in pair), ("", "")))
    if low and high and max(low.p, high.p) <= LIKELY_P:
        # Edges that move alike are a level, edges that move apart a spread.
        joint_name = "level" if low.size * high.size > 0 else "spread"
        if joint_name in by_name and by_name[joint_name].p <= LIKELY_P:
            name = joint_name
    if name == "missing" and "step" in by_name and by_name["step"].p <= LIKELY_P:
        name = "step"  # half as often is no gap
    return DriftDescription(KIND_BY_STATISTIC[name], describe_finding(by_name[name], ruler, unit=unit), name)


def _primary_finding(judgement: DriftJudgement) -> DriftFinding:
    """The loudest; scores and errors speak only where nothing in the readings themselves explains them."""
    own_findings = [
        finding for finding in judgement.findings if finding.statistic.channel not in DERIVED_CHANNELS
    ]
    if own_findings and judgement.corrected_p(own_findings) <= LIKELY_P:
        return strongest_finding(own_findings)
    return judgement.strongest


def describe_slope(description: DriftDescription, per_day: float, unit: str) -> DriftDescription:
    """The same of a level that moved little by little.

    >>> slowly(Said(DriftKind.LEVEL, "level moved by +2 bar", "level"), 0.25, "bar").words
    'a slow slope, +0.25 bar a day'
    """
    return DriftDescription(
        DriftKind.SLOPE, f"a slow slope, {format_signed(per_day, unit)} a day", description.statistic
    )


def describe_finding(finding: DriftFinding, ruler: WindowScale, *, unit: str) -> str:
    """How far one statistic has moved."""
    return DESCRIBERS[finding.statistic.name](finding, ruler, unit)


def _describe_level(finding: DriftFinding, ruler: WindowScale, unit: str) -> str:
    shift_in_units = finding.shift.mean * ruler.robust
    return (
        f"level moved by {format_signed(shift_in_units, unit)} ({abs(shift_in_units) / ruler.spread:.1f} sd)"
    )


def _describe_edge(finding: DriftFinding, ruler: WindowScale, unit: str) -> str:
    side = "lowest" if finding.statistic.name == "low" else "highest"
    return f"{side} readings moved by {format_signed(finding.shift.mean * ruler.spread, unit)}"


def _describe_deviation_edge(finding: DriftFinding, ruler: WindowScale, unit: str) -> str:
    side = "lowest" if finding.statistic.name == "below" else "highest"
    shift_text = format_signed(finding.shift.mean * ruler.robust, unit)
    return f"{side} readings moved by {shift_text} beside the usual course"


def _describe_missing(finding: DriftFinding, *_: Any) -> str:
    return f"{finding.after:.0%} of the readings missing, {finding.before:.0%} in the window"


def _describe_step(finding: DriftFinding, *_: Any) -> str:
    now, usual = (
        format_duration(timedelta(seconds=math.exp(log))) for log in (finding.after, finding.before)
    )
    return f"sampling changed: a reading every {now} instead of {usual}"


DESCRIBERS: dict[str, Callable[[DriftFinding, WindowScale, str], str]] = {
    "level": _describe_level,
    "noise": lambda finding, *_: f"noise {format_factor(finding.size)}",
    "spread": lambda finding, *_: f"spread {format_factor(finding.size)}",
    "cycle": lambda finding, *_: f"daily cycle {format_cycle_depth(finding.after)}",
    "low": _describe_edge,
    "high": _describe_edge,
    "below": _describe_deviation_edge,
    "above": _describe_deviation_edge,
    "missing": _describe_missing,
    "step": _describe_step,
    "score": lambda finding, *_: f"anomaly scores rose by {finding.size:.2f}",
    "error": lambda finding, *_: f"forecast errors grew x{math.exp(min(finding.size, 50.0)):.1f}",
}


def format_signed(value: float, unit: str) -> str:
    """A change with its sign.

    >>> signed(-2.123456, "bar"), signed(0.5, "")
    ('-2.12 bar', '+0.5')
    """
    rounded = float(f"{value:.3g}")
    return f"{'+' if value >= 0 else '-'}{format_value(abs(rounded), unit or None)}"


def format_factor(log_factor: float) -> str:
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


def format_cycle_depth(share: float) -> str:
    """What became of a cycle that should be as deep as usual.

    >>> depth(0.1), depth(0.6), depth(1.5), depth(-0.9)
    ('lost', 'only x0.60 as deep', 'x1.50 as deep', 'turned upside down')
    """
    if share < -LOST_CYCLE_DEPTH:
        return "turned upside down"
    if share < LOST_CYCLE_DEPTH:
        return "lost"
    return f"only x{share:.2f} as deep" if share < 1 else f"x{share:.2f} as deep"
