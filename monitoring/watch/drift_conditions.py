"""Signs of drift: the checks of a sensor's models.

Knows verdicts. How they come about is `drift`'s; a check that could say nothing is no sign.
"""

from collections.abc import Sequence
from itertools import groupby

from monitoring.alerts.alert import Evidence, Sign
from monitoring.alerts.kinds import Severity
from monitoring.drift.store import DriftCheck, Verdict

SILENT = {Verdict.WITHHELD, Verdict.SILENT}


def signs_of_drift(checks: Sequence[DriftCheck]) -> list[Sign]:
    """One sign a moment of checking, whichever of the sensor's models drifted."""
    signs = []
    ordered = sorted(checks, key=lambda check: check.checked_at)
    for at, together in groupby(ordered, key=lambda check: check.checked_at):
        said = [check for check in together if check.verdict not in SILENT]
        drifted = [check for check in said if check.verdict is Verdict.DRIFTED]
        if drifted:
            worst = max(drifted, key=lambda check: check.cost or 0.0)
            reason = f"{worst.reason} {worst.advice}" if worst.advice else worst.reason
            evidence = Evidence(
                worst.cost or 0.0, score=worst.cost, reason=reason, model_version=worst.model_version
            )
            signs.append(Sign(at, Severity.WARNING, Severity.WARNING, evidence))
        elif said:
            signs.append(Sign(at))
    return signs
