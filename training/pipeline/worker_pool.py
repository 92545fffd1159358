"""Run tasks on worker processes; a worker that dies costs only its own task.

Handles processes, their imports and numeric threads. A task is anything that can be pickled; what a training
task does is in `training.pipeline.fit`.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import BaseContext
from typing import TypeVar

from threadpoolctl import threadpool_limits

from training.settings import environment_variables

T = TypeVar("T")
R = TypeVar("R")

# Each worker uses one core; threads of numeric libraries would compete with the other workers.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "STAN_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREAD_SETTINGS, "1")
# Imported once, in the process from which workers are forked; it takes seconds.
PRELOADED = ("training.pipeline.worker_preload",)


class WorkerDied(Exception):
    """A worker process ended during a task, twice: it was killed or ran out of memory."""


def run_all(
    function: Callable[[T], R], tasks: Iterable[T], *, jobs: int
) -> Iterator[tuple[T, R | Exception]]:
    """Yield each task with its result or the exception it raised, in the order in which they finish.

    Reads `tasks` lazily, two per worker ahead, so that a large fleet is never in memory at once. With one job
    all tasks run in this process.
    """
    if jobs == 1:
        for task in tasks:
            yield task, _attempt(function, task)
        return
    remaining = iter(tasks)
    with environment_variables(ONE_THREAD):
        while True:
            suspects = yield from _run_until_broken(function, remaining, jobs)
            if suspects is None:
                return
            # Any of them may have killed the worker. Run alone, only the one that did fails.
            for task in suspects:
                yield task, _run_alone(function, task)


def _run_until_broken(
    function: Callable[[T], R], tasks: Iterator[T], jobs: int
) -> Generator[tuple[T, R | Exception], None, list[T] | None]:
    """Run tasks until none is left (returns None) or a worker dies (returns the tasks in progress)."""
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
                result = _future_result(future)
                yield running.pop(future), result


def _run_alone(function: Callable[[T], R], task: T) -> R | Exception:
    with _executor(1) as executor:
        return _future_result(executor.submit(function, task))


def _attempt(function: Callable[[T], R], task: T) -> R | Exception:
    try:
        return function(task)
    # Any error of one task is that task's result; the caller shows it.
    except Exception as error:  # noqa: BLE001
        return error


def _future_result(future: Future[R]) -> R | Exception:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return WorkerDied("the worker process was killed or ran out of memory, also when the task ran alone")
    if isinstance(error, Exception):
        return error
    return future.result()


def _executor(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=_context(), initializer=_init_worker)


def _context() -> BaseContext:
    """Fork workers from a clean process that has imported their libraries.

    Forked from this process, they would inherit database connections and locks in any state.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def warm_up() -> None:
    """Start the process that workers are forked from, so that its imports run beside this process."""
    with environment_variables(ONE_THREAD):
        _context()
        if "forkserver" in multiprocessing.get_all_start_methods():
            forkserver.ensure_running()


def _init_worker() -> None:
    """Limit a worker to one numeric thread, and end it with its parent."""
    # The fork server may have been started earlier, in another environment.
    os.environ.update(ONE_THREAD)
    threadpool_limits(1)
    # Without its parent, a worker would wait for tasks forever.
    end_with_parent(lambda: os._exit(1))


def end_with_parent(end: Callable[[], None]) -> None:
    """Call `end`, which must end this process, as soon as the parent process has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel, end), daemon=True).start()


def _watch(sentinel: int, end: Callable[[], None]) -> None:
    wait_for([sentinel])
    end()
