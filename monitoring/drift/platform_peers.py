"""Attribute a drift to instrument or process by the other sensors of its platform.

A sensor without enough neighbours keeps its undecided origin.
"""

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
    moved_by_sensor: dict[str, bool] = {}
    for other_result in results:
        is_neighbour = (
            other_result.sensor.platform == result.sensor.platform
            and other_result.sensor.id != result.sensor.id
        )
        if is_neighbour and other_result.comparison.verdict in COMPARABLE_VERDICTS:
            moved_by_sensor[other_result.sensor.id] = moved_by_sensor.get(
                other_result.sensor.id, False
            ) or _moved_together(result, other_result)
    platform = result.sensor.platform
    if moved_with := sorted(name for name, moved in moved_by_sensor.items() if moved):
        values = {"sensors": moved_with[:MAX_SENSORS_NAMED], "platform": platform}
        return _with_origin(result, DriftOrigin.PROCESS, Reason(ReasonCode.DRIFT_NEIGHBOURS_MOVED, values))
    if len(moved_by_sensor) >= MIN_NEIGHBOURS:
        values = {"count": len(moved_by_sensor), "platform": platform}
        return _with_origin(
            result, DriftOrigin.INSTRUMENT, Reason(ReasonCode.DRIFT_NEIGHBOURS_STEADY, values)
        )
    return result


def _moved_together(result: DriftCheckResult, other_result: DriftCheckResult) -> bool:
    own_onset, other_onset = result.comparison.since, other_result.comparison.since
    same_time = (
        own_onset is not None and other_onset is not None and abs(own_onset - other_onset) <= MAX_ONSET_GAP
    )
    return other_result.comparison.drifted and same_time


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
