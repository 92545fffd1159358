"""How right each sensor's alarms were, version by version: what people said of them, counted.

Knows the table of alerts. What a precision leads to belongs to the gate, the alarm budget and the statistics.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from training.storage.alert_tables import alerts

CONFIRMED, FALSE = "confirm", "false"


@dataclass(frozen=True)
class VerdictCounts:
    """How many alarms people confirmed, and how many they called false."""

    confirmed: int = 0
    false: int = 0

    @property
    def precision(self) -> float | None:
        """Share of the judged alarms that were right; None where nobody judged any."""
        return self.confirmed / (self.confirmed + self.false) if self.confirmed + self.false else None

    @property
    def smoothed_precision(self) -> float:
        """The precision to reckon with: one verdict each way is taken for granted.

        >>> Judged(0, 0).believed, Judged(0, 3).believed, Judged(8, 0).believed
        (0.5, 0.2, 0.9)
        """
        return (self.confirmed + 1) / (self.confirmed + self.false + 2)

    def __str__(self) -> str:
        total = self.confirmed + self.false
        return f"{self.confirmed} of {total} judged alarms were right" if total else "no verdicts yet"

    @staticmethod
    def total(parts: "Iterable[VerdictCounts]") -> "VerdictCounts":
        """All of them as one."""
        counts = list(parts)
        return VerdictCounts(sum(part.confirmed for part in counts), sum(part.false for part in counts))


def count_verdicts(connection: Connection) -> dict[str, dict[str, VerdictCounts]]:
    """The verdicts on anomalies, by sensor and version of its detector; maintenance is neither."""
    verdicts = alerts.c
    query = (
        select(verdicts.sensor_id, verdicts.model_version, verdicts.verdict, func.count())
        .where(verdicts.type == "ANOMALY", verdicts.verdict.in_([CONFIRMED, FALSE]), verdicts.subject == "")
        .group_by(verdicts.sensor_id, verdicts.model_version, verdicts.verdict)
    )
    counts: dict[str, dict[str, Counter[str]]] = {}
    for sensor_id, version, verdict, count in connection.execute(query):
        counts.setdefault(sensor_id, {}).setdefault(version, Counter())[verdict] += count
    return {
        sensor_id: {
            version: VerdictCounts(said[CONFIRMED], said[FALSE]) for version, said in versions.items()
        }
        for sensor_id, versions in counts.items()
    }
