"""Grade a sensor from A to F by its findings, and give the reasons.

The findings come from `training.quality.fault_checks`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd

from training.data.sensors import Sensor
from training.quality.fault_report import FaultFinding, FaultKind
from training.reasons import Reason, ReasonCode

GRADES = "ABCDF"
USABLE_SHARES = (0.99, 0.95, 0.8, 0.5)  # least share of the received readings that is good, for A, B, C, D
COVERED_SHARES = (0.95, 0.8, 0.5, 0.0)  # least share of the steps from first to last with a good reading
MIN_READINGS = 30  # a model needs at least this many

# The best grade of a sensor with such a finding, whatever its extent.
GRADE_CEILINGS = {
    FaultKind.CONSTANT: "F",
    FaultKind.WRONG_STEP: "C",
    FaultKind.IRREGULAR: "B",
}
# Share of readings equal to the one before, and the best grade from there on.
REPEAT_CEILINGS = ((0.98, "C"), (0.9, "B"))
DURATION_KINDS = {FaultKind.FROZEN, FaultKind.STUCK, FaultKind.AT_REST}
REMARK_KINDS = {FaultKind.IRREGULAR, FaultKind.WRONG_STEP, FaultKind.TIED, FaultKind.CONSTANT}


@dataclass(frozen=True)
class QualityEvidence:
    """What a sensor is graded by."""

    sensor: Sensor
    good: pd.Series
    step: timedelta | None
    received: int
    findings: tuple[FaultFinding, ...]

    @property
    def usable(self) -> float:
        """Share of the values received that is good; a row without a value is a gap, not a bad value."""
        missing = sum(finding.readings for finding in self.findings if finding.kind is FaultKind.MISSING)
        return len(self.good) / (self.received - missing) if self.received > missing else 0.0

    @property
    def covered(self) -> float:
        """Share of the steps from the first to the last good reading that have one."""
        if self.step is None or len(self.good) < 2:
            return 1.0
        steps = (self.good.index[-1] - self.good.index[0]) / self.step + 1
        return min(1.0, float(len(self.good) / steps))

    @property
    def repeat_share(self) -> float:
        """Share of the good readings that repeat the one before."""
        return float((self.good.diff() == 0).mean()) if len(self.good) else 0.0

    def has(self, kind: FaultKind) -> bool:
        """Whether there is a finding of this kind."""
        return any(finding.kind is kind for finding in self.findings)


def compute_grade(evidence: QualityEvidence) -> str:
    """The worst of the grades that the shares and the findings allow."""
    if len(evidence.good) < MIN_READINGS:
        return "F"
    grades = [
        grade_for_share(evidence.usable, USABLE_SHARES),
        grade_for_share(evidence.covered, COVERED_SHARES),
    ]
    grades += [GRADE_CEILINGS.get(finding.kind, "A") for finding in evidence.findings]
    grades += [grade for share, grade in REPEAT_CEILINGS if evidence.repeat_share >= share]
    return max(grades, key=GRADES.index)


def grade_for_share(share: float, minimums: tuple[float, ...]) -> str:
    """The grade for a share, from the least shares for A, B, C and D."""
    return next((grade for grade, minimum in zip(GRADES, minimums, strict=False) if share >= minimum), "F")


def explain_grade(evidence: QualityEvidence) -> tuple[Reason, ...]:
    """A reason for each finding and for each share below its best grade; the most important first."""
    if evidence.received == 0:
        return (Reason(ReasonCode.QUALITY_NO_READINGS),)
    reasons = []
    if len(evidence.good) < MIN_READINGS:
        counts = {"good": len(evidence.good), "received": evidence.received}
        reasons.append(Reason(ReasonCode.QUALITY_TOO_FEW, counts))
    reasons += [explain_finding(finding, evidence.received) for finding in sort_findings(evidence.findings)]
    if evidence.covered < COVERED_SHARES[0] and evidence.step is not None:
        coverage = {"coverage": evidence.covered, "step": evidence.step.total_seconds()}
        reasons.append(Reason(ReasonCode.QUALITY_COVERAGE, coverage))
    if evidence.has(FaultKind.AT_REST) and evidence.sensor.low is None:
        reasons.append(Reason(ReasonCode.QUALITY_AT_REST, {"sensor": evidence.sensor.id}))
    return tuple(reasons)


def sort_findings(findings: tuple[FaultFinding, ...]) -> list[FaultFinding]:
    """Faults that exclude readings first, then the remarks; the larger before the smaller."""
    return sorted(findings, key=lambda finding: (not finding.kind.excluded, -finding.readings))


def explain_finding(finding: FaultFinding, received: int) -> Reason:
    """One finding, with its largest episode and its share of the readings received."""
    worst = finding.worst
    values: dict[str, Any] = {"kind": finding.kind.reason, "detail": worst.detail, "start": worst.start}
    if finding.kind in REMARK_KINDS:
        return Reason(ReasonCode.QUALITY_FAULT_REMARK, values)
    if finding.kind is FaultKind.GAP:
        duration = (worst.end - worst.start).total_seconds()
        gaps = {"gaps": finding.episodes, "duration": duration, "start": worst.start}
        return Reason(ReasonCode.QUALITY_GAPS, gaps)
    values |= {"readings": finding.readings, "share": finding.readings / received}
    if finding.episodes == 1:
        return Reason(ReasonCode.QUALITY_FAULT_ONCE, values)
    longest = finding.kind in DURATION_KINDS
    code = ReasonCode.QUALITY_FAULT_LONGEST if longest else ReasonCode.QUALITY_FAULT_EXAMPLE
    return Reason(code, {**values, "episodes": finding.episodes})
