"""The cache loads once for all callers, and nobody waits for a refresh."""

import threading
import time

import pytest

from monitoring.dashboard.swr_cache import SwrCache


class FakeClock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self):
        return self.now


class CountedLoad:
    """Returns how often it was called; waits for a gate, takes time of the clock, fails on demand."""

    def __init__(self, clock=None, takes=0.0):
        self.count = 0
        self.clock, self.takes = clock, takes
        self.gate = threading.Event()
        self.gate.set()
        self.error = None

    def __call__(self):
        assert self.gate.wait(60)
        if self.error:
            raise self.error
        self.count += 1
        if self.clock:
            self.clock.now += self.takes
        return self.count


def wait_until(condition):
    """Wait for another thread."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the other thread never finished"
        time.sleep(0.005)


def test_several_first_callers_wait_for_one_load():
    load = CountedLoad()
    load.gate.clear()
    cache, results = SwrCache(load, max_age=60), []
    threads = [threading.Thread(target=lambda: results.append(cache.get())) for _ in range(5)]
    for thread in threads:
        thread.start()
    load.gate.set()
    for thread in threads:
        thread.join()

    assert results == [1] * 5


def test_an_aged_value_is_returned_while_it_is_refreshed():
    clock, load = FakeClock(), CountedLoad()
    cache = SwrCache(load, max_age=10, clock=clock)
    cache.get()
    clock.now = 11
    load.gate.clear()

    assert [cache.get(), cache.get()] == [1, 1]
    load.gate.set()
    wait_until(lambda: load.count == 2)
    wait_until(lambda: cache.get() == 2)
    assert load.count == 2


def test_a_slow_load_is_repeated_less_often():
    clock = FakeClock()
    load = CountedLoad(clock, takes=30)
    cache = SwrCache(load, max_age=10, clock=clock)
    cache.get()

    clock.now += 140
    assert cache.get() == 1
    clock.now += 11
    cache.get()

    wait_until(lambda: load.count == 2)


def test_a_failed_refresh_keeps_the_old_value_with_the_error():
    clock, load = FakeClock(), CountedLoad()
    cache = SwrCache(load, max_age=10, clock=clock)
    cache.get()
    load.error = ValueError("unreachable")
    clock.now = 11

    assert cache.get() == 1
    wait_until(lambda: cache.last_error is not None)
    assert str(cache.last_error) == "unreachable"

    load.error = None
    wait_until(lambda: cache.get() == 2)
    assert cache.last_error is None


def test_a_failed_first_load_is_raised_and_retried_by_the_next_call():
    load = CountedLoad()
    load.error = ValueError("unreachable")
    cache = SwrCache(load, max_age=10)

    with pytest.raises(ValueError, match="unreachable"):
        cache.get()
    load.error = None

    assert cache.get() == 1


def test_refresh_loads_at_once():
    load = CountedLoad()
    cache = SwrCache(load, max_age=1000)
    cache.get()

    assert cache.refresh() == 2
    assert cache.get() == 2


def test_get_if_loaded_never_waits():
    load = CountedLoad()
    load.gate.clear()
    cache = SwrCache(load, max_age=1000)

    assert [cache.get_if_loaded(), cache.get_if_loaded()] == [None, None]
    load.gate.set()

    wait_until(lambda: cache.get_if_loaded() == 1)
    assert load.count == 1


def test_get_if_loaded_notes_a_failed_first_load_and_retries():
    load = CountedLoad()
    load.error = ValueError("unreachable")
    cache = SwrCache(load, max_age=1000)

    assert cache.get_if_loaded() is None
    wait_until(lambda: cache.last_error is not None)
    load.error = None

    wait_until(lambda: cache.get_if_loaded() == 1)
