"""A thread that looks at something every few seconds, such as the aliases; no two workers at the same moment.

Knows time and chance. Leaves what is seen, such as a moved alias, to whoever looks.
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

MIN_PAUSE_SHARE = 0.2  # of the time from look to look, the least between one's end and the next


class PollSettings(Settings, file="serving", section="follow"):
    """How soon a promotion is live."""

    every: float = Field(4.0, gt=0, le=60, description="seconds from one look at the aliases to the next")
    jitter: float = Field(0.25, ge=0, lt=1, description="share by which that varies, each time")


class Poller:
    """Looks again and again until it is closed; whatever a look raises, the next one happens."""

    def __init__(
        self, poll: Callable[[], object], settings: PollSettings, *, rng: random.Random | None = None
    ) -> None:
        self.poll = poll
        self.settings = settings
        self.rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a look that is under way is not waited for."""
        self._closed.set()

    def pause(self, spent: float = 0.0) -> float:
        """Seconds until the next look, after one that took so long; never none, or a slow one never ended."""
        spread = self.settings.jitter * (2 * self.rng.random() - 1)
        return self.settings.every * max(1 + spread - spent / self.settings.every, MIN_PAUSE_SHARE)

    def _run(self) -> None:
        spent = 0.0
        while not self._closed.wait(self.pause(spent)):
            started = time.monotonic()
            try:
                self.poll()
            except SafePlanError as error:
                log.debug("a look failed: %s", error)
            # Whatever else goes wrong, the next look must happen, or promotions are never seen again.
            except Exception:
                log.exception("a look failed")
            spent = time.monotonic() - started
