"""The same training on a Ray cluster: assignments go out to nodes, candidates come back, deaths are survived.

Knows what must travel with an assignment where no disk is shared, and which errors are a node's and not a
sensor's. Scheduling, retries and lost results are Ray's; the order of a retraining and all writing stay with
`fleet`, in the process that asked.
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

MAX_RETRIES = 5  # of a task whose node or worker died; a sensor that kills its workers must end some day
TASKS_PER_CORE = 2  # tasks a core, so that none waits for the next


@dataclass(frozen=True)
class ClusterTask:
    """An assignment with its champion's files in it."""

    task: TrainingTask
    champion_files: Mapping[str, bytes] | None


@dataclass(frozen=True)
class ClusterResult:
    """What was learned, with the candidate's files in it."""

    result: FitResult
    candidate_files: Mapping[str, bytes]


def fit_on_cluster(tasks: Iterable[TrainingTask]) -> Iterator[tuple[TrainingTask, FitResult]]:
    """Learn every assignment on the cluster that `RAY_ADDRESS` names, else on a local one; as they finish.

    Assignments are drawn a few ahead of the cores there are, which may change while this runs.

    Raises:
        ConfigurationError: Ray is not installed, or no cluster answers.
    """
    remaining = iter(tasks)
    with _connected():
        import ray  # noqa: PLC0415 - an extra, and seconds of import

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
                    yield task, WorkerDied(f"its worker or node died {MAX_RETRIES + 1} times: {error}")
                else:
                    yield task, unpack_result(packed_result, task.folder)


def pack_task(task: TrainingTask) -> ClusterTask:
    """An assignment that needs no disk of ours."""
    champion = _read_files(task.incumbent.files) if task.incumbent else None
    return ClusterTask(task, champion)


def unpack_result(packed_result: ClusterResult, folder: Path) -> FitResult:
    """What was learned, its files in a folder here."""
    if not isinstance(packed_result.result, Candidate):
        return packed_result.result
    package = Path(tempfile.mkdtemp(dir=folder))
    _write_files(packed_result.candidate_files, package)
    return replace(packed_result.result, package=package)


def _fit_on_node(packed: ClusterTask) -> ClusterResult:
    """On a node: lay the champion's files out, learn, and gather the candidate's."""
    with tempfile.TemporaryDirectory(prefix="safeplan-node-") as temporary:
        folder = Path(temporary)
        task = replace(packed.task, folder=folder)
        if task.incumbent is not None and packed.champion_files is not None:
            files = folder / "champion"
            _write_files(packed.champion_files, files)
            task = replace(task, incumbent=replace(task.incumbent, files=files))
        try:
            result = run_training_task(task)
        # Whatever one sensor's training raises is that sensor's result; elsewhere it would be raised again.
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
    """Connected to the cluster; one that we were connected to before is left as it was."""
    try:
        import ray  # noqa: PLC0415 - an extra, and seconds of import
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
