"""The post: every change of an alert becomes one row of the outbox for each channel that is told of it.

Knows the table `outbox`, and what nobody is told: what happens to a shelved alert, and to one that is part of
a flood. Sending is `delivery`'s.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert

from monitoring.alerts.alert import Alert, AlertEvent, Transition
from monitoring.alerts.kinds import Severity
from monitoring.i18n.translation import Translator, load_translator
from monitoring.notify.channels import DeliverySettings, channel_names, load_delivery_settings
from monitoring.notify.message import compose_message
from training.data.sensors import Sensor
from training.storage.alert_tables import outbox
from training.workspace import Workspace


class OutboxWriter:
    """Where letters are put, in the transaction of the change they tell."""

    def __init__(self, workspace: Workspace, settings: DeliverySettings, translator: Translator) -> None:
        self.workspace = workspace
        self.settings = settings
        self.translator = translator
        self.channels = channel_names(settings)

    @classmethod
    def from_conf(cls, workspace: Workspace) -> "OutboxWriter":
        """The post that conf and environment describe.

        Raises:
            ConfigurationError: channels, routes or language cannot be meant.
        """
        return cls(workspace, load_delivery_settings(), load_translator())

    def enqueue(self, connection: Connection, transitions: Iterable[Transition], *, now: datetime) -> None:
        """Put a letter for each event and channel into the outbox; the alerts have their ids."""
        rows = [
            {
                "alert_id": chapter.alert.id,
                "revision": number,
                "channel": channel,
                "message": compose_message(
                    chapter.alert, event, number, self._sensor(chapter.alert), self.translator
                ),
                "made_at": now,
                "attempts": 0,
                "next_at": now,
            }
            for chapter in transitions
            for number, event in _numbered_events(chapter)
            if event.notify and not _is_part_of_flood(chapter.alert, event)
            for channel in self.channels
            if self.settings.route(channel).matches(chapter.alert, event)
        ]
        if rows:
            connection.execute(insert(outbox), rows)

    def _sensor(self, alert: Alert) -> Sensor:
        sensor_id = alert.topic.sensor_id
        return self.workspace.fleet.get(sensor_id) or Sensor(id=sensor_id, platform=alert.topic.platform)


def _numbered_events(transition: Transition) -> Iterable[tuple[int, AlertEvent]]:
    return enumerate(transition.events, start=transition.alert.revision - len(transition.events) + 1)


def _is_part_of_flood(alert: Alert, event: AlertEvent) -> bool:
    """One message stands for a flood; what is critical is told all the same."""
    return alert.group_id is not None and event.severity < Severity.CRITICAL
