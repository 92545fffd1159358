"""Compose the notification of an alert change: title, text, and fields for programs.

Recipients are selected in `channels`; messages are sent in `delivery`.
"""

import uuid
from enum import StrEnum
from typing import Any

from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.evidence_text import evidence_text
from monitoring.alerts.kinds import (
    AlertChange,
    AlertType,
    InstrumentProblem,
    Severity,
    limit_name,
    problem_name,
    severity_name,
    type_name,
    verdict_name,
)
from monitoring.alerts.store import FLOOD_SUBJECT
from monitoring.i18n.translation import Translator
from monitoring.notify.message_settings import MessageSettings
from training.data.limits import LimitKind
from training.data.sensors import Sensor
from training.operations.console import to_json_value

RESOLVING_CHANGES = {AlertChange.RETURNED, AlertChange.CLOSED}
OPERATOR_CHANGES = {
    AlertChange.ACKNOWLEDGED,
    AlertChange.SHELVED,
    AlertChange.UNSHELVED,
    AlertChange.JUDGED,
    AlertChange.ACCEPTED,
}
# Receivers that store message ids can drop a message that arrives twice.
MESSAGE_NAMESPACE = uuid.UUID("2f6a1c52-4f0f-4a94-9d3c-7c1f6f1f5f10")


class NotifyType(StrEnum):
    """How urgent a channel shows a message; the values are Apprise's."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


def compose_message(
    alert: Alert,
    event: AlertEvent,
    number: int,
    sensor: Sensor,
    _: Translator,
    settings: MessageSettings,
) -> dict[str, Any]:
    """The message about one change; `number` counts the changes of the alert."""
    severity = severity_name(_, event.severity).upper()
    what = f"{alert_name(_, alert)}, {change_name(_, event.change)}"
    title = f"{severity} · {sensor_label(alert, sensor)}: {what}"
    return {
        "id": message_id(alert, number),
        "title": title,
        "body": "\n".join(_body_lines(alert, event, number, sensor, _, settings)),
        "notify_type": notify_type(event).value,
        "severity": int(event.severity),
        "type": alert.topic.type.value,
        "change": event.change.value,
        "sensor_id": alert.topic.sensor_id,
        "platform": alert.topic.platform,
        "alert_id": alert.id,
        "number": number,
        "at": to_json_value(event.at),
    }


def sensor_label(alert: Alert, sensor: Sensor) -> str:
    """Tag, name and platform: of 40 discharge pressures the name alone means none."""
    platform = f"({alert.topic.platform})" if alert.topic.platform else ""
    parts = (platform,) if alert.topic.subject == FLOOD_SUBJECT else (sensor.id, sensor.name, platform)
    return " ".join(filter(None, parts))


def notify_type(event: AlertEvent) -> NotifyType:
    """How a channel shows a change: what a person did is no failure, a new level no return to normal."""
    if event.change in RESOLVING_CHANGES:
        return NotifyType.SUCCESS
    if event.change in OPERATOR_CHANGES or event.change is AlertChange.SETTLED:
        return NotifyType.INFO
    return NotifyType.WARNING if event.severity is Severity.WARNING else NotifyType.FAILURE


def message_id(alert: Alert, number: int) -> str:
    """An id that is the same each time a change is sent."""
    return str(uuid.uuid5(MESSAGE_NAMESPACE, f"{alert.id} {alert.opened_at.isoformat()} {number}"))


def change_name(_: Translator, change: AlertChange) -> str:
    """The name of a change."""
    return {
        AlertChange.OPENED: _("new alert"),
        AlertChange.WORSENED: _("severity raised"),
        AlertChange.RETURNED: _("returned to normal"),
        AlertChange.REPEATED: _("active again"),
        AlertChange.SETTLED: _("settled at a new level"),
        AlertChange.ACCEPTED: _("new level accepted"),
        AlertChange.ESCALATED: _("not acknowledged"),
        AlertChange.ACKNOWLEDGED: _("acknowledged"),
        AlertChange.SHELVED: _("shelved"),
        AlertChange.UNSHELVED: _("unshelved"),
        AlertChange.JUDGED: _("verdict"),
        AlertChange.CLOSED: _("closed"),
    }[change]


def alert_name(_: Translator, alert: Alert) -> str:
    """The name of an alert: its type, and the kind of limit or the problem of the instrument."""
    subject = alert.topic.subject
    if subject == FLOOD_SUBJECT:
        return _("Alarm flood")
    name = type_name(_, alert.topic.type)
    # Scripts raise alerts with a subject of their own.
    if alert.topic.type is AlertType.LIMIT:
        detail = limit_name(_, LimitKind(subject)) if subject in set(LimitKind) else subject
    elif alert.topic.type is AlertType.INSTRUMENT:
        detail = problem_name(_, InstrumentProblem(subject)) if subject in set(InstrumentProblem) else subject
    else:
        return name
    return f"{name} ({detail})" if detail else name


def _body_lines(
    alert: Alert, event: AlertEvent, number: int, sensor: Sensor, _: Translator, settings: MessageSettings
) -> list[str]:
    evidence, normal = alert.evidence, alert.normal
    lines = [evidence_text(_, alert, sensor.unit)]
    if event.change in {AlertChange.RETURNED, AlertChange.SETTLED} and event.reasons:
        lines.insert(0, _.reason_text(event.reasons, event.detail, unit=sensor.unit))
    if normal is not None and alert.topic.type is not AlertType.ANOMALY:
        ends = {"low": _.quantity(normal.low, None), "high": _.quantity(normal.high, sensor.unit)}
        lines.append(_("normal range {low} to {high}", **ends))
    if evidence.crosses_at is not None:
        lines.append(_("limit reached at {time}", time=_.moment_with_zone(evidence.crosses_at)))
    since, notified = _.moment_with_zone(alert.began_at), _.moment_with_zone(event.at)
    lines.append(_("since {since}, notified at {time}", since=since, time=notified))
    if event.by is not None:
        lines.append(_("by {who}", who=event.by) + _action_detail(alert, event, _))
    if event.change not in RESOLVING_CHANGES and (runbook := settings.runbook(sensor, alert.topic.type)):
        lines.append(_("What to do: {text}", text=runbook))
    if (link := settings.link(sensor, alert.topic.type)) is not None:
        lines.append(link)
    repeats = "" if not alert.repeats else ", " + _.plural("{count} repeat", "{count} repeats", alert.repeats)
    lines.append(_("alert {number}", number=f"{alert.id}.{number}") + repeats)
    return [line for line in lines if line]


def _action_detail(alert: Alert, event: AlertEvent, _: Translator) -> str:
    """What an operator chose: the end of shelving, or the verdict with its note."""
    if event.change is AlertChange.SHELVED and alert.shelved_until is not None:
        return ", " + _("shelved until {time}", time=_.moment(alert.shelved_until))
    if event.change is AlertChange.JUDGED and alert.verdict is not None:
        note = f" ({alert.note})" if alert.note else ""
        return f": {verdict_name(_, alert.verdict)}{note}"
    return ""
