"""Assess one sensor's readings: instrument faults, a grade with its reasons, and the readings to learn from.

Faults are searched for in `training.quality.fault_checks` and graded in `training.quality.grades`. What the
good readings are used for is decided in `training.quality.windows`.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pandas as pd

from training.data.sensors import Sensor
from training.quality.fault_checks import FaultChecks, QualitySettings
from training.quality.fault_report import FaultFinding, InstrumentFault
from training.quality.grades import QualityEvidence, compute_grade, explain_grade
from training.reasons import Reason


@dataclass(frozen=True)
class SensorQuality:
    """The quality of one sensor's readings."""

    sensor_id: str
    grade: str  # A, B, C, D or F
    reasons: tuple[Reason, ...]
    findings: tuple[FaultFinding, ...]
    received: int
    step: timedelta | None
    resolution: float  # the difference between neighbouring values; 0 where all values are equal
    good: pd.Series = field(repr=False)  # the readings that a model may learn from

    @property
    def faults(self) -> tuple[InstrumentFault, ...]:
        """The episodes of all kinds in order of time; of each kind, the largest."""
        faults = (fault for finding in self.findings for fault in finding.faults)
        return tuple(sorted(faults, key=lambda fault: (fault.start, fault.end, fault.kind)))


def assess_readings(
    readings: pd.DataFrame, sensor: Sensor, settings: QualitySettings | None = None
) -> SensorQuality:
    """Assess one sensor's readings: `timestamp, value` and, where known, `data_quality`, in any order."""
    frame = sort_readings(readings)
    checks = FaultChecks(frame, sensor, settings or QualitySettings())
    evidence = QualityEvidence(
        sensor, checks.good, checks.step, received=len(frame), findings=tuple(checks.findings)
    )
    return SensorQuality(
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
    """One row a timestamp, oldest first, indexed by it: `value, data_quality`."""
    frame = pd.DataFrame(
        {
            "timestamp": pd.DatetimeIndex(readings["timestamp"]),
            "value": readings["value"].to_numpy(dtype=np.float64, na_value=np.nan),
            "data_quality": readings["data_quality"].to_numpy() if "data_quality" in readings else 0,
        }
    )
    if not (frame["timestamp"].is_monotonic_increasing and frame["timestamp"].is_unique):
        # Contradicting readings are sorted by value too, so that the order of the rows changes nothing.
        frame = frame.sort_values(["timestamp", "data_quality", "value"]).drop_duplicates("timestamp")
    return frame.set_index("timestamp")
