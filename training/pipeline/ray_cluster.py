"""Run training tasks on a Ray cluster, whose nodes share no disk with this process.

Packs tasks and results with their files. Scheduling and retries are Ray's; the order of a retraining and all
writing stay in `training.pipeline.fleet`, in this process.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from training.errors import ConfigurationError
from training.pipeline.fit import Candidate, TrainingTask, Unchanged, run_training_task
from training.pipeline.worker_pool import WorkerDied

FitResult = Candidate | Unchanged | Exception

MAX_RETRIES = 5  # of a task whose node or worker died; limited because the task itself may kill its worker
TASKS_PER_CORE = 2  # so that no core waits for its next task


@dataclass(frozen=True)
class ClusterTask:
    """A task with the files of its champion."""

    task: TrainingTask
    champion_files: Mapping[str, bytes] | None


@dataclass(frozen=True)
class ClusterResult:
    """A result with the files of its candidate."""

    result: FitResult
    candidate_files: Mapping[str, bytes]


def fit_on_cluster(tasks: Iterable[TrainingTask]) -> Iterator[tuple[TrainingTask, FitResult]]:
    """Run tasks on the cluster of `RAY_ADDRESS`, else on a local one; yield results as they finish.

    Reads `tasks` lazily, a few more than there are cores; their number may change meanwhile.

    Raises:
        ConfigurationError: Ray is not installed, or no cluster answers.
    """
    remaining = iter(tasks)
    with _connected():
        import ray  # noqa: PLC0415 (an extra that takes seconds to import)

        remote_fit = ray.remote(_fit_on_node).options(num_cpus=1, max_retries=MAX_RETRIES)
        running: dict[ray.ObjectRef[ClusterResult], TrainingTask] = {}
        while True:
            cores: float = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
            capacity = TASKS_PER_CORE * int(cores) - len(running)
            for task in islice(remaining, max(capacity, 0)):
                running[remote_fit.remote(pack_task(task))] = task
            if not running:
                return
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                task = running.pop(reference)
                try:
                    packed_result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    yield task, WorkerDied(f"the worker or its node died {MAX_RETRIES + 1} times: {error}")
                else:
                    yield task, unpack_result(packed_result, task.folder)


def pack_task(task: TrainingTask) -> ClusterTask:
    """The task with all files that it needs."""
    champion = _read_files(task.incumbent.files) if task.incumbent else None
    return ClusterTask(task, champion)


def unpack_result(packed_result: ClusterResult, folder: Path) -> FitResult:
    """The result, with its files written below `folder`."""
    if not isinstance(packed_result.result, Candidate):
        return packed_result.result
    package = Path(tempfile.mkdtemp(dir=folder))
    _write_files(packed_result.candidate_files, package)
    return replace(packed_result.result, package=package)


def _fit_on_node(packed: ClusterTask) -> ClusterResult:
    """Run on a node: write the champion's files, train, and read the candidate's files."""
    with tempfile.TemporaryDirectory(prefix="safeplan-node-") as temporary:
        folder = Path(temporary)
        task = replace(packed.task, folder=folder)
        if task.incumbent is not None and packed.champion_files is not None:
            files = folder / "champion"
            _write_files(packed.champion_files, files)
            task = replace(task, incumbent=replace(task.incumbent, files=files))
        try:
            result = run_training_task(task)
        # Any error of one task is that task's result; raised, it would end the whole retraining.
        except Exception as error:  # noqa: BLE001
            return ClusterResult(error, {})
        package = _read_files(result.package) if isinstance(result, Candidate) else {}
        return ClusterResult(result, package)


def _read_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _write_files(contents: Mapping[str, bytes], folder: Path) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextmanager
def _connected() -> Iterator[None]:
    """Connect to the cluster; a connection that existed before stays open afterwards."""
    try:
        import ray  # noqa: PLC0415 (an extra that takes seconds to import)
    except ImportError as error:
        raise ConfigurationError("--engine ray needs Ray. Run: pip install 'safeplan[ray]'") from error
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
    except ConnectionError as error:
        raise ConfigurationError(f"No Ray cluster answers: {error}. Check RAY_ADDRESS.") from error
    try:
        yield
    finally:
        ray.shutdown()
