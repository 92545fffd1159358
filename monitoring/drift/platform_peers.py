"""Attribute a drift to instrument or process by the other sensors of its platform.

A sensor without enough neighbours keeps its undecided origin.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from monitoring.drift.kinds import NEIGHBOUR_DECIDED_KINDS
from monitoring.drift.result import DriftCheckResult
from monitoring.drift.verdict import DriftOrigin, DriftVerdict
from training.reasons import Reason, ReasonCode

MIN_NEIGHBOURS = 3  # other sensors needed to conclude that only this one moved
COMPARABLE_VERDICTS = frozenset({DriftVerdict.STEADY, DriftVerdict.AGED, DriftVerdict.DRIFTED})
MAX_SENSORS_NAMED = 3
MAX_ONSET_GAP = timedelta(days=1)  # onsets closer than this have one cause


def attribute_origins(checked: Sequence[DriftCheckResult]) -> list[DriftCheckResult]:
    """The same checks, with the origin of undecided drifts taken from their platform."""
    return [_attribute_origin(one, checked) for one in checked]


def _attribute_origin(result: DriftCheckResult, results: Sequence[DriftCheckResult]) -> DriftCheckResult:
    comparison = result.comparison
    undecided = (
        comparison.drifted and comparison.origin is None and comparison.kind in NEIGHBOUR_DECIDED_KINDS
    )
    if not undecided or not result.sensor.platform:
        return result
    peers: defaultdict[str, bool] = defaultdict(bool)
    for other in results:
        if _is_comparable_peer(result, other):
            peers[other.sensor.id] |= _moved_together(result, other)
    platform = result.sensor.platform
    if moved_with := sorted(name for name, moved in peers.items() if moved):
        sensors = moved_with[:MAX_SENSORS_NAMED]
        why = Reason(ReasonCode.DRIFT_NEIGHBOURS_MOVED, {"sensors": sensors, "platform": platform})
        return _with_origin(result, DriftOrigin.PROCESS, why)
    if len(peers) >= MIN_NEIGHBOURS:
        why = Reason(ReasonCode.DRIFT_NEIGHBOURS_STEADY, {"count": len(peers), "platform": platform})
        return _with_origin(result, DriftOrigin.INSTRUMENT, why)
    return result


def _is_comparable_peer(result: DriftCheckResult, other: DriftCheckResult) -> bool:
    return (
        other.sensor.platform == result.sensor.platform
        and other.sensor.id != result.sensor.id
        and other.comparison.verdict in COMPARABLE_VERDICTS
    )


def _moved_together(result: DriftCheckResult, other: DriftCheckResult) -> bool:
    onset, other_onset = result.comparison.since, other.comparison.since
    if not other.comparison.drifted or onset is None or other_onset is None:
        return False
    return abs(onset - other_onset) <= MAX_ONSET_GAP


def _with_origin(result: DriftCheckResult, origin: DriftOrigin, why: Reason) -> DriftCheckResult:
    comparison = result.comparison.with_origin(origin, why)
    check = replace(
        result.check,
        origin=origin,
        reason=comparison.reason,
        reasons=comparison.reasons,
        advice=comparison.advice,
    )
    return replace(result, comparison=comparison, check=check)
