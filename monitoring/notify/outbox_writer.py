"""Write one outbox row per alert change and channel.

Skips the changes of shelved alerts and of alerts in a flood. Rows are sent in `delivery`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from monitoring.alerts.alert import Alert, AlertEvent, Transition
from monitoring.alerts.kinds import Severity
from monitoring.i18n.translation import Translator, load_translator
from monitoring.notify.channels import DeliverySettings, channel_names, load_delivery_settings
from monitoring.notify.message import compose_message
from monitoring.notify.message_settings import MessageSettings
from monitoring.notify.outbox import new_row
from training.data.sensors import Sensor
from training.settings import load_settings
from training.storage.alert_tables import outbox
from training.workspace import Workspace


class OutboxWriter:
    """Writes messages in the transaction of the change they report."""

    def __init__(
        self,
        workspace: Workspace,
        settings: DeliverySettings,
        message_settings: MessageSettings,
        translator: Translator,
    ) -> None:
        self.workspace = workspace
        self.settings = settings
        self.message_settings = message_settings
        self.translator = translator
        self.channels = channel_names(settings)

    @classmethod
    def from_conf(cls, workspace: Workspace) -> "OutboxWriter":
        """A writer with the settings of conf/monitoring.yaml and the environment.

        Raises:
            ConfigurationError: channels, routes or language are invalid.
        """
        return cls(workspace, load_delivery_settings(), load_settings(MessageSettings), load_translator())

    def enqueue(self, connection: Connection, transitions: Iterable[Transition], *, now: datetime) -> None:
        """Add a message for each event and channel; the alerts are stored and have their ids."""
        rows = [
            new_row(alert.id, number, channel, self._message(alert, event, number), now)
            for alert, number, event in _numbered_events(transitions)
            if event.notify and not _is_part_of_flood(alert, event)
            for channel in self.channels
            if self.settings.route(channel).matches(alert, event)
        ]
        if rows:
            connection.execute(insert(outbox), rows)

    def _message(self, alert: Alert, event: AlertEvent, number: int) -> dict[str, Any]:
        return compose_message(
            alert, event, number, self._sensor(alert), self.translator, self.message_settings
        )

    def _sensor(self, alert: Alert) -> Sensor:
        sensor_id = alert.topic.sensor_id
        return self.workspace.fleet.get(sensor_id) or Sensor(id=sensor_id, platform=alert.topic.platform)


def _numbered_events(transitions: Iterable[Transition]) -> Iterable[tuple[Alert, int, AlertEvent]]:
    for alert, events in ((transition.alert, transition.events) for transition in transitions):
        for number, event in enumerate(events, start=alert.revision - len(events) + 1):
            yield alert, number, event


def _is_part_of_flood(alert: Alert, event: AlertEvent) -> bool:
    """Whether the flood's message replaces this one; critical alerts are notified nevertheless."""
    return alert.group_id is not None and event.severity < Severity.CRITICAL
