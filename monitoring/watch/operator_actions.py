"""What people ask and do about alerts: the functions behind the command line and the page.

Knows that an answer, what it teaches, the letters it sends and its entries in the audit belong into one
transaction, and that who answers a flood answers for all in it. What an answer does to an alert is told in
`answers`.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from monitoring.alerts import actions
from monitoring.alerts.alert import Alert, Chapter, Event
from monitoring.alerts.kinds import AlertType, Judgement, State
from monitoring.alerts.rules import LifeRules
from monitoring.alerts.store import FLOOD, AlertStore
from monitoring.notify.outbox_writer import Post
from monitoring.watch.verdict_labels import teach
from training.operations.console import to_json_value
from training.registry.audit import AuditEntry, add_entry
from training.settings import load_settings
from training.storage.database import writing
from training.workspace import Workspace

Answer = Callable[[Alert], Chapter]


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
    return AlertStore(workspace.engine).alert(alert_id)


def history_of(workspace: Workspace, alert_id: int) -> list[Event]:
    """Everything that happened to one alert, in order."""
    return [event for _, event in AlertStore(workspace.engine).changes(alert_id=alert_id)]


def acknowledge(workspace: Workspace, alert_id: int, *, by: str, now: datetime) -> Alert:
    """Somebody has seen it.

    Raises:
        ConfigurationError: there is no such alert, or it is closed.
    """
    return _answer(workspace, alert_id, lambda alert: actions.acknowledge(alert, by, now), now)


def shelve(workspace: Workspace, alert_id: int, until: datetime, *, by: str, now: datetime) -> Alert:
    """Nobody is told of it until then.

    Raises:
        ConfigurationError: there is no such alert, it is closed, or that moment is past or too far away.
    """
    longest = load_settings(LifeRules).longest_shelving
    return _answer(
        workspace, alert_id, lambda alert: actions.shelve(alert, until, by, now, longest=longest), now
    )


def unshelve(workspace: Workspace, alert_id: int, *, by: str, now: datetime) -> Alert:
    """People are told of it again.

    Raises:
        ConfigurationError: there is no such alert, or it is not shelved.
    """

    def taken_off(alert: Alert) -> Chapter:
        # Of a flood's alerts, some may not have been shelved, or have been taken off before.
        if alert.id != alert_id and alert.shelved_until is None:
            return Chapter(alert)
        return actions.unshelve(alert, by, now)

    return _answer(workspace, alert_id, taken_off, now)


def judge(
    workspace: Workspace,
    alert_id: int,
    verdict: Judgement,
    *,
    by: str,
    now: datetime,
    note: str | None = None,
) -> Alert:
    """Somebody says what it was; the next training learns from that.

    Raises:
        ConfigurationError: there is no such alert.
    """
    return _answer(workspace, alert_id, lambda alert: actions.judge(alert, verdict, by, now, note=note), now)


def as_dict(alert: Alert) -> dict[str, Any]:
    """Plain values for `--json`."""
    said = {**vars(alert.topic), **vars(alert), **vars(alert.evidence)}
    hidden = {"topic", "evidence", "weight"}
    return {name: to_json_value(value) for name, value in said.items() if name not in hidden}


def _answer(workspace: Workspace, alert_id: int, answer: Answer, now: datetime) -> Alert:
    store, post = AlertStore(workspace.engine), Post.from_conf(workspace)
    with writing(workspace.engine) as connection:
        asked = store.hold(connection, alert_id)
        chapters = [answer(asked)]
        if asked.topic.subject == FLOOD:
            chapters += [
                answer(member)
                for member in store.members(connection, alert_id)
                if member.state is not State.CLOSED
            ]
        kept = [store.keep(connection, chapter, now=now) for chapter in chapters if chapter.events]
        for chapter in kept:
            teach(connection, chapter.alert, now=now)
            for deed in _deeds(chapter, now):
                add_entry(connection, deed)
        post.post(connection, kept, now=now)
    return kept[0].alert if kept and kept[0].alert.id == alert_id else asked


def _deeds(chapter: Chapter, now: datetime) -> list[AuditEntry]:
    """What somebody did, as the audit says it: by our own clock, and not by that of the readings."""
    alert = chapter.alert
    return [
        AuditEntry(
            at=now,
            who=event.by or "",
            action=event.change.value,
            sensor_id=alert.topic.sensor_id,
            subject=f"alert {alert.id}",
            detail={"said": event.detail} if event.detail else {},
        )
        for event in chapter.events
    ]
