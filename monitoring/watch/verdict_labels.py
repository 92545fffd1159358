"""Verdicts: what people say about alerts becomes what models learn from.

Knows which label or maintenance a verdict stands for, and writes it in the verdict's own transaction. How
labels move a training is `training`'s.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, insert

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertType, AlertVerdict
from monitoring.alerts.maintenance import MaintenanceWindow, save_maintenance
from monitoring.alerts.store import FLOOD_SUBJECT
from monitoring.watch.instrument_conditions import InstrumentProblem
from training.storage.alert_tables import maintenance
from training.storage.database import labels


def label_source(alert: Alert) -> str:
    """Who says what the label says."""
    return f"alert {alert.id}"


def save_verdict_label(connection: Connection, alert: Alert, *, now: datetime) -> None:
    """Keep what the verdict says about the readings of the episode, in place of what was said before.

    The readings of a confirmed alert are to be found and not to be learned from; those of a false one are
    usual; those of maintenance are neither.
    """
    if alert.verdict is None or not is_about_readings(alert):
        return
    connection.execute(delete(labels).where(labels.c.source == label_source(alert)))
    connection.execute(delete(maintenance).where(maintenance.c.alert_id == alert.id))
    if alert.verdict is AlertVerdict.MAINTENANCE:
        # A window ends before its end; the last odd reading belongs to it.
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
    """Whether a verdict says something of the sensor's readings, and not of a forecast or a silence."""
    if alert.topic.subject == FLOOD_SUBJECT:
        return False
    frozen = (
        alert.topic.type is AlertType.INSTRUMENT and alert.topic.subject == InstrumentProblem.FROZEN.value
    )
    return frozen or alert.topic.type is AlertType.ANOMALY
