"""What people ask and do about alerts: the functions behind the command line and the page.

Knows that an answer, what it teaches, the letters it sends and its entries in the audit belong into one
transaction, and that who answers a flood answers for all in it. What an answer does to an alert is told in
`answers`.
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
    """Alerts that lived at some time from `start` until `end`: open ones first, the worst and newest first.

    `alive` False: only closed ones; None: both.
    """
    store = AlertStore(workspace.engine)
    return store.find(sensor_ids=sensor_ids, alive=alive, kinds=kinds, start=start, end=end, limit=limit)


def find_alert(workspace: Workspace, alert_id: int) -> Alert:
    """One alert.

    Raises:
        ConfigurationError: there is none with that id.
    """
    return AlertStore(workspace.engine).load(alert_id)


def alert_history(workspace: Workspace, alert_id: int) -> list[AlertEvent]:
    """Everything that happened to one alert, in order."""
    return [event for _, event in AlertStore(workspace.engine).changes(alert_id=alert_id)]


def acknowledge(workspace: Workspace, alert_id: int, *, by: str, now: datetime) -> Alert:
    """Somebody has seen it.

    Raises:
        ConfigurationError: there is no such alert, or it is closed.
    """
    return _apply_action(workspace, alert_id, lambda alert: actions.acknowledge(alert, by, now), now)


def shelve(workspace: Workspace, alert_id: int, until: datetime, *, by: str, now: datetime) -> Alert:
    """Nobody is told of it until then.

    Raises:
        ConfigurationError: there is no such alert, it is closed, or that moment is past or too far away.
    """
    longest = load_settings(LifeRules).longest_shelving
    return _apply_action(
        workspace, alert_id, lambda alert: actions.shelve(alert, until, by, now, longest=longest), now
    )


def unshelve(workspace: Workspace, alert_id: int, *, by: str, now: datetime) -> Alert:
    """People are told of it again.

    Raises:
        ConfigurationError: there is no such alert, or it is not shelved.
    """

    def unshelve_one(alert: Alert) -> Transition:
        # Of a flood's alerts, some may not have been shelved, or have been taken off before.
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
    """Somebody says what it was; the next training learns from that.

    Raises:
        ConfigurationError: there is no such alert.
    """
    return _apply_action(
        workspace, alert_id, lambda alert: actions.set_verdict(alert, verdict, by, now, note=note), now
    )


def alert_to_dict(alert: Alert) -> dict[str, Any]:
    """Plain values for `--json`."""
    values = {**vars(alert.topic), **vars(alert), **vars(alert.evidence)}
    hidden = {"topic", "evidence", "weight"}
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
        saved = [store.save(connection, chapter, now=now) for chapter in transitions if chapter.events]
        for transition in saved:
            save_verdict_label(connection, transition.alert, now=now)
            for entry in _audit_entries(transition, now):
                add_entry(connection, entry)
        outbox_writer.enqueue(connection, saved, now=now)
    return saved[0].alert if saved and saved[0].alert.id == alert_id else alert


def _audit_entries(transition: Transition, now: datetime) -> list[AuditEntry]:
    """What somebody did, as the audit says it: by our own clock, and not by that of the readings."""
    alert = transition.alert
    return [
        AuditEntry(
            at=now,
            who=event.by or "",
            action=event.change.value,
            sensor_id=alert.topic.sensor_id,
            subject=f"alert {alert.id}",
            detail={"said": event.detail} if event.detail else {},
        )
        for event in transition.events
    ]
