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

MAX_REFRESH_SHARE = 0.2  # of the time, at most, that renewing takes


@dataclass(frozen=True)
class CachedValue(Generic[T]):
    """A value, when it was made, and how long that took; by the clock it was made with."""

    value: T
    loaded_at: float
    load_seconds: float


class SwrCache(Generic[T]):
    """The newest copy of a value; only the very first look waits for it.

    >>> numbers = iter([1, 2])
    >>> kept = Kept(lambda: next(numbers), lasts=60)
    >>> kept.look(), kept.look()
    (1, 1)
    """

    def __init__(
        self, make: Callable[[], T], *, lasts: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.load = make
        self.lasts = lasts
        self.clock = clock
        self.last_error: Exception | None = None  # why the copy could not be renewed
        self._cached: CachedValue[T] | None = None
        self._lock = threading.Lock()

    def get(self) -> T:
        """The value as it was a moment ago; one that has aged is renewed meanwhile."""
        copy = self._cached
        if copy is None:
            return self._load_first()
        if self._is_stale(copy) and self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="renewing", daemon=True).start()
        return copy.value

    def get_if_loaded(self) -> T | None:
        """The value as it was a moment ago, or None while it is made for the first time."""
        if self._cached is not None:
            return self.get()
        if self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="making", daemon=True).start()
        return None

    def refresh(self) -> T:
        """The value as it is now; for whoever has just changed it."""
        with self._lock:
            return self._load()

    def _load_first(self) -> T:
        with self._lock:
            # Of many who come first, one makes it.
            return self._load() if self._cached is None else self._cached.value

    def _load(self) -> T:
        started = self.clock()
        value = self.load()
        self._cached = CachedValue(value, self.clock(), self.clock() - started)
        self.last_error = None
        return value

    def _refresh_and_release(self) -> None:
        try:
            self._load()
        # Whatever it was, the old copy is shown on, with the reason beside it.
        except Exception as error:
            if str(error) != str(self.last_error):
                log.warning("what is shown is not renewed: %s", error, exc_info=error)
            self.last_error = error
        finally:
            self._lock.release()

    def _is_stale(self, copy: CachedValue[T]) -> bool:
        return self.clock() - copy.loaded_at >= max(self.lasts, copy.load_seconds / MAX_REFRESH_SHARE)
