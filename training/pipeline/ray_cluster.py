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
from training.pipeline.fit import Assignment, Candidate, Unchanged, fit
from training.pipeline.worker_pool import WorkerDied

Learned = Candidate | Unchanged | Exception

RETRIES = 5  # of a task whose node or worker died; a sensor that kills its workers must end some day
AHEAD = 2  # tasks a core, so that none waits for the next


@dataclass(frozen=True)
class Parcel:
    """An assignment with its champion's files in it."""

    assignment: Assignment
    champion: Mapping[str, bytes] | None


@dataclass(frozen=True)
class Reply:
    """What was learned, with the candidate's files in it."""

    learned: Learned
    package: Mapping[str, bytes]


def fit_on_cluster(assignments: Iterable[Assignment]) -> Iterator[tuple[Assignment, Learned]]:
    """Learn every assignment on the cluster that `RAY_ADDRESS` names, else on a local one; as they finish.

    Assignments are drawn a few ahead of the cores there are, which may change while this runs.

    Raises:
        ConfigurationError: Ray is not installed, or no cluster answers.
    """
    remaining = iter(assignments)
    with _connected():
        import ray  # noqa: PLC0415 - an extra, and seconds of import

        learn = ray.remote(_learn_there).options(num_cpus=1, max_retries=RETRIES)
        running: dict[ray.ObjectRef[Reply], Assignment] = {}
        while True:
            cores: float = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
            room = AHEAD * int(cores) - len(running)
            for assignment in islice(remaining, max(room, 0)):
                running[learn.remote(pack(assignment))] = assignment
            if not running:
                return
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                assignment = running.pop(reference)
                try:
                    reply = ray.get(reference)
                except ray.exceptions.RayError as error:
                    yield assignment, WorkerDied(f"its worker or node died {RETRIES + 1} times: {error}")
                else:
                    yield assignment, unpack(reply, assignment.folder)


def pack(assignment: Assignment) -> Parcel:
    """An assignment that needs no disk of ours."""
    champion = _contents(assignment.incumbent.files) if assignment.incumbent else None
    return Parcel(assignment, champion)


def unpack(reply: Reply, folder: Path) -> Learned:
    """What was learned, its files in a folder here."""
    if not isinstance(reply.learned, Candidate):
        return reply.learned
    package = Path(tempfile.mkdtemp(dir=folder))
    _lay_out(reply.package, package)
    return replace(reply.learned, package=package)


def _learn_there(parcel: Parcel) -> Reply:
    """On a node: lay the champion's files out, learn, and gather the candidate's."""
    with tempfile.TemporaryDirectory(prefix="safeplan-node-") as place:
        folder = Path(place)
        assignment = replace(parcel.assignment, folder=folder)
        if assignment.incumbent is not None and parcel.champion is not None:
            files = folder / "champion"
            _lay_out(parcel.champion, files)
            assignment = replace(assignment, incumbent=replace(assignment.incumbent, files=files))
        try:
            learned = fit(assignment)
        # Whatever one sensor's training raises is that sensor's result; elsewhere it would be raised again.
        except Exception as error:  # noqa: BLE001
            return Reply(error, {})
        package = _contents(learned.package) if isinstance(learned, Candidate) else {}
        return Reply(learned, package)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _lay_out(contents: Mapping[str, bytes], folder: Path) -> None:
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
