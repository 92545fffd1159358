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

from monitoring.alerts.kinds import Change, Severity

KINDS = {
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.DANGER: apprise.NotifyType.FAILURE,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}
CALM = {Change.RETURNED: apprise.NotifyType.SUCCESS, Change.CLOSED: apprise.NotifyType.SUCCESS}
# What is told beside title and body, to those that can take it.
FACTS = ("id", "severity", "type", "change", "sensor_id", "platform", "alert_id", "number", "at")
INDISCREET = ("apprise", "urllib3", "requests")


class Refused(Exception):
    """A channel did not take a message; why, without its address."""


class Carrier(Protocol):
    """Whoever takes a message to an address."""

    def carry(self, message: Mapping[str, Any], address: str) -> None:
        """Deliver, or raise `Refused`."""


class AppriseCarrier:
    """Gives up an attempt after so many seconds; the message may have arrived all the same."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        for name in INDISCREET:
            logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger("apprise").propagate = False

    def carry(self, message: Mapping[str, Any], address: str) -> None:
        """Deliver one message.

        Raises:
            Refused: nobody took it within the patience.
        """
        channel = apprise.Apprise.instantiate(address)
        if channel is None:
            raise Refused("its address is none that Apprise knows; see the list at its home page")
        self._mark(channel, message)
        hand = ThreadPoolExecutor(1, thread_name_prefix="carrier")
        try:
            error = hand.submit(_send, channel, message).result(self.patience)
        except TooSlow:
            raise Refused(f"no answer within {self.patience:g} s") from None
        finally:
            hand.shutdown(wait=False)
        if error:
            raise Refused(error)

    def _mark(self, channel: Any, message: Mapping[str, Any]) -> None:
        """Give the message its id where the channel can carry one, so that a receiver knows it again."""
        channel.socket_read_timeout = self.patience
        if isinstance(getattr(channel, "headers", None), dict):
            channel.headers["Idempotency-Key"] = message["id"]
        if hasattr(channel, "payload_extras") and channel.app_id and "json" in channel.secure_protocol:
            channel.payload_extras["alert"] = {name: message[name] for name in FACTS}


def _send(channel: Any, message: Mapping[str, Any]) -> str:
    """Hand it over; what went wrong, in words that hold no address, or nothing."""
    change, severity = Change(message["change"]), Severity(message["severity"])
    kind = CALM.get(change, KINDS[severity])
    with apprise.LogCapture(level=logging.WARNING) as said:  # type: ignore[no-untyped-call]
        if channel.notify(body=message["body"], title=message["title"], notify_type=kind):
            return ""
        answered = re.search(r"error=(\d{3})\b", said.getvalue())
    return f"it answered {answered[1]}" if answered else "it could not be reached"
