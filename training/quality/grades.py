"""A sensor's grade, and the sentences that explain it.

Knows findings and how much they matter. Finds nothing itself.
"""

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from training.common.formatting import format_count, format_duration, format_percent
from training.data.sensors import Sensor
from training.quality.fault_report import FaultFinding, FaultKind

GRADES = "ABCDF"
USABLE_SHARES = (0.99, 0.95, 0.8, 0.5)  # least share of the readings received that is good, for A, B, C, D
COVERED_SHARES = (0.95, 0.8, 0.5, 0.0)  # least share of the time from first to last with a good reading
MIN_READINGS = 30  # below this no model can be learned

# What costs the grade by merely being there, and how far down.
GRADE_CEILINGS = {
    FaultKind.CONSTANT: "F",
    FaultKind.WRONG_STEP: "C",
    FaultKind.IRREGULAR: "B",
}
DURATION_KINDS = {FaultKind.FROZEN, FaultKind.STUCK, FaultKind.AT_REST}
REPEAT_CEILINGS = (
    (0.98, "C"),
    (0.9, "B"),
)  # share of readings that repeat the one before, and the best grade then


@dataclass(frozen=True)
class QualityEvidence:
    """What is known of a sensor when its grade is given."""

    sensor: Sensor
    good: pd.Series
    step: timedelta | None
    received: int
    findings: tuple[FaultFinding, ...]

    @property
    def usable(self) -> float:
        """Share of the values received that may train; a row without a value is a gap, not a bad value."""
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
        """Whether anything of this kind was found."""
        return any(finding.kind is kind for finding in self.findings)


def compute_grade(evidence: QualityEvidence) -> str:
    """The worst of what the shares allow and what the faults allow."""
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
    """The grade a share earns."""
    return next((grade for grade, bar in zip(GRADES, minimums, strict=False) if share >= bar), "F")


def explain_grade(evidence: QualityEvidence) -> tuple[str, ...]:
    """One sentence for each thing found, what weighs most first."""
    good, sensor = evidence.good, evidence.sensor
    if evidence.received == 0:
        return ("no reading was received",)
    sentences = [describe_finding(finding, evidence) for finding in sort_findings(evidence.findings)]
    if len(good) < MIN_READINGS:
        sentences.insert(
            0, f"{format_count(len(good), 'good reading')} of {evidence.received:,}: too few for a model"
        )
    if evidence.covered < COVERED_SHARES[0] and evidence.step is not None:
        every = format_duration(evidence.step)
        sentences.append(
            f"{format_percent(evidence.covered, 1)} of the time covered at one reading every {every}"
        )
    if evidence.has(FaultKind.AT_REST) and sensor.low is None:
        sentences.append(
            f"at rest may be a stop or a dead signal: give {sensor.id} a physical range to tell them apart"
        )
    return tuple(sentences)


def sort_findings(findings: tuple[FaultFinding, ...]) -> list[FaultFinding]:
    """Faults that cost readings first, then the remarks; the larger before the smaller."""
    return sorted(findings, key=lambda finding: (not finding.kind.excluded, -finding.readings))


def describe_finding(finding: FaultFinding, evidence: QualityEvidence) -> str:
    """One finding in plant words."""
    worst = finding.worst
    if finding.kind in {FaultKind.IRREGULAR, FaultKind.WRONG_STEP, FaultKind.TIED, FaultKind.CONSTANT}:
        return f"{finding.kind}: {worst.detail}"
    since = f"{worst.start:%Y-%m-%d %H:%M}"
    if finding.kind is FaultKind.GAP:
        return f"{format_count(finding.episodes, 'gap')}, the longest {worst.detail} from {since}"
    qualifier = "the longest" if finding.kind in DURATION_KINDS else "such as"
    times = "once" if finding.episodes == 1 else f"{finding.episodes:,} times, {qualifier}"
    return (
        f"{finding.kind}: {format_count(finding.readings, 'reading')} "
        f"({format_percent(finding.readings, evidence.received)}), {times} {worst.detail} from {since}"
    )
