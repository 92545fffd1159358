"""One message to one address, by Apprise: Teams, mail, webhooks and a hundred more.

Knows Apprise, and that an address is a secret: neither Apprise's own words nor those of the libraries below
it reach a log, for some of them hold the address. Knows no alerts and no table.
"""

import logging
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from typing import Any, Protocol

import apprise

from monitoring.alerts.kinds import AlertChange, Severity

NOTIFY_TYPES = {
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.DANGER: apprise.NotifyType.FAILURE,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}
RESOLVED_NOTIFY_TYPES = {
    AlertChange.RETURNED: apprise.NotifyType.SUCCESS,
    AlertChange.CLOSED: apprise.NotifyType.SUCCESS,
}
# What is told beside title and body, to those that can take it.
PAYLOAD_FIELDS = ("id", "severity", "type", "change", "sensor_id", "platform", "alert_id", "number", "at")
ADDRESS_LEAKING_LOGGERS = ("apprise", "urllib3", "requests")


class DeliveryRefused(Exception):
    """A channel did not take a message; why, without its address."""


class Sender(Protocol):
    """Whoever takes a message to an address."""

    def send(self, message: Mapping[str, Any], address: str) -> None:
        """Deliver, or raise `Refused`."""


class AppriseSender:
    """Gives up an attempt after so many seconds; the message may have arrived all the same."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        for name in ADDRESS_LEAKING_LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger("apprise").propagate = False

    def send(self, message: Mapping[str, Any], address: str) -> None:
        """Deliver one message.

        Raises:
            Refused: nobody took it within the patience.
        """
        channel = apprise.Apprise.instantiate(address)
        if channel is None:
            raise DeliveryRefused("its address is none that Apprise knows; see the list at its home page")
        self._attach_id(channel, message)
        executor = ThreadPoolExecutor(1, thread_name_prefix="carrier")
        try:
            error = executor.submit(_notify, channel, message).result(self.patience)
        except TooSlow:
            raise DeliveryRefused(f"no answer within {self.patience:g} s") from None
        finally:
            executor.shutdown(wait=False)
        if error:
            raise DeliveryRefused(error)

    def _attach_id(self, channel: Any, message: Mapping[str, Any]) -> None:
        """Give the message its id where the channel can carry one, so that a receiver knows it again."""
        channel.socket_read_timeout = self.patience
        if isinstance(getattr(channel, "headers", None), dict):
            channel.headers["Idempotency-Key"] = message["id"]
        if hasattr(channel, "payload_extras") and channel.app_id and "json" in channel.secure_protocol:
            channel.payload_extras["alert"] = {name: message[name] for name in PAYLOAD_FIELDS}


def _notify(channel: Any, message: Mapping[str, Any]) -> str:
    """Hand it over; what went wrong, in words that hold no address, or nothing."""
    change, severity = AlertChange(message["change"]), Severity(message["severity"])
    kind = RESOLVED_NOTIFY_TYPES.get(change, NOTIFY_TYPES[severity])
    with apprise.LogCapture(level=logging.WARNING) as captured:  # type: ignore[no-untyped-call]
        if channel.notify(body=message["body"], title=message["title"], notify_type=kind):
            return ""
        status_match = re.search(r"error=(\d{3})\b", captured.getvalue())
    return f"it answered {status_match[1]}" if status_match else "it could not be reached"
