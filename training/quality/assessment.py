"""Can this sensor be believed: its instrument faults, the readings that may train, a grade and its reasons.

Knows what one sensor's readings are worth. The faults are looked for in `examination`, told in `episodes`,
graded in `grades`; what is done with the good readings is `windows`'.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from training.data.sensors import Sensor
from training.quality.fault_checks import FaultChecks, QualitySettings
from training.quality.fault_report import FaultFinding, FaultKind, InstrumentFault
from training.quality.grades import QualityEvidence, compute_grade, explain_grade

__all__ = ["FaultFinding", "FaultKind", "InstrumentFault", "Quality", "QualitySettings", "assess_readings"]


@dataclass(frozen=True)
class Quality:
    """What one sensor's readings are worth."""

    sensor_id: str
    grade: str  # A, B, C, D or F
    reasons: tuple[str, ...]
    findings: tuple[FaultFinding, ...]
    received: int
    step: timedelta | None
    resolution: float  # the step between neighbouring values; 0 where there is one value only
    good: pd.Series = field(repr=False)  # the readings that may train

    @property
    def faults(self) -> tuple[InstrumentFault, ...]:
        """Every episode told, in order of time."""
        faults = (fault for finding in self.findings for fault in finding.faults)
        return tuple(sorted(faults, key=lambda fault: (fault.start, fault.end, fault.kind)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, bounded in size; the readings themselves are left out."""
        return {
            "sensor_id": self.sensor_id,
            "grade": self.grade,
            "reasons": list(self.reasons),
            "received": self.received,
            "good": len(self.good),
            "step_seconds": self.step.total_seconds() if self.step else None,
            "resolution": self.resolution,
            "episodes": {finding.kind.value: finding.episodes for finding in self.findings},
            "faults": [fault.as_dict() for fault in self.faults],
        }


def assess_readings(
    readings: pd.DataFrame, sensor: Sensor, settings: QualitySettings | None = None
) -> Quality:
    """Judge one sensor's readings: `timestamp, value` and, where known, `data_quality`, in any order."""
    frame = sort_readings(readings)
    checks = FaultChecks(frame, sensor, settings or QualitySettings())
    evidence = QualityEvidence(
        sensor, checks.good, checks.step, received=len(frame), findings=tuple(checks.findings)
    )
    return Quality(
        sensor_id=sensor.id,
        grade=compute_grade(evidence),
        reasons=explain_grade(evidence),
        findings=evidence.findings,
        received=len(frame),
        step=checks.step,
        resolution=checks.resolution,
        good=checks.good,
    )


def sort_readings(readings: pd.DataFrame) -> pd.DataFrame:
    """One row a time stamp, oldest first, indexed by it: `value, data_quality`."""
    frame = pd.DataFrame(
        {
            "timestamp": pd.DatetimeIndex(readings["timestamp"]),
            "value": readings["value"].to_numpy(dtype=np.float64, na_value=np.nan),
            "data_quality": readings["data_quality"].to_numpy() if "data_quality" in readings else 0,
        }
    )
    if not (frame["timestamp"].is_monotonic_increasing and frame["timestamp"].is_unique):
        # Contradicting readings are sorted by value too, so that no order of rows changes the verdict.
        frame = frame.sort_values(["timestamp", "data_quality", "value"]).drop_duplicates("timestamp")
    return frame.set_index("timestamp")
