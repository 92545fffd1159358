"""Many tasks on a few worker processes, where a dying worker costs its own task and no other.

Knows processes, their imports, numeric threads and deaths. Knows nothing of sensors; a task is anything that
pickles.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import BaseContext
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")

# Each worker fills one core; numeric libraries that start threads of their own only get in the way.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "STAN_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREAD_SETTINGS, "1")
# Seconds of imports, which a forked worker finds done.
PRELOADED = ("training.pipeline.worker_preload",)


class WorkerDied(Exception):
    """A worker process ended in the middle of a task, twice: killed, or out of memory."""


def run_all(
    function: Callable[[T], R], tasks: Iterable[T], *, jobs: int
) -> Iterator[tuple[T, R | Exception]]:
    """Answer every task with its result or the exception it raised, in the order they finish.

    `tasks` is drawn from lazily, two a worker ahead, so that a large fleet is never in memory at once.
    With one job everything runs in this process.
    """
    if jobs == 1:
        for task in tasks:
            yield task, _attempt(function, task)
        return
    remaining = iter(tasks)
    with _environment(ONE_THREAD):
        while True:
            suspects = yield from _run_until_broken(function, remaining, jobs)
            if suspects is None:
                return
            # Any of them may have brought the worker down; alone, only the culprit fails.
            for task in suspects:
                yield task, _run_alone(function, task)


def _run_until_broken(
    function: Callable[[T], R], tasks: Iterator[T], jobs: int
) -> Generator[tuple[T, R | Exception], None, list[T] | None]:
    """Run tasks until none is left (answers None) or a worker dies (answers those in flight)."""
    running: dict[Future[R], T] = {}
    with _executor(jobs) as executor:
        while True:
            for task in islice(tasks, 2 * jobs - len(running)):
                running[executor.submit(function, task)] = task
            if not running:
                return None
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    return list(running.values())
                answer = _future_result(future)
                yield running.pop(future), answer


def _run_alone(function: Callable[[T], R], task: T) -> R | Exception:
    with _executor(1) as executor:
        return _future_result(executor.submit(function, task))


def _attempt(function: Callable[[T], R], task: T) -> R | Exception:
    try:
        return function(task)
    # Whatever one sensor's training raises is that sensor's result; the caller shows it.
    except Exception as error:  # noqa: BLE001
        return error


def _future_result(future: Future[R]) -> R | Exception:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return WorkerDied("the worker process was killed or ran out of memory, also when tried alone")
    if isinstance(error, Exception):
        return error
    return future.result()


def _executor(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=_context(), initializer=_init_worker)


def _context() -> BaseContext:
    """Workers are forked from a clean process that has imported what they need, once for all of them.

    Forked from this one they would inherit database connections and half-held locks.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def warm_up() -> None:
    """Begin to import what workers need, in a process beside this one."""
    with _environment(ONE_THREAD):
        _context()
        if "forkserver" in multiprocessing.get_all_start_methods():
            forkserver.ensure_running()


def _init_worker() -> None:
    """Hold a worker to one numeric thread and to its parent's life, whoever started what it was forked from.

    A server to fork from that this process has had before was started in another environment.
    """
    os.environ.update(ONE_THREAD)
    threadpool_limits(1)
    # By itself it would wait for tasks forever.
    end_with_parent(lambda: os._exit(1))


def end_with_parent(end: Callable[[], None]) -> None:
    """Call `end`, which ends this process, as soon as the one that it works for is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel, end), daemon=True).start()


def _watch(sentinel: int, end: Callable[[], None]) -> None:
    wait_for([sentinel])
    end()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
