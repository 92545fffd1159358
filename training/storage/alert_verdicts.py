"""Count the verdicts on each sensor's alarms by version: how many were confirmed, how many false.

Holds the SQL. The gate, the alarm budget and the statistics of alerts use the counts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from training.storage.alert_tables import alerts

CONFIRMED, FALSE = "confirm", "false"


@dataclass(frozen=True)
class VerdictCounts:
    """How many alarms people confirmed, and how many they dismissed as false."""

    confirmed: int = 0
    false: int = 0

    @property
    def judged(self) -> int:
        """The number of verdicts."""
        return self.confirmed + self.false

    @property
    def precision(self) -> float | None:
        """Share of the judged alarms that were confirmed; None without verdicts."""
        return self.confirmed / self.judged if self.judged else None

    @property
    def smoothed_precision(self) -> float:
        """The precision with one more verdict of each kind (Laplace's rule of succession).

        >>> [VerdictCounts(*counts).smoothed_precision for counts in ((0, 0), (0, 3), (8, 0))]
        [0.5, 0.2, 0.9]
        """
        return (self.confirmed + 1) / (self.judged + 2)

    @staticmethod
    def total(parts: "Iterable[VerdictCounts]") -> "VerdictCounts":
        """The sum of all parts."""
        counts = list(parts)
        return VerdictCounts(sum(part.confirmed for part in counts), sum(part.false for part in counts))


def count_verdicts(connection: Connection) -> dict[str, dict[str, VerdictCounts]]:
    """The verdicts on anomalies by sensor and version of its detector; maintenance does not count."""
    columns = alerts.c
    query = (
        select(columns.sensor_id, columns.model_version, columns.verdict, func.count())
        .where(columns.type == "ANOMALY", columns.verdict.in_([CONFIRMED, FALSE]), columns.subject == "")
        .group_by(columns.sensor_id, columns.model_version, columns.verdict)
    )
    counts: dict[str, dict[str, Counter[str]]] = {}
    for sensor_id, version, verdict, count in connection.execute(query):
        counts.setdefault(sensor_id, {}).setdefault(version, Counter())[verdict] += count
    return {
        sensor_id: {
            version: VerdictCounts(verdicts[CONFIRMED], verdicts[FALSE])
            for version, verdicts in versions.items()
        }
        for sensor_id, versions in counts.items()
    }
