"""The thread that follows the aliases: one bulk query every few seconds, at no two workers' same moment.

Knows time and chance. Leaves what a moved alias means to `champions`.
"""

import logging
import random
import threading
from collections.abc import Callable

from pydantic import Field

from serving.champions import Champions
from training.errors import SafePlanError
from training.settings import Settings

log = logging.getLogger("safeplan.serving")


class FollowSettings(Settings, file="serving", section="follow"):
    """How soon a promotion is live."""

    every: float = Field(4.0, gt=0, le=60, description="seconds between two looks at the aliases")
    jitter: float = Field(0.25, ge=0, lt=1, description="share by which that varies, each time")


class Follower:
    """Looks at the aliases until it is closed; registry errors are survived and shown in `champions.away`."""

    def __init__(
        self,
        champions: Champions,
        settings: FollowSettings,
        *,
        also: Callable[[], None] = lambda: None,
        chance: random.Random | None = None,
    ) -> None:
        self.champions = champions
        self.settings = settings
        self.also = also
        self.chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a look that is under way is not waited for."""
        self._closed.set()

    def pause(self) -> float:
        """Seconds until the next look."""
        spread = self.settings.jitter * (2 * self.chance.random() - 1)
        return self.settings.every * (1 + spread)

    def _run(self) -> None:
        while not self._closed.wait(self.pause()):
            for look in (self.champions.refresh, self.also):
                try:
                    look()
                except SafePlanError as error:
                    log.debug("a look at the aliases failed: %s", error)
                # Whatever else goes wrong, the next look must happen, or promotions are never seen again.
                except Exception:
                    log.exception("a look at the aliases failed")
