"""What people are told about an alert: a title, a few lines, and the facts for machines.

Knows words. Who is told is decided in `channels`, when and how in `delivery`.
"""

import uuid
from typing import Any

from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.kinds import AlertChange, AlertType, severity_name, type_name
from monitoring.alerts.store import FLOOD_SUBJECT
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator
from training.common.formatting import format_value
from training.data.sensors import Sensor
from training.operations.console import to_json_value

# A receiver that keeps these ids can tell a message that came twice from two messages.
MESSAGE_NAMESPACE = uuid.UUID("2f6a1c52-4f0f-4a94-9d3c-7c1f6f1f5f10")


def compose_message(
    alert: Alert, event: AlertEvent, number: int, sensor: Sensor, _: Translator
) -> dict[str, Any]:
    """One message about one change; `number` is the change's among those of its alert."""
    title = _(
        "{severity}: {sensor}, {type}: {change}",
        severity=severity_name(_, event.severity).upper(),
        sensor=sensor.title,
        type=alert_name(_, alert),
        change=change_name(_, event.change),
    )
    return {
        "id": message_id(alert, number),
        "title": title,
        "body": "\n".join(_body_lines(alert, event, number, sensor, _)),
        "severity": int(event.severity),
        "type": alert.topic.type.value,
        "change": event.change.value,
        "sensor_id": alert.topic.sensor_id,
        "platform": alert.topic.platform,
        "alert_id": alert.id,
        "number": number,
        "at": to_json_value(event.at),
    }


def message_id(alert: Alert, number: int) -> str:
    """The same for the same change, however often it is sent."""
    return str(uuid.uuid5(MESSAGE_NAMESPACE, f"{alert.id} {alert.opened_at.isoformat()} {number}"))


def change_name(_: Translator, change: AlertChange) -> str:
    """What happened, in words."""
    return {
        AlertChange.OPENED: _("opened"),
        AlertChange.WORSENED: _("worsened"),
        AlertChange.RETURNED: _("back to normal"),
        AlertChange.REPEATED: _("again"),
        AlertChange.ESCALATED: _("nobody has acknowledged it"),
        AlertChange.ACKNOWLEDGED: _("acknowledged"),
        AlertChange.SHELVED: _("shelved"),
        AlertChange.UNSHELVED: _("no longer shelved"),
        AlertChange.JUDGED: _("judged"),
        AlertChange.CLOSED: _("closed"),
    }[change]


def alert_name(_: Translator, alert: Alert) -> str:
    """What an alert is about, in words."""
    if alert.topic.subject == FLOOD_SUBJECT:
        return _("Alarm flood")
    name = type_name(_, alert.topic.type)
    return (
        f"{name} ({translate_reason(_, alert.topic.subject)})"
        if alert.topic.type is AlertType.INSTRUMENT
        else name
    )


def _body_lines(alert: Alert, event: AlertEvent, number: int, sensor: Sensor, _: Translator) -> list[str]:
    evidence = alert.evidence
    lines = [translate_reason(_, evidence.reason)]
    if evidence.value is not None:
        lines.append(_("value {value}", value=format_value(evidence.value, sensor.unit)))
    if evidence.crosses_at is not None:
        lines.append(_("limit reached at {time}", time=_.moment(evidence.crosses_at)))
    lines.append(
        _(
            "since {since}, told {at}, platform {platform}",
            since=_.moment(alert.began_at),
            at=_.moment(event.at),
            platform=alert.topic.platform or "-",
        )
    )
    if event.by is not None:
        lines.append(_("by {who} {what}", who=event.by, what=event.detail))
    lines.append(_("alert {number}", number=f"{alert.id}.{number}"))
    return [line for line in lines if line]
