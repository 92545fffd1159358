"""Turn verdicts on alerts into labels and maintenance windows for training.

Writes them in the transaction of the verdict. Training uses them in `training.evaluation.label_feedback` and
`training.data.maintenance_filter`.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, insert

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertType, AlertVerdict, InstrumentProblem
from monitoring.alerts.maintenance import MaintenanceWindow, save_maintenance
from monitoring.alerts.store import FLOOD_SUBJECT
from training.storage.alert_tables import maintenance
from training.storage.database import labels


def label_source(alert: Alert) -> str:
    """The source of the labels of an alert."""
    return f"alert {alert.id}"


def save_verdict_label(connection: Connection, alert: Alert, *, now: datetime) -> None:
    """Store what the verdict means for the readings of the episode; replaces those of an earlier verdict.

    Readings of a confirmed alert are labelled anomalous, those of a false alarm normal; maintenance becomes a
    maintenance window.
    """
    if alert.verdict is None or not is_about_readings(alert):
        return
    connection.execute(delete(labels).where(labels.c.source == label_source(alert)))
    connection.execute(delete(maintenance).where(maintenance.c.alert_id == alert.id))
    if alert.verdict is AlertVerdict.MAINTENANCE:
        # The end of a window is excluded; the last anomalous reading belongs to it.
        end = alert.last_at + datetime.resolution
        reason = alert.note or "a verdict"
        by = alert.verdict_by or ""
        work = MaintenanceWindow(
            alert.began_at, end, reason, by, sensor_id=alert.topic.sensor_id, alert_id=alert.id
        )
        save_maintenance(connection, work, now=now)
        return
    connection.execute(
        insert(labels).values(
            sensor_id=alert.topic.sensor_id,
            start=alert.began_at,
            end=alert.last_at,
            source=label_source(alert),
            anomalous=alert.verdict is AlertVerdict.CONFIRM,
            made_at=now,
        )
    )


def is_about_readings(alert: Alert) -> bool:
    """Whether an alert is about readings of the sensor, not about a forecast, drift or missing data."""
    if alert.topic.subject == FLOOD_SUBJECT:
        return False
    frozen = (
        alert.topic.type is AlertType.INSTRUMENT and alert.topic.subject == InstrumentProblem.FROZEN.value
    )
    return frozen or alert.topic.type is AlertType.ANOMALY
