"""The worker pool: a worker that dies costs only its own task."""

import os
import signal
import subprocess
import sys

import pytest

from training.pipeline.worker_pool import ONE_THREAD, PRELOADED, WorkerDied, run_all


def square(number: int) -> int:
    if number == 13:
        raise ValueError("unlucky")
    if number == 66:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def threads(_: int) -> str:
    return ",".join(os.environ.get(name, "many") for name in ONE_THREAD)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_has_its_result_or_its_error(jobs):
    results = dict(run_all(square, [1, 2, 13, 4], jobs=jobs))

    assert {task: results[task] for task in (1, 2, 4)} == {1: 1, 2: 4, 4: 16}
    assert isinstance(results[13], ValueError)


@pytest.mark.fault("a worker killed during a training", "its sensor fails, the others are trained")
def test_a_killed_worker_fails_only_its_own_task():
    results = dict(run_all(square, [1, 2, 66, 4, 5, 6, 7], jobs=2))

    assert isinstance(results.pop(66), WorkerDied)
    assert results == {n: n * n for n in (1, 2, 4, 5, 6, 7)}


def test_workers_use_one_numeric_thread_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")

    results = dict(run_all(threads, [0], jobs=2))

    assert results == {0: "1,1,1,1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_tasks_are_read_only_a_few_ahead():
    read = []

    def tasks():
        for number in range(20):
            read.append(number)
            yield number

    results = run_all(square, tasks(), jobs=2)
    next(results)

    assert len(read) <= 5
    results.close()


def test_workers_import_no_library_that_they_do_not_need():
    """MLflow took a quarter of a worker's start time, and 100 MB, for one class."""
    heavy = {"mlflow", "evidently", "ray"}
    code = f"import sys; import {', '.join(PRELOADED)}; print(sorted({heavy} & set(sys.modules)))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert completed.stdout.strip() == "[]"
