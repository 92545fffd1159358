"""Name the kind of a drift and describe it as a reason: what changed, by how much, in the sensor's unit.

Does not decide whether there is drift; that is `judgement`. Texts are in `training.reasons`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from monitoring.drift.judgement import DriftFinding, DriftJudgement, strongest_finding
from monitoring.drift.statistics import WindowScale
from monitoring.drift.verdict import DriftOrigin
from training.reasons import Reason, ReasonCode

Describer = Callable[[DriftFinding, WindowScale, str], Reason]  # of a shift, in this unit

LOST_CYCLE_DEPTH = 0.35  # share of the usual depth below which the daily cycle is lost
MAX_LOG_FACTOR = 50.0  # keeps exp() finite
DERIVED_CHANNELS = frozenset({"score", "error"})  # channels that move because the readings did
EDGE_PAIRS = (("low", "high"), ("below", "above"))
LIKELY_P = 0.2  # below this p, a statistic may explain a drift that another one detected


class DriftKind(StrEnum):
    """What changed."""

    LEVEL = "level"
    SLOPE = "slope"
    SPREAD = "spread"
    NOISE = "noise"
    CYCLE = "cycle"
    RANGE = "range"
    STUCK = "stuck"
    STARTED_MOVING = "alive"  # constant in the whole window, moving now
    STEP = "step"
    MISSING = "missing"
    SCORE = "score"
    ERROR = "error"


ORIGIN_BY_KIND = {
    DriftKind.STUCK: DriftOrigin.INSTRUMENT,
    DriftKind.STEP: DriftOrigin.INSTRUMENT,
    DriftKind.MISSING: DriftOrigin.INSTRUMENT,
    DriftKind.STARTED_MOVING: DriftOrigin.PROCESS,
    DriftKind.CYCLE: DriftOrigin.PROCESS,
    DriftKind.SCORE: DriftOrigin.MODEL,
    DriftKind.ERROR: DriftOrigin.MODEL,
}
GRADUAL_KINDS = frozenset({DriftKind.LEVEL})  # kinds that may develop gradually
# Kinds whose origin follows from whether the other sensors of the platform moved as well.
NEIGHBOUR_DECIDED_KINDS = frozenset(
    {DriftKind.LEVEL, DriftKind.SLOPE, DriftKind.NOISE, DriftKind.SPREAD, DriftKind.RANGE}
)


@dataclass(frozen=True)
class DriftDescription:
    """The kind of a drift, and the statistic that shows it best."""

    kind: DriftKind
    reason: Reason
    statistic: str


def describe_drift(judgement: DriftJudgement, scale: WindowScale, *, unit: str) -> DriftDescription:
    """The kind of drift that all statistics indicate together, and its size."""
    by_name = {finding.statistic.name: finding for finding in judgement.findings}
    name = _primary_finding(judgement).statistic.name
    low, high = (by_name.get(edge) for edge in next((pair for pair in EDGE_PAIRS if name in pair), ("", "")))
    if low and high and max(low.p, high.p) <= LIKELY_P:
        # Both edges moved the same way: the level moved. Opposite ways: the spread changed.
        joint_name = "level" if low.size * high.size > 0 else "spread"
        if joint_name in by_name and by_name[joint_name].p <= LIKELY_P:
            name = joint_name
    if name == "missing" and "step" in by_name and by_name["step"].p <= LIKELY_P:
        name = "step"  # sampling at half the rate is not a gap
    kind, describe = STATISTIC_KINDS[name]
    return DriftDescription(kind, describe(by_name[name], scale, unit), name)


def _primary_finding(judgement: DriftJudgement) -> DriftFinding:
    """The strongest finding; scores and errors count only where the readings themselves explain nothing."""
    own_findings = [
        finding for finding in judgement.findings if finding.statistic.channel not in DERIVED_CHANNELS
    ]
    if own_findings and judgement.corrected_p(own_findings) <= LIKELY_P:
        return strongest_finding(own_findings)
    return judgement.strongest


def describe_slope(description: DriftDescription, per_day: float, unit: str) -> DriftDescription:
    """The description of a level that moved gradually, by `per_day` a day."""
    reason = Reason(ReasonCode.DRIFT_SLOPE, {"change": per_day, "unit": unit})
    return DriftDescription(DriftKind.SLOPE, reason, description.statistic)


def describe_finding(finding: DriftFinding, scale: WindowScale, *, unit: str) -> Reason:
    """How far one statistic has moved."""
    _, describe = STATISTIC_KINDS[finding.statistic.name]
    return describe(finding, scale, unit)


def _describe_level(finding: DriftFinding, scale: WindowScale, unit: str) -> Reason:
    change = finding.shift.mean * scale.robust
    size = abs(change) / scale.spread
    return Reason(ReasonCode.DRIFT_LEVEL, {"change": change, "size": size, "unit": unit})


def _edge_describer(code: ReasonCode, scale_name: str) -> Describer:
    def describe(finding: DriftFinding, scale: WindowScale, unit: str) -> Reason:
        return Reason(code, {"change": finding.shift.mean * getattr(scale, scale_name), "unit": unit})

    return describe


def _factor_describer(up: ReasonCode, down: ReasonCode) -> Describer:
    def describe(finding: DriftFinding, _: WindowScale, __: str) -> Reason:
        factor = math.exp(min(finding.size, MAX_LOG_FACTOR))
        return Reason(up if finding.size > 0 else down, {"factor": factor})

    return describe


def _describe_cycle(finding: DriftFinding, _: WindowScale, __: str) -> Reason:
    if finding.after < -LOST_CYCLE_DEPTH:
        return Reason(ReasonCode.DRIFT_CYCLE_INVERTED)
    if finding.after < LOST_CYCLE_DEPTH:
        return Reason(ReasonCode.DRIFT_CYCLE_LOST)
    return Reason(ReasonCode.DRIFT_CYCLE_DEPTH, {"factor": finding.after})


def _describe_missing(finding: DriftFinding, _: WindowScale, __: str) -> Reason:
    return Reason(ReasonCode.DRIFT_MISSING, {"now": finding.after, "window": finding.before})


def _describe_step(finding: DriftFinding, _: WindowScale, __: str) -> Reason:
    now, window = math.exp(finding.after), math.exp(finding.before)
    return Reason(ReasonCode.DRIFT_STEP, {"now": now, "window": window})


def _describe_score(finding: DriftFinding, _: WindowScale, __: str) -> Reason:
    return Reason(ReasonCode.DRIFT_SCORE, {"change": round(finding.size, 2)})


# The kind that each statistic shows, and how its shift is described.
STATISTIC_KINDS: dict[str, tuple[DriftKind, Describer]] = {
    "level": (DriftKind.LEVEL, _describe_level),
    "noise": (DriftKind.NOISE, _factor_describer(ReasonCode.DRIFT_NOISE_UP, ReasonCode.DRIFT_NOISE_DOWN)),
    "spread": (DriftKind.SPREAD, _factor_describer(ReasonCode.DRIFT_SPREAD_UP, ReasonCode.DRIFT_SPREAD_DOWN)),
    "cycle": (DriftKind.CYCLE, _describe_cycle),
    "low": (DriftKind.RANGE, _edge_describer(ReasonCode.DRIFT_LOWEST, "spread")),
    "high": (DriftKind.RANGE, _edge_describer(ReasonCode.DRIFT_HIGHEST, "spread")),
    "below": (DriftKind.RANGE, _edge_describer(ReasonCode.DRIFT_LOWEST_PROFILE, "robust")),
    "above": (DriftKind.RANGE, _edge_describer(ReasonCode.DRIFT_HIGHEST_PROFILE, "robust")),
    "missing": (DriftKind.MISSING, _describe_missing),
    "step": (DriftKind.STEP, _describe_step),
    "score": (DriftKind.SCORE, _describe_score),
    "error": (DriftKind.ERROR, _factor_describer(ReasonCode.DRIFT_ERROR, ReasonCode.DRIFT_ERROR)),
}
