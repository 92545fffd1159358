"""Signs of drift: the checks of a sensor's models.

Knows verdicts. How they come about is `drift`'s; a check that could say nothing is no sign.
"""

from collections.abc import Sequence
from itertools import groupby

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.kinds import Severity
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict

INCONCLUSIVE_VERDICTS = {DriftVerdict.WITHHELD, DriftVerdict.NO_DATA}


def drift_conditions(checks: Sequence[DriftCheck]) -> list[Condition]:
    """One sign a moment of checking, whichever of the sensor's models drifted."""
    conditions = []
    ordered = sorted(checks, key=lambda check: check.checked_at)
    for at, same_time in groupby(ordered, key=lambda check: check.checked_at):
        conclusive = [check for check in same_time if check.verdict not in INCONCLUSIVE_VERDICTS]
        drifted = [check for check in conclusive if check.verdict is DriftVerdict.DRIFTED]
        if drifted:
            costliest = max(drifted, key=lambda check: check.cost or 0.0)
            reason = f"{costliest.reason} {costliest.advice}" if costliest.advice else costliest.reason
            evidence = AlertEvidence(
                costliest.cost or 0.0,
                score=costliest.cost,
                reason=reason,
                model_version=costliest.model_version,
            )
            conditions.append(Condition(at, Severity.WARNING, Severity.WARNING, evidence))
        elif conclusive:
            conditions.append(Condition(at))
    return conditions
