"""The post: every change of an alert becomes one row of the outbox for each channel that is told of it.

Knows the table `outbox`, and what nobody is told: what happens to a shelved alert, and to one that is part of
a flood. Sending is `delivery`'s.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert

from monitoring.alerts.alert import Alert, Chapter, Event
from monitoring.alerts.kinds import Severity
from monitoring.i18n.translation import Words, words
from monitoring.notify.channels import DeliverySettings, channel_names, load_delivery
from monitoring.notify.message import compose
from training.data.sensors import Sensor
from training.storage.alert_tables import outbox
from training.workspace import Workspace


class Post:
    """Where letters are put, in the transaction of the change they tell."""

    def __init__(self, workspace: Workspace, settings: DeliverySettings, words: Words) -> None:
        self.workspace = workspace
        self.settings = settings
        self.words = words
        self.channels = channel_names(settings)

    @classmethod
    def from_conf(cls, workspace: Workspace) -> "Post":
        """The post that conf and environment describe.

        Raises:
            ConfigurationError: channels, routes or language cannot be meant.
        """
        return cls(workspace, load_delivery(), words())

    def post(self, connection: Connection, chapters: Iterable[Chapter], *, now: datetime) -> None:
        """Put a letter for each event and channel into the outbox; the alerts have their ids."""
        rows = [
            {
                "alert_id": chapter.alert.id,
                "revision": number,
                "channel": channel,
                "message": compose(chapter.alert, event, number, self._sensor(chapter.alert), self.words),
                "made_at": now,
                "attempts": 0,
                "next_at": now,
            }
            for chapter in chapters
            for number, event in _numbered(chapter)
            if event.told and not _part_of_a_flood(chapter.alert, event)
            for channel in self.channels
            if self.settings.route(channel).takes(chapter.alert, event)
        ]
        if rows:
            connection.execute(insert(outbox), rows)

    def _sensor(self, alert: Alert) -> Sensor:
        sensor_id = alert.topic.sensor_id
        return self.workspace.fleet.get(sensor_id) or Sensor(id=sensor_id, platform=alert.topic.platform)


def _numbered(chapter: Chapter) -> Iterable[tuple[int, Event]]:
    return enumerate(chapter.events, start=chapter.alert.revision - len(chapter.events) + 1)


def _part_of_a_flood(alert: Alert, event: Event) -> bool:
    """One message stands for a flood; what is critical is told all the same."""
    return alert.group_id is not None and event.severity < Severity.CRITICAL
