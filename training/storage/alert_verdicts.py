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
class Judged:
    """How many alarms people confirmed, and how many they called false."""

    confirmed: int = 0
    false: int = 0

    @property
    def precision(self) -> float | None:
        """Share of the judged alarms that were right; None where nobody judged any."""
        return self.confirmed / (self.confirmed + self.false) if self.confirmed + self.false else None

    @property
    def believed(self) -> float:
        """The precision to reckon with: one verdict each way is taken for granted.

        >>> Judged(0, 0).believed, Judged(0, 3).believed, Judged(8, 0).believed
        (0.5, 0.2, 0.9)
        """
        return (self.confirmed + 1) / (self.confirmed + self.false + 2)

    def __str__(self) -> str:
        total = self.confirmed + self.false
        return f"{self.confirmed} of {total} judged alarms were right" if total else "no verdicts yet"

    @staticmethod
    def together(parts: "Iterable[Judged]") -> "Judged":
        """All of them as one."""
        found = list(parts)
        return Judged(sum(part.confirmed for part in found), sum(part.false for part in found))


def judged_alarms(connection: Connection) -> dict[str, dict[str, Judged]]:
    """The verdicts on anomalies, by sensor and version of its detector; maintenance is neither."""
    said = alerts.c
    query = (
        select(said.sensor_id, said.model_version, said.verdict, func.count())
        .where(said.type == "ANOMALY", said.verdict.in_([CONFIRMED, FALSE]), said.subject == "")
        .group_by(said.sensor_id, said.model_version, said.verdict)
    )
    counts: dict[str, dict[str, Counter[str]]] = {}
    for sensor_id, version, verdict, count in connection.execute(query):
        counts.setdefault(sensor_id, {}).setdefault(version, Counter())[verdict] += count
    return {
        sensor_id: {version: Judged(said[CONFIRMED], said[FALSE]) for version, said in versions.items()}
        for sensor_id, versions in counts.items()
    }
