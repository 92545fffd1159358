"""Call a function, such as `Champions.refresh`, every few seconds in a thread.

The intervals vary at random, so that several workers poll at different times. Does not know what is polled.
"""

import logging
import random
import threading
import time
from collections.abc import Callable

from pydantic import Field

from training.errors import SafePlanError
from training.settings import Settings

log = logging.getLogger("safeplan.serving")

MIN_PAUSE_SHARE = 0.2  # shortest pause between two polls, as a share of the interval


class PollSettings(Settings, file="serving", section="follow"):
    """How often the aliases are read: how soon a promotion is live."""

    every: float = Field(4.0, gt=0, le=60, description="seconds between two reads of the aliases")
    jitter: float = Field(0.25, ge=0, lt=1, description="random share by which each interval varies")


class Poller:
    """Polls until it is closed; an error does not end it."""

    def __init__(
        self, poll: Callable[[], object], settings: PollSettings, *, rng: random.Random | None = None
    ) -> None:
        self.poll = poll
        self.settings = settings
        self.rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def close(self) -> None:
        """Stop, without waiting for a poll in progress."""
        self._closed.set()

    def pause(self, spent: float = 0.0) -> float:
        """Seconds until the next poll, after one of `spent` seconds; never 0, even after a slow one."""
        spread = self.settings.jitter * (2 * self.rng.random() - 1)
        return self.settings.every * max(1 + spread - spent / self.settings.every, MIN_PAUSE_SHARE)

    def _run(self) -> None:
        spent = 0.0
        while not self._closed.wait(self.pause(spent)):
            started = time.monotonic()
            try:
                self.poll()
            except SafePlanError as error:
                log.debug("polling failed: %s", error)
            # Any other error: without the next poll no promotion would ever be noticed.
            except Exception:
                log.exception("polling failed")
            spent = time.monotonic() - started
