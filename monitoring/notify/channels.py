"""Notification channels: names, addresses, and routes that select the alert changes of each channel.

Addresses come from the environment or a file and are secrets: they are passed to the sender only and never
written to a table or a log. Messages are sent in `delivery`.
"""

import fnmatch
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.kinds import AlertChange, AlertType, Severity
from training.errors import ConfigurationError
from training.settings import Settings, load_settings, read_yaml

ADDRESS_VARIABLE = re.compile(r"SAFEPLAN_CHANNEL_([A-Z0-9_]+)")


class ChannelRoute(BaseModel):
    """The alert changes that one channel is notified of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: tuple[AlertType, ...] = Field(tuple(AlertType), description="alert types")
    severity: Severity = Field(Severity.WARNING, description="lowest severity")
    changes: tuple[AlertChange, ...] = Field(tuple(AlertChange), description="alert changes")
    platforms: tuple[str, ...] = Field(("*",), description="platform names or glob patterns")

    def matches(self, alert: Alert, event: AlertEvent) -> bool:
        """Whether the channel is notified of a change."""
        return (
            alert.topic.type in self.types
            and event.severity >= self.severity
            and event.change in self.changes
            and any(fnmatch.fnmatchcase(alert.topic.platform, pattern) for pattern in self.platforms)
        )


class DeliverySettings(Settings, file="monitoring", section="delivery"):
    """Channels, routes and retries of notifications."""

    channels: str | None = Field(
        None, description="YAML file of `name: URL` for each channel, read at each delivery"
    )
    routes: dict[str, ChannelRoute] = Field(
        default_factory=dict, description="alert changes of each channel; a channel without a route gets all"
    )
    first_retry: timedelta = Field(
        timedelta(seconds=10), gt=timedelta(0), description="delay before the first retry; doubles each time"
    )
    longest_retry: timedelta = Field(
        timedelta(minutes=15), gt=timedelta(0), description="longest delay between retries"
    )
    patience: float = Field(20.0, gt=0, description="timeout of an attempt in seconds")
    give_up_after: timedelta = Field(
        timedelta(days=3), gt=timedelta(0), description="age at which a message is given up"
    )

    def route(self, channel: str) -> ChannelRoute:
        """The route of a channel."""
        return self.routes.get(channel, ChannelRoute())


def load_addresses(settings: DeliverySettings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The address of each channel: `SAFEPLAN_CHANNEL_<NAME>` takes precedence over the file.

    Raises:
        ConfigurationError: the file does not exist or is not a mapping of names to texts.
    """
    environ = os.environ if environ is None else environ
    result: dict[str, str] = {}
    if settings.channels is not None:
        result |= _read_address_file(Path(settings.channels))
    for name, address in environ.items():
        if (match := ADDRESS_VARIABLE.fullmatch(name)) and address:
            result[match[1].lower()] = address
    return result


def channel_names(settings: DeliverySettings) -> list[str]:
    """All channels: those with an address, and those with a route that have no address yet."""
    return sorted({*load_addresses(settings), *settings.routes})


def load_delivery_settings() -> DeliverySettings:
    """The settings of conf/monitoring.yaml and the environment."""
    return load_settings(DeliverySettings)


def _read_address_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ConfigurationError(f"delivery.channels: {path} is not a file. Correct or unset it.")
    entries = read_yaml(path)
    for name, address in entries.items():
        if not isinstance(address, str):
            # The value may be an address with a password; it must not be shown.
            raise ConfigurationError(f"{path}: {name} must be one URL in quotes.")
    return {str(name): address for name, address in entries.items()}
