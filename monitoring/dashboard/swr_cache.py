"""A value that takes a while to make, kept for all who look, and renewed while they look at the old one.

Knows age and threads. Knows nothing of what is kept.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger("safeplan.page")

T = TypeVar("T")

SHARE = 0.2  # of the time, at most, that renewing takes


@dataclass(frozen=True)
class Copy(Generic[T]):
    """A value, when it was made, and how long that took; by the clock it was made with."""

    value: T
    made_at: float
    took: float


class Kept(Generic[T]):
    """The newest copy of a value; only the very first look waits for it.

    >>> numbers = iter([1, 2])
    >>> kept = Kept(lambda: next(numbers), lasts=60)
    >>> kept.look(), kept.look()
    (1, 1)
    """

    def __init__(
        self, make: Callable[[], T], *, lasts: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.make = make
        self.lasts = lasts
        self.clock = clock
        self.trouble: Exception | None = None  # why the copy could not be renewed
        self._copy: Copy[T] | None = None
        self._making = threading.Lock()

    def look(self) -> T:
        """The value as it was a moment ago; one that has aged is renewed meanwhile."""
        copy = self._copy
        if copy is None:
            return self._first()
        if self._aged(copy) and self._making.acquire(blocking=False):
            threading.Thread(target=self._renew_and_release, name="renewing", daemon=True).start()
        return copy.value

    def peek(self) -> T | None:
        """The value as it was a moment ago, or None while it is made for the first time."""
        if self._copy is not None:
            return self.look()
        if self._making.acquire(blocking=False):
            threading.Thread(target=self._renew_and_release, name="making", daemon=True).start()
        return None

    def renew(self) -> T:
        """The value as it is now; for whoever has just changed it."""
        with self._making:
            return self._made()

    def _first(self) -> T:
        with self._making:
            # Of many who come first, one makes it.
            return self._made() if self._copy is None else self._copy.value

    def _made(self) -> T:
        begun = self.clock()
        value = self.make()
        self._copy = Copy(value, self.clock(), self.clock() - begun)
        self.trouble = None
        return value

    def _renew_and_release(self) -> None:
        try:
            self._made()
        # Whatever it was, the old copy is shown on, with the reason beside it.
        except Exception as error:
            if str(error) != str(self.trouble):
                log.warning("what is shown is not renewed: %s", error, exc_info=error)
            self.trouble = error
        finally:
            self._making.release()

    def _aged(self, copy: Copy[T]) -> bool:
        return self.clock() - copy.made_at >= max(self.lasts, copy.took / SHARE)
