"""The worker pool: a dying worker costs its own task and no other."""

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
def test_every_task_is_answered_with_its_result_or_its_error(jobs):
    answers = dict(run_all(square, [1, 2, 13, 4], jobs=jobs))

    assert {task: answers[task] for task in (1, 2, 4)} == {1: 1, 2: 4, 4: 16}
    assert isinstance(answers[13], ValueError)


@pytest.mark.fault("a worker killed in a training", "its own sensor fails, the others go on")
def test_a_killed_worker_fails_its_own_task_only():
    answers = dict(run_all(square, [1, 2, 66, 4, 5, 6, 7], jobs=2))

    assert isinstance(answers.pop(66), WorkerDied)
    assert answers == {n: n * n for n in (1, 2, 4, 5, 6, 7)}


def test_workers_use_one_numeric_thread_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")

    answers = dict(run_all(threads, [0], jobs=2))

    assert answers == {0: "1,1,1,1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_tasks_are_drawn_a_few_ahead_only():
    drawn = []

    def tasks():
        for number in range(20):
            drawn.append(number)
            yield number

    answers = run_all(square, tasks(), jobs=2)
    next(answers)

    assert len(drawn) <= 5
    answers.close()


def test_workers_wait_for_no_imports_that_they_do_not_need():
    """MLflow took a quarter of a worker's start, and 100 MB, to bring along one class."""
    heavy = {"mlflow", "evidently", "ray"}
    code = f"import sys; import {', '.join(PRELOADED)}; print(sorted({heavy} & set(sys.modules)))"
    reported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert reported.stdout.strip() == "[]"
