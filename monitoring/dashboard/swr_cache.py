"""Stale-while-revalidate cache: returns the last value at once and refreshes an aged one in the background.

One cache holds one value for all readers of the page. What is loaded is decided in `dashboard_state`.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger("safeplan.page")

T = TypeVar("T")

MAX_REFRESH_SHARE = 0.2  # of the time, spent on refreshing


@dataclass(frozen=True)
class CachedValue(Generic[T]):
    """A value, when it was loaded and how long that took, in seconds of the cache's clock."""

    value: T
    loaded_at: float
    load_seconds: float


class SwrCache(Generic[T]):
    """The last loaded value; only the first call waits for it.

    >>> numbers = iter([1, 2])
    >>> cache = SwrCache(lambda: next(numbers), max_age=60)
    >>> cache.get(), cache.get()
    (1, 1)
    """

    def __init__(
        self, load: Callable[[], T], *, max_age: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.load = load
        self.max_age = max_age
        self.clock = clock
        self.last_error: Exception | None = None  # why the last refresh failed
        self._cached: CachedValue[T] | None = None
        self._lock = threading.Lock()

    def get(self) -> T:
        """The last loaded value; an aged one is refreshed in the background."""
        cached = self._cached
        if cached is None:
            return self._load_first()
        if self._is_stale(cached) and self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="refresh", daemon=True).start()
        return cached.value

    def get_if_loaded(self) -> T | None:
        """The last loaded value, or None while it is loaded for the first time."""
        if self._cached is not None:
            return self.get()
        if self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="first-load", daemon=True).start()
        return None

    def refresh(self) -> T:
        """Load the value now; for a caller that has just changed it."""
        with self._lock:
            return self._load()

    def _load_first(self) -> T:
        with self._lock:
            # Of several first callers, one loads.
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
        # Any error: the page keeps showing the old value, with the reason.
        except Exception as error:
            if str(error) != str(self.last_error):
                log.warning("the page shows old data, its refresh failed: %s", error, exc_info=error)
            self.last_error = error
        finally:
            self._lock.release()

    def _is_stale(self, cached: CachedValue[T]) -> bool:
        return self.clock() - cached.loaded_at >= max(self.max_age, cached.load_seconds / MAX_REFRESH_SHARE)
