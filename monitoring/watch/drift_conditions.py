"""Conditions of drift alerts: the verdicts of drift checks.

Checks are made in `monitoring.drift`. A check without a verdict is not a condition.
"""

from collections.abc import Sequence
from itertools import groupby

from monitoring.alerts.alert import AlertEvidence, Condition
from monitoring.alerts.kinds import Severity
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict

INCONCLUSIVE_VERDICTS = {DriftVerdict.WITHHELD, DriftVerdict.NO_DATA}


def drift_conditions(checks: Sequence[DriftCheck]) -> list[Condition]:
    """One condition per time of checking: met if any of the sensor's models drifted."""
    conditions = []
    ordered = sorted(checks, key=lambda check: check.checked_at)
    for at, same_time in groupby(ordered, key=lambda check: check.checked_at):
        conclusive = [check for check in same_time if check.verdict not in INCONCLUSIVE_VERDICTS]
        drifted = [check for check in conclusive if check.verdict is DriftVerdict.DRIFTED]
        if drifted:
            costliest = max(drifted, key=lambda check: check.cost or 0.0)
            # A check of 0.1.0 has only texts.
            reasons = (*costliest.reasons, *costliest.advice_reasons) if costliest.reasons else ()
            text = ". ".join(filter(None, (costliest.reason, costliest.advice)))
            evidence = AlertEvidence(
                costliest.cost or 0.0,
                score=costliest.cost,
                reason="" if reasons else text,
                model_version=costliest.model_version,
                reasons=reasons,
            )
            conditions.append(Condition(at, Severity.WARNING, Severity.WARNING, evidence))
        elif conclusive:
            conditions.append(Condition(at))
    return conditions
