"""The score from which an anomaly is an alert, sensor by sensor: the alarm budget's part of each.

Knows the table. How the budget is shared out is `budget`'s.
"""

from collections import defaultdict

from sqlalchemy import Connection, select

from monitoring.alert_kinds import Severity
from monitoring.signs_of_anomalies import Thresholds
from training.alert_tables import alert_thresholds


def thresholds_of(connection: Connection) -> dict[str, Thresholds]:
    """Each sensor's thresholds; those without one have the detector's."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in connection.execute(select(alert_thresholds)):
        found[row.sensor_id][row.severity] = row.threshold
    return {
        sensor_id: Thresholds(said.get(Severity.WARNING, 0.0), said.get(Severity.DANGER, 0.0))
        for sensor_id, said in found.items()
    }
