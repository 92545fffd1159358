"""Send one message to one address with Apprise: Teams, mail, webhooks and about a hundred other services.

Addresses are secrets: the log messages of Apprise and of the libraries below it are suppressed, since some
contain the address. Retries and ordering are in `delivery`.
"""

import logging
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from pathlib import Path
from typing import Any, Protocol

import apprise

# Sent beside title and body to webhooks.
PAYLOAD_FIELDS = ("id", "severity", "type", "change", "sensor_id", "platform", "alert_id", "number", "at")
ADDRESS_LEAKING_LOGGERS = ("apprise", "urllib3", "requests")


class DeliveryRefused(Exception):
    """A channel did not accept a message; the text does not contain the address."""


class Sender(Protocol):
    """Sends a message to an address."""

    def send(self, message: Mapping[str, Any], address: str) -> None:
        """Send, or raise `DeliveryRefused`."""


class AppriseSender:
    """Sends with a timeout in seconds; after a timeout the message may have arrived nevertheless."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        for name in ADDRESS_LEAKING_LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger("apprise").propagate = False

    def send(self, message: Mapping[str, Any], address: str) -> None:
        """Send one message.

        Raises:
            DeliveryRefused: it was not accepted within the timeout.
        """
        channel = apprise.Apprise.instantiate(address)
        if channel is None:
            raise DeliveryRefused("Apprise does not support this kind of address; see its list of services")
        self._attach_id(channel, message)
        executor = ThreadPoolExecutor(1, thread_name_prefix="sender")
        try:
            error = executor.submit(_notify, channel, message).result(self.timeout)
        except TooSlow:
            raise DeliveryRefused(f"no answer within {self.timeout:g} s") from None
        finally:
            executor.shutdown(wait=False)
        if error:
            raise DeliveryRefused(error)

    def _attach_id(self, channel: Any, message: Mapping[str, Any]) -> None:
        """Add the message id where the channel supports it, so that a receiver can drop duplicates."""
        channel.socket_read_timeout = self.timeout
        if isinstance(getattr(channel, "headers", None), dict):
            channel.headers["Idempotency-Key"] = message["id"]
        if hasattr(channel, "payload_extras") and channel.app_id and "json" in channel.secure_protocol:
            channel.payload_extras["alert"] = {
                name: message[name] for name in PAYLOAD_FIELDS if name in message
            }


def _notify(channel: Any, message: Mapping[str, Any]) -> str:
    """Send a message; returns the error, without the address, or an empty text."""
    # Messages that were queued by 0.1.0 have no type.
    kind = apprise.NotifyType(message.get("notify_type", apprise.NotifyType.WARNING))
    attachment = message.get("attachment")
    if attachment is not None and not Path(attachment).is_file():
        return f"the attachment {attachment} is not a file; it was deleted or is on another machine"
    with apprise.LogCapture(level=logging.WARNING) as captured:  # type: ignore[no-untyped-call]
        if channel.notify(body=message["body"], title=message["title"], notify_type=kind, attach=attachment):
            return ""
        status_match = re.search(r"error=(\d{3})\b", captured.getvalue())
    return f"the channel answered {status_match[1]}" if status_match else "the channel could not be reached"
