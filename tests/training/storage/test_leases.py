"""Leases: one process at a time, and a killed process does not block the work."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from training.storage.database import leases, writing
from training.storage.leases import LeaseTaken, Owner, lease


def test_a_held_lease_is_refused(engine):
    with lease(engine, "train PT-1"), pytest.raises(LeaseTaken, match="PT-1"), lease(engine, "train PT-1"):
        pytest.fail("the lease was held twice")


def test_leases_of_different_names_are_independent(engine):
    with lease(engine, "train PT-1"), lease(engine, "train PT-2"):
        pass


def test_a_lease_is_released_when_the_work_fails(engine):
    with pytest.raises(RuntimeError), lease(engine, "train PT-1"):
        raise RuntimeError

    with lease(engine, "train PT-1"):
        pass


@pytest.mark.fault("a lease of a process that was killed", "free at once on the same machine")
def test_the_lease_of_a_killed_process_of_this_host_is_free_at_once(engine):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    owner = Owner.this_process()
    gone.wait()
    _store_lease(engine, "train PT-1", Owner(owner.host, gone.pid, "1"))

    with lease(engine, "train PT-1"):
        pass


def test_the_lease_of_a_process_of_another_host_is_held_until_it_expires(engine):
    _store_lease(engine, "train PT-1", Owner("elsewhere", 1, "1"))
    _store_lease(engine, "train PT-2", Owner("elsewhere", 1, "1"), ago=timedelta(hours=2))

    with pytest.raises(LeaseTaken, match="on elsewhere"), lease(engine, "train PT-1"):
        pytest.fail("a lease that had not expired was taken")
    with lease(engine, "train PT-2"):
        pass


def test_one_of_several_simultaneous_attempts_gets_the_lease(engine):
    results, start, release = [], threading.Barrier(6), threading.Event()

    def attempt() -> None:
        start.wait()
        try:
            with lease(engine, "train PT-1"):
                results.append(True)
                release.wait(5)
        except LeaseTaken:
            results.append(False)
            if len(results) == 6:
                release.set()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(results) == [False] * 5 + [True]


def _store_lease(engine, name, owner, ago=timedelta()):
    with writing(engine) as connection:
        until = datetime.now(UTC) + timedelta(hours=1) - ago
        connection.execute(insert(leases).values(name=name, owner=str(owner), expires_at=until))
