"""The channels by which people are told, and who is told what.

Knows names, routes and where addresses are written: in the environment or in a file, and nowhere else. An
address is a secret; it is handed to whoever delivers and never written to a table or a log.
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
    """What one channel is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: tuple[AlertType, ...] = tuple(AlertType)
    severity: Severity = Field(Severity.WARNING, description="at least")
    changes: tuple[AlertChange, ...] = tuple(AlertChange)
    platforms: tuple[str, ...] = Field(("*",), description="names or globs")

    def matches(self, alert: Alert, event: AlertEvent) -> bool:
        """Whether the channel is told of this."""
        return (
            alert.topic.type in self.types
            and event.severity >= self.severity
            and event.change in self.changes
            and any(fnmatch.fnmatchcase(alert.topic.platform, pattern) for pattern in self.platforms)
        )


class DeliverySettings(Settings, file="monitoring", section="delivery"):
    """Who is told of what, and how patiently."""

    channels: str | None = Field(None, description="a file of `name: URL`, read again for each delivery")
    routes: dict[str, ChannelRoute] = Field(
        default_factory=dict, description="by channel; all of it if not named"
    )
    first_retry: timedelta = Field(timedelta(seconds=10), gt=timedelta(0))
    longest_retry: timedelta = Field(timedelta(minutes=15), gt=timedelta(0))
    patience: float = Field(20.0, gt=0, description="seconds until an attempt is given up")
    give_up_after: timedelta = Field(timedelta(days=3), gt=timedelta(0), description="then it is said so")

    def route(self, channel: str) -> ChannelRoute:
        """What a channel is told."""
        return self.routes.get(channel, ChannelRoute())


def load_addresses(settings: DeliverySettings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The address of each channel: `SAFEPLAN_CHANNEL_<NAME>`, over those of the file.

    Raises:
        ConfigurationError: the file is not there, or holds something else than names and texts.
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
    """All channels that are to be told: those with an address, and those with a route that still lack one."""
    return sorted({*load_addresses(settings), *settings.routes})


def load_delivery_settings() -> DeliverySettings:
    """What conf/monitoring.yaml and the environment say."""
    return load_settings(DeliverySettings)


def _read_address_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ConfigurationError(f"delivery.channels names {path}, which is no file. Correct or unset it.")
    entries = read_yaml(path)
    for name, address in entries.items():
        if not isinstance(address, str):
            # The value itself may be an address with its password.
            raise ConfigurationError(f"{path}: {name} must be one URL in quotes.")
    return {str(name): address for name, address in entries.items()}
