"""Deliver the messages of the outbox to their channels, in the order of each alert.

A channel that is down is retried with growing delays and does not delay others. Delivery is at least once,
with the same message id each time; a message arrives twice only if this process or the connection fails after
the receiver accepted it and before that is stored. One message is sent in `sender`.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from monitoring.notify.channels import DeliverySettings, load_addresses, load_delivery_settings
from monitoring.notify.outbox import Outbox, OutboxMessage, backoff_delay
from monitoring.notify.sender import AppriseSender, DeliveryRefused, Sender
from training.errors import SafePlanError
from training.storage.leases import LeaseTaken, lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.monitoring")

Clock = Callable[[], datetime]
MAX_PARALLEL_CHANNELS = 8
MAX_CONSECUTIVE_FAILURES = 3  # then the channel is down and its other messages wait for the next round


@dataclass
class DeliveryResult:
    """The messages of one channel in one round."""

    channel: str
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    given_up: int = 0
    error: str | None = None


def deliver(workspace: Workspace, *, clock: Clock, sender: Sender | None = None) -> list[DeliveryResult]:
    """Send the messages that are due, one round for all channels; one result per channel.

    Raises:
        ConfigurationError: the addresses of the channels cannot be read.
    """
    settings = load_delivery_settings()
    channel_addresses = load_addresses(settings)
    outbox = Outbox(workspace.engine)
    given_up = outbox.give_up(clock() - settings.give_up_after, clock())
    if given_up:
        log.error("gave up %d messages that were not delivered within %s", given_up, settings.give_up_after)
    sender = sender or AppriseSender(settings.patience)
    deliveries = [
        ChannelDelivery(workspace, channel, channel_addresses.get(channel), settings, sender, clock)
        for channel in outbox.channels()
    ]
    # One slow channel must not hold up another.
    with ThreadPoolExecutor(
        min(max(len(deliveries), 1), MAX_PARALLEL_CHANNELS), thread_name_prefix="channel"
    ) as pool:
        return list(pool.map(ChannelDelivery.run, deliveries))


class ChannelDelivery:
    """One round of one channel."""

    def __init__(
        self,
        workspace: Workspace,
        channel: str,
        address: str | None,
        settings: DeliverySettings,
        sender: Sender,
        clock: Clock,
    ) -> None:
        self.workspace = workspace
        self.outbox = Outbox(workspace.engine)
        self.address = address
        self.settings = settings
        self.sender = sender
        self.clock = clock
        self.result = DeliveryResult(channel)

    def run(self) -> DeliveryResult:
        """Send the messages that are due, in order."""
        if self.address is None:
            name = f"SAFEPLAN_CHANNEL_{self.result.channel.upper()}"
            self.result.error = f"no address; set {name}, or add it to the file that delivery.channels names"
            self.result.waiting = len(self.outbox.waiting(self.result.channel))
            return self.result
        try:
            with lease(self.workspace.engine, f"deliver {self.result.channel}"):
                self._send_all(self.address)
        except LeaseTaken:
            self.result.error = "another process is delivering to this channel"
        except SafePlanError as error:
            self.result.error = str(error)
        return self.result

    def _send_all(self, address: str) -> None:
        consecutive_failures = 0
        for queued in self._sendable():
            if consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                self.result.waiting += 1
                continue
            if self._send(queued, address):
                self.result.sent += 1
                consecutive_failures = 0
            else:
                self.result.failed += 1
                consecutive_failures += 1

    def _sendable(self) -> Iterator[OutboxMessage]:
        """The messages that may be sent now: none of an alert that has an older message waiting."""
        blocked: set[int] = set()
        for queued in self.outbox.waiting(self.result.channel):
            if queued.alert_id in blocked:
                self.result.waiting += 1
                continue
            sent_before = self.result.sent
            if queued.next_at <= self.clock():
                yield queued
            else:
                self.result.waiting += 1
            if self.result.sent == sent_before:
                blocked.add(queued.alert_id)

    def _send(self, queued: OutboxMessage, address: str) -> bool:
        attempts = queued.attempts + 1
        wait = backoff_delay(attempts, self.settings.first_retry, self.settings.longest_retry)
        self.outbox.start_attempt(queued, self.clock() + wait)
        try:
            self.sender.send(queued.message, address)
        except DeliveryRefused as error:
            self.result.error = str(error)
            self.outbox.mark_failed(queued, self.result.error)
            log.warning("channel %s: %s; next attempt in %s", self.result.channel, error, wait)
            return False
        self.outbox.mark_sent(queued, self.clock())
        return True
