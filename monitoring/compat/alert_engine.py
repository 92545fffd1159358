"""The alert API of the original system: scripts change the import and keep their calls.

Alerts that scripts raise have the life cycle of all others: they are notified, escalated, judged and closed
by the same rules. Alerts from readings are raised in `monitoring.watch`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from monitoring.alerts import watch_store
from monitoring.alerts.alert import Alert, AlertEvidence, AlertTopic, Condition, PendingAlert, recency_weight
from monitoring.alerts.kinds import AlertState, AlertType, Severity
from monitoring.alerts.life_cycle import advance
from monitoring.alerts.maintenance import load_maintenance_windows
from monitoring.alerts.rules import AlertRules
from monitoring.alerts.store import AlertStore, topic_key
from monitoring.notify.outbox_writer import OutboxWriter
from monitoring.watch.operator_actions import acknowledge, list_alerts
from monitoring.watch.verdict_labels import save_verdict_label
from training.common.times import to_naive_utc
from training.common.users import current_user
from training.data.sensor_store import load_fleet
from training.data.sensors import Sensor
from training.errors import ConfigurationError
from training.storage.database import writing
from training.workspace import Workspace

SCRIPT_SUBJECT = "script"  # separates the alerts of scripts from those of the watch
ZERO_DURATION = timedelta(0)
STATUS_BY_STATE = {AlertState.OPEN: "ACTIVE", AlertState.RETURNED: "RESOLVED", AlertState.CLOSED: "RESOLVED"}


@dataclass(frozen=True)
class NamedAlert:
    """One alert with the fields of the original system. Times are naive UTC."""

    alert_id: int
    sensor_id: str
    severity_level: int
    alert_type: str
    status: str  # ACTIVE, ACKNOWLEDGED or RESOLVED
    notes: str
    sensor_value: float | None
    triggered_at: datetime
    acknowledged_at: datetime | None
    resolved_at: datetime | None

    @classmethod
    def of(cls, alert: Alert) -> "NamedAlert":
        """Convert an alert of this system."""
        assert alert.id is not None
        acknowledged = alert.state is AlertState.OPEN and alert.acknowledged_at is not None
        return cls(
            alert_id=alert.id,
            sensor_id=alert.topic.sensor_id,
            severity_level=int(alert.severity),
            alert_type=alert.topic.type.value,
            status="ACKNOWLEDGED" if acknowledged else STATUS_BY_STATE[alert.state],
            notes=alert.note or alert.evidence.reason,
            sensor_value=alert.evidence.value,
            triggered_at=alert.opened_at,
            acknowledged_at=alert.acknowledged_at,
            resolved_at=alert.returned_at or alert.closed_at,
        )


class AlertEngine:
    """Raises and reads alerts of one installation."""

    def __init__(
        self, workspace: Workspace, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.workspace = workspace
        self.clock = clock
        self.store = AlertStore(workspace.engine)

    def create_alert(
        self,
        sensor_id: str | int,
        severity_level: int,
        alert_type: str = AlertType.ANOMALY.value,
        notes: str = "",
        sensor_value: float | None = None,
    ) -> NamedAlert | None:
        """Raise an alert; None during maintenance.

        A second call for the same sensor and type continues the alert and may raise its severity. Without a
        call for `life.return_after`, the next watch returns it to normal.

        Raises:
            UnknownSensor: there is no sensor with this id.
            ConfigurationError: there is no such severity or type.
        """
        sensor = load_fleet(self.workspace.engine).sensor(str(sensor_id))
        severity, kind = _parse_severity_and_type(severity_level, alert_type)
        now, alert_rules = self._now(), AlertRules.from_conf()
        evidence = AlertEvidence(weight=recency_weight(now), value=sensor_value, reason=notes)
        conditions = [Condition(now, severity, severity, evidence), Condition(now + datetime.resolution)]
        timing = alert_rules.of(sensor).timing(kind, sensor.step or ZERO_DURATION)
        timing_without_hold = replace(timing, hold=dict.fromkeys(timing.hold, ZERO_DURATION))
        topic = AlertTopic(kind, sensor.id, SCRIPT_SUBJECT, sensor.platform)
        outbox_writer = OutboxWriter.from_conf(self.workspace)
        with writing(self.workspace.engine) as connection:
            alive, pending = self._load_state(connection, topic, sensor)
            lifecycle = advance(
                topic,
                pending,
                alive,
                conditions,
                timing_without_hold,
                now=now + datetime.resolution,
                maintenance=load_maintenance_windows(connection, sensor.platform, [sensor.id]).get(
                    sensor.id, ()
                ),
            )
            # Scripts must not change how far the watch has evaluated the sensor's readings.
            watch_store.save_pending(connection, {topic_key(topic): replace(lifecycle.pending, seen=None)})
            saved = [
                self.store.save(connection, transition, now=now)
                for transition in lifecycle.transitions
                if transition.alert != alive
            ]
            for transition in saved:
                save_verdict_label(connection, transition.alert, now=now)
            outbox_writer.enqueue(connection, saved, now=now)
        result = saved[-1].alert if saved else alive
        return None if result is None else NamedAlert.of(result)

    def acknowledge_alert(self, alert_id: int) -> NamedAlert:
        """Acknowledge an alert.

        Raises:
            ConfigurationError: there is no such alert, or it is closed.
        """
        return NamedAlert.of(acknowledge(self.workspace, alert_id, by=current_user(), now=self._now()))

    def get_active_alerts(self) -> list[NamedAlert]:
        """Open alerts that are not acknowledged, by severity, newest first."""
        alerts = map(NamedAlert.of, list_alerts(self.workspace))
        return [alert for alert in alerts if alert.status == "ACTIVE"]

    def get_alerts_by_sensor(self, sensor_id: str | int, limit: int = 100) -> list[NamedAlert]:
        """The alerts of a sensor, open ones first, by severity, newest first."""
        alerts = list_alerts(self.workspace, [str(sensor_id)], alive=None, limit=limit)
        return [NamedAlert.of(alert) for alert in alerts]

    def get_alert_statistics(self) -> dict[str, Any]:
        """The number of active alerts, in total and by severity, and of all alerts by state."""
        active = self.get_active_alerts()
        by_severity = {
            severity.name.lower(): sum(alert.severity_level == severity for alert in active)
            for severity in reversed(Severity)
        }
        counts = {state.value: count for state, count in self.store.counts().items()}
        return {"total_active": len(active), **by_severity, "by_status": counts}

    def _load_state(
        self, connection: Connection, topic: AlertTopic, sensor: Sensor
    ) -> tuple[Alert | None, PendingAlert]:
        key = topic_key(topic)
        alive = self.store.load_active(connection, sensor.platform, [sensor.id]).get(key)
        return alive, watch_store.load_pending(connection, [sensor.id]).get(key, PendingAlert())

    def _now(self) -> datetime:
        return to_naive_utc(self.clock())


def create_alert_engine() -> AlertEngine:
    """The engine of the installation in `SAFEPLAN_HOME` or the working folder."""
    return AlertEngine(Workspace.here())


def _parse_severity_and_type(severity_level: int, alert_type: str) -> tuple[Severity, AlertType]:
    if severity_level not in set(Severity):
        choices = ", ".join(f"{int(severity)} {severity.name.lower()}" for severity in Severity)
        raise ConfigurationError(f"{severity_level} is not a severity; use one of {choices}.")
    if alert_type not in set(AlertType):
        raise ConfigurationError(f"{alert_type!r} is not an alert type; use one of {', '.join(AlertType)}.")
    return Severity(severity_level), AlertType(alert_type)
