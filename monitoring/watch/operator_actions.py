"""Alert queries and actions of operators: the functions behind the command line and the dashboard.

Stores an action with its label, notifications and audit entries in one transaction; an action on a flood
applies to all alerts in it. What an action changes is in `monitoring.alerts.actions`.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from monitoring.alerts import actions
from monitoring.alerts.alert import Alert, AlertEvent, Transition
from monitoring.alerts.kinds import AlertState, AlertType, AlertVerdict
from monitoring.alerts.rules import LifeRules
from monitoring.alerts.store import FLOOD_SUBJECT, AlertStore
from monitoring.notify.outbox_writer import OutboxWriter
from monitoring.watch.verdict_labels import save_verdict_label
from training.operations.console import to_json_value
from training.registry.audit import AuditEntry, add_entry
from training.settings import load_settings
from training.storage.database import writing
from training.workspace import Workspace

AlertAction = Callable[[Alert], Transition]


def list_alerts(
    workspace: Workspace,
    sensor_ids: Collection[str] | None = None,
    *,
    alive: bool | None = True,
    kinds: Collection[AlertType] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int | None = None,
) -> list[Alert]:
    """Alerts that were not closed at some time from `start` until `end`, by state and severity, newest first.

    `alive` False: only closed ones; None: both.
    """
    store = AlertStore(workspace.engine)
    return store.find(sensor_ids=sensor_ids, alive=alive, kinds=kinds, start=start, end=end, limit=limit)


def find_alert(workspace: Workspace, alert_id: int) -> Alert:
    """One alert.

    Raises:
        ConfigurationError: there is no alert with this id.
    """
    return AlertStore(workspace.engine).load(alert_id)


def alert_history(workspace: Workspace, alert_id: int) -> list[AlertEvent]:
    """All events of one alert, in order."""
    return [event for _, event in AlertStore(workspace.engine).changes(alert_id=alert_id)]


def acknowledge(workspace: Workspace, alert_id: int, *, by: str, now: datetime) -> Alert:
    """Acknowledge an alert.

    Raises:
        ConfigurationError: there is no such alert, or it is closed.
    """
    return _apply_action(workspace, alert_id, lambda alert: actions.acknowledge(alert, by, now), now)


def shelve(workspace: Workspace, alert_id: int, until: datetime, *, by: str, now: datetime) -> Alert:
    """Send no notifications of an alert until a time.

    Raises:
        ConfigurationError: there is no such alert, it is closed, or the time is in the past or too far away.
    """
    longest = load_settings(LifeRules).longest_shelving
    return _apply_action(
        workspace, alert_id, lambda alert: actions.shelve(alert, until, by, now, longest=longest), now
    )


def unshelve(workspace: Workspace, alert_id: int, *, by: str, now: datetime) -> Alert:
    """Send notifications of an alert again.

    Raises:
        ConfigurationError: there is no such alert, or it is not shelved.
    """

    def unshelve_one(alert: Alert) -> Transition:
        # Some alerts of a flood may not be shelved, or no longer.
        if alert.id != alert_id and alert.shelved_until is None:
            return Transition(alert)
        return actions.unshelve(alert, by, now)

    return _apply_action(workspace, alert_id, unshelve_one, now)


def set_verdict(
    workspace: Workspace,
    alert_id: int,
    verdict: AlertVerdict,
    *,
    by: str,
    now: datetime,
    note: str | None = None,
) -> Alert:
    """Set the verdict of an alert; the next training uses it.

    Raises:
        ConfigurationError: there is no such alert.
    """
    return _apply_action(
        workspace, alert_id, lambda alert: actions.set_verdict(alert, verdict, by, now, note=note), now
    )


def accept_level(workspace: Workspace, alert_id: int, *, by: str, now: datetime) -> Alert:
    """Accept the new level of an alert as the normal one, which closes the alert.

    Raises:
        ConfigurationError: there is no such alert, or it has not settled at a new level.
    """

    def accept_one(alert: Alert) -> Transition:
        if alert.id != alert_id and alert.settled is None:
            return Transition(alert)  # of a flood, some alerts only have settled
        return actions.accept_level(alert, by, now)

    return _apply_action(workspace, alert_id, accept_one, now)


def alert_to_dict(alert: Alert) -> dict[str, Any]:
    """Plain values for `--json`."""
    values = {**vars(alert.topic), **vars(alert), **vars(alert.evidence)}
    values["reasons"] = [reason.as_dict() for reason in alert.evidence.reasons]
    readings = {name: getattr(alert, name) for name in ("first", "worst", "current", "settled")}
    values |= {name: None if reading is None else reading.as_dict() for name, reading in readings.items()}
    values["normal"] = None if alert.normal is None else {"low": alert.normal.low, "high": alert.normal.high}
    hidden = {"topic", "evidence", "weight", "at", "deviated"}
    return {name: to_json_value(value) for name, value in values.items() if name not in hidden}


def _apply_action(workspace: Workspace, alert_id: int, action: AlertAction, now: datetime) -> Alert:
    store, outbox_writer = AlertStore(workspace.engine), OutboxWriter.from_conf(workspace)
    with writing(workspace.engine) as connection:
        alert = store.load_for_update(connection, alert_id)
        transitions = [action(alert)]
        if alert.topic.subject == FLOOD_SUBJECT:
            transitions += [
                action(member)
                for member in store.group_members(connection, alert_id)
                if member.state is not AlertState.CLOSED
            ]
        saved = [
            store.save(connection, transition, now=now) for transition in transitions if transition.events
        ]
        for transition in saved:
            save_verdict_label(connection, transition.alert, now=now)
            for entry in _audit_entries(transition, now):
                add_entry(connection, entry)
        outbox_writer.enqueue(connection, saved, now=now)
    return saved[0].alert if saved and saved[0].alert.id == alert_id else alert


def _audit_entries(transition: Transition, now: datetime) -> list[AuditEntry]:
    """Audit entries of an action, with the server's time and not that of the readings."""
    alert = transition.alert
    return [
        AuditEntry(
            at=now,
            who=event.by or "",
            action=event.change.value,
            sensor_id=alert.topic.sensor_id,
            subject=f"alert {alert.id}",
            detail={"said": event.detail} if event.detail else {},  # quoted: a stored name
        )
        for event in transition.events
    ]
