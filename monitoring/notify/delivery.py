"""Delivery: what is in the outbox reaches its channels, each message once and in the order of its alert.

Knows patience: a channel that is down is tried again later and later, and delays only itself. What is
promised: every message reaches its channel at least once, with an id that is the same each time; twice only
where we die or lose the line after the receiver took it and before we have noted that.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from monitoring.notify.channels import DeliverySettings, addresses, load_delivery
from monitoring.notify.outbox import Letter, Outbox, backoff
from monitoring.notify.sender import AppriseCarrier, Carrier, Refused
from training.errors import SafePlanError
from training.storage.leases import LeaseTaken, lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.monitoring")

Clock = Callable[[], datetime]
AT_ONCE = 8  # channels
ENOUGH = 3  # messages refused in a row: the channel is down, the others wait for its next turn


@dataclass
class Delivered:
    """What became of one channel's messages in one round."""

    channel: str
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    given_up: int = 0
    error: str | None = None


def deliver(workspace: Workspace, *, clock: Clock, carrier: Carrier | None = None) -> list[Delivered]:
    """One round: every channel is given what is due; one row each.

    Raises:
        ConfigurationError: the channels' addresses cannot be read.
    """
    settings = load_delivery()
    known = addresses(settings)
    outbox = Outbox(workspace.engine)
    given_up = outbox.give_up(clock() - settings.give_up_after, clock())
    if given_up:
        log.error("%d messages were given up after %s", given_up, settings.give_up_after)
    carrier = carrier or AppriseCarrier(settings.patience)
    rounds = [
        Round(workspace, channel, known.get(channel), settings, carrier, clock)
        for channel in outbox.channels()
    ]
    # One slow channel must not hold up another.
    with ThreadPoolExecutor(min(max(len(rounds), 1), AT_ONCE), thread_name_prefix="channel") as pool:
        return list(pool.map(Round.run, rounds))


class Round:
    """One channel's turn."""

    def __init__(
        self,
        workspace: Workspace,
        channel: str,
        address: str | None,
        settings: DeliverySettings,
        carrier: Carrier,
        clock: Clock,
    ) -> None:
        self.workspace = workspace
        self.outbox = Outbox(workspace.engine)
        self.address = address
        self.settings = settings
        self.carrier = carrier
        self.clock = clock
        self.found = Delivered(channel)

    def run(self) -> Delivered:
        """Send what is due, in order."""
        if self.address is None:
            name = f"SAFEPLAN_CHANNEL_{self.found.channel.upper()}"
            self.found.error = f"no address; set {name} or write it into the file of delivery.channels"
            self.found.waiting = len(self.outbox.waiting(self.found.channel))
            return self.found
        try:
            with lease(self.workspace.engine, f"deliver {self.found.channel}"):
                self._run(self.address)
        except LeaseTaken:
            self.found.error = "another process is delivering to it"
        except SafePlanError as error:
            self.found.error = str(error)
        return self.found

    def _run(self, address: str) -> None:
        in_a_row = 0
        for letter in self._in_order():
            if in_a_row >= ENOUGH:
                self.found.waiting += 1
                continue
            if self._sent(letter, address):
                self.found.sent += 1
                in_a_row = 0
            else:
                self.found.failed += 1
                in_a_row += 1

    def _in_order(self) -> Iterator[Letter]:
        """What may go now: nothing of an alert whose older message still waits."""
        blocked: set[int] = set()
        for letter in self.outbox.waiting(self.found.channel):
            if letter.alert_id in blocked:
                self.found.waiting += 1
                continue
            before = self.found.sent
            if letter.next_at <= self.clock():
                yield letter
            else:
                self.found.waiting += 1
            if self.found.sent == before:
                blocked.add(letter.alert_id)

    def _sent(self, letter: Letter, address: str) -> bool:
        attempts = letter.attempts + 1
        wait = backoff(attempts, self.settings.first_retry, self.settings.longest_retry)
        self.outbox.begin(letter, self.clock() + wait)
        try:
            self.carrier.carry(letter.message, address)
        except Refused as refusal:
            self.found.error = str(refusal)
            self.outbox.failed(letter, self.found.error)
            log.warning("channel %s: %s; next attempt in %s", self.found.channel, refusal, wait)
            return False
        self.outbox.sent(letter, self.clock())
        return True
