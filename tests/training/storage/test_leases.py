"""Leases: one process at a time, and none that died stands in the way."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from training.storage.database import leases, writing
from training.storage.leases import LeaseTaken, Owner, lease


def test_the_same_work_is_not_done_twice_at_once(engine):
    with lease(engine, "train PT-1"), pytest.raises(LeaseTaken, match="PT-1"), lease(engine, "train PT-1"):
        pytest.fail("two held one lease")


def test_other_work_goes_on(engine):
    with lease(engine, "train PT-1"), lease(engine, "train PT-2"):
        pass


def test_a_lease_is_free_again_after_its_work_even_when_that_failed(engine):
    with pytest.raises(RuntimeError), lease(engine, "train PT-1"):
        raise RuntimeError

    with lease(engine, "train PT-1"):
        pass


@pytest.mark.fault("a lease of a process that was killed", "free at once on the same machine")
def test_a_process_that_was_killed_on_this_machine_does_not_block(engine):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    owner = Owner.this_process()
    gone.wait()
    _held(engine, "train PT-1", Owner(owner.host, gone.pid, "1"))

    with lease(engine, "train PT-1"):
        pass


def test_a_lease_of_another_machine_holds_until_its_time_is_over(engine):
    _held(engine, "train PT-1", Owner("elsewhere", 1, "1"))
    _held(engine, "train PT-2", Owner("elsewhere", 1, "1"), ago=timedelta(hours=2))

    with pytest.raises(LeaseTaken, match="on elsewhere"), lease(engine, "train PT-1"):
        pytest.fail("took a live lease")
    with lease(engine, "train PT-2"):
        pass


def test_of_many_that_try_at_once_one_gets_it(engine):
    got, start, release = [], threading.Barrier(6), threading.Event()

    def attempt() -> None:
        start.wait()
        try:
            with lease(engine, "train PT-1"):
                got.append(True)
                release.wait(5)
        except LeaseTaken:
            got.append(False)
            if len(got) == 6:
                release.set()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(got) == [False] * 5 + [True]


def _held(engine, name, owner, ago=timedelta()):
    with writing(engine) as connection:
        until = datetime.now(UTC) + timedelta(hours=1) - ago
        connection.execute(insert(leases).values(name=name, owner=str(owner), expires_at=until))
