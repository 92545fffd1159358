"""What everybody looks at is made once, and never waited for twice."""

import threading
import time

import pytest

from monitoring.dashboard.swr_cache import SwrCache


class CacheClock:
    """Stands still until it is told."""

    now = 0.0

    def __call__(self):
        return self.now


class CountedValue:
    """Counts how often it is made; waits at a gate, and fails when told."""

    def __init__(self, clock=None, takes=0.0):
        self.count = 0
        self.clock, self.takes = clock, takes
        self.gate = threading.Event()
        self.gate.set()
        self.error = None

    def __call__(self):
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        self.count += 1
        if self.clock:
            self.clock.now += self.takes
        return self.count


def until(condition):
    """Wait for another thread."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_many_who_come_first_wait_for_one_making():
    made = CountedValue()
    made.gate.clear()
    kept, seen = SwrCache(made, lasts=60), []
    threads = [threading.Thread(target=lambda: seen.append(kept.get())) for _ in range(5)]
    for thread in threads:
        thread.start()
    made.gate.set()
    for thread in threads:
        thread.join()

    assert seen == [1] * 5


def test_an_aged_copy_is_shown_while_it_is_renewed():
    clock, made = CacheClock(), CountedValue()
    kept = SwrCache(made, lasts=10, clock=clock)
    kept.get()
    clock.now = 11
    made.gate.clear()

    assert [kept.get(), kept.get()] == [1, 1]
    made.gate.set()
    until(lambda: made.count == 2)
    until(lambda: kept.get() == 2)
    assert made.count == 2


def test_what_takes_long_is_renewed_less_often():
    clock = CacheClock()
    made = CountedValue(clock, takes=30)
    kept = SwrCache(made, lasts=10, clock=clock)
    kept.get()

    clock.now += 140
    assert kept.get() == 1
    clock.now += 11
    kept.get()

    until(lambda: made.count == 2)


def test_a_failure_keeps_the_old_copy_with_its_reason_until_it_is_over():
    clock, made = CacheClock(), CountedValue()
    kept = SwrCache(made, lasts=10, clock=clock)
    kept.get()
    made.error = ValueError("away")
    clock.now = 11

    assert kept.get() == 1
    until(lambda: kept.last_error is not None)
    assert str(kept.last_error) == "away"

    made.error = None
    until(lambda: kept.get() == 2)
    assert kept.last_error is None


def test_a_first_failure_is_raised_and_the_next_look_tries_again():
    made = CountedValue()
    made.error = ValueError("away")
    kept = SwrCache(made, lasts=10)

    with pytest.raises(ValueError, match="away"):
        kept.get()
    made.error = None

    assert kept.get() == 1


def test_whoever_changed_something_sees_it_at_once():
    made = CountedValue()
    kept = SwrCache(made, lasts=1000)
    kept.get()

    assert kept.refresh() == 2
    assert kept.get() == 2


def test_a_peek_never_waits():
    made = CountedValue()
    made.gate.clear()
    kept = SwrCache(made, lasts=1000)

    assert [kept.get_if_loaded(), kept.get_if_loaded()] == [None, None]
    made.gate.set()

    until(lambda: kept.get_if_loaded() == 1)
    assert made.count == 1


def test_a_peek_at_what_cannot_be_made_says_why_and_tries_again():
    made = CountedValue()
    made.error = ValueError("away")
    kept = SwrCache(made, lasts=1000)

    assert kept.get_if_loaded() is None
    until(lambda: kept.last_error is not None)
    made.error = None

    until(lambda: kept.get_if_loaded() == 1)
