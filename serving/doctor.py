"""The doctor: looks at everything an installation needs and says what to do about what is wrong.

Knows what can be checked without changing anything. Repairs nothing. What the schedule, the messages and the
instruments leave behind is `monitoring.schedule.scheduler_health`'s.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import delete, false, func, select

from serving.models.champions import Champions
from training.errors import SafePlanError, without_passwords
from training.kinds import Kind
from training.pipeline.recording import PENDING
from training.registry.model_registry import CHAMPION
from training.storage.database import leases, reading, writing
from training.storage.leases import Owner
from training.storage.schema import CURRENT
from training.storage.schema import version as schema_version
from training.workspace import Workspace

LEAST_FREE = 2 * 2**30  # bytes; a retraining of 100 sensors writes 0.1 GB
KNOWN_TO_WORK = {
    "mlflow": "3.17",
    "scikit-learn": "1.9",
    "prophet": "1.5",
    "optuna": "5.",
    "evidently": "0.7",
    "sqlalchemy": "2.1",
    "skops": "0.16",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    bad: bool
    found: str
    todo: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "what": self.what,
            "state": "BAD" if self.bad else "look" if self.todo else "ok",
            "found": self.found,
            "what to do": self.todo,
        }


def examine(workspace: Workspace) -> list[Finding]:
    """Look at the home folder, the packages, the database, the registry and every champion."""
    return [
        *_disk(workspace),
        *_packages(),
        *guarded("database", lambda: list(_database(workspace))),
        *guarded("registry", lambda: list(_registry(workspace))),
    ]


def _disk(workspace: Workspace) -> Iterator[Finding]:
    there = next(place for place in (workspace.home, *workspace.home.parents) if place.exists())
    free = shutil.disk_usage(there).free
    yield Finding(
        "disk",
        free < LEAST_FREE,
        f"{free / 2**30:.1f} GB free under {workspace.home}",
        "Free some space, or move SAFEPLAN_HOME." if free < LEAST_FREE else "",
    )


def _packages() -> Iterator[Finding]:
    installed = {package: _version(package) for package in KNOWN_TO_WORK}
    wrong = {
        package: found for package, found in installed.items() if not found.startswith(KNOWN_TO_WORK[package])
    }
    yield Finding(
        "packages",
        bool(wrong),
        ", ".join(f"{package} {found}" for package, found in (wrong or installed).items()),
        "Install from requirements.lock: make .venv/.ready" if wrong else "",
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def _database(workspace: Workspace) -> Iterator[Finding]:
    engine = workspace.engine
    with reading(engine) as connection:
        schema = schema_version(connection)
        held = connection.execute(select(leases.c.name, leases.c.owner)).all()
        now = connection.execute(select(func.current_timestamp())).scalar()
    place = engine.url.render_as_string(hide_password=True)
    yield Finding("database", schema != CURRENT, f"{place}, schema {schema}, its clock says {now}")
    spans = workspace.readings.last_times()
    yield Finding(
        "readings",
        spans.empty,
        f"{len(spans)} sensors with readings" + ("" if spans.empty else f", the newest {spans.max()}"),
        "Load some: safeplan load FILE" if spans.empty else "",
    )
    yield from guarded("writing to the database", lambda: _written(workspace))
    left = [name for name, owner in held if Owner.parse(owner).is_gone()]
    if left:
        yield Finding(
            "cut-off work",
            True,
            f"{len(left)} pieces of work were cut off: {', '.join(left[:5])}",
            "Run the same safeplan train again; it goes on where it stopped.",
        )


def _written(workspace: Workspace) -> list[Finding]:
    """Take the lock to write, and write nothing: a database that is read-only or locked refuses even that."""
    with writing(workspace.engine) as connection:
        connection.execute(delete(leases).where(false()))
    return []


def _registry(workspace: Workspace) -> Iterator[Finding]:
    champions = Champions(workspace.registry, workspace.model_cache)
    listings = workspace.registry.listings()
    uri = without_passwords(workspace.mlflow.tracking_uri)
    serving = [key for key, listing in listings.items() if CHAMPION in listing.aliases]
    yield Finding(
        "registry",
        False,
        f"{uri}: {len(listings)} models, {len(serving)} with a champion",
        "" if serving else "Train some: safeplan train",
    )
    pending = [
        version.uri
        for listing in listings.values()
        for version in workspace.registry.versions_of(listing.name)[:1]
        if version.tags.get("validation_status") == PENDING
    ]
    if pending:
        yield Finding(
            "half-registered versions",
            True,
            ", ".join(pending[:5]),
            "Run the same safeplan train again; it finishes them.",
        )
    known = {*workspace.fleet, *workspace.readings.last_times().index}
    orphans = sorted({sensor_id for sensor_id, _ in serving} - known)
    if orphans:
        yield Finding(
            "champions without a sensor",
            True,
            f"{len(orphans)} sensors are unknown here: {', '.join(orphans[:5])}",
            "Was it renamed? Load its readings under the old name, or delete its models in the MLflow UI.",
        )
    for sensor_id, kind in serving:
        load = champions.detector if kind is Kind.DETECTOR else champions.forecaster
        yield from guarded(f"{kind} of {sensor_id}", partial(_loads, load, sensor_id))


def _loads(load: Any, sensor_id: str) -> list[Finding]:
    load(sensor_id)
    return []


def guarded(what: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What a look finds; where it cannot be taken, that is the finding."""
    try:
        return look()
    except SafePlanError as error:
        return [Finding(what, True, str(error), "See the sentence; run safeplan doctor again afterwards.")]
