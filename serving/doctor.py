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
from training.registry.model_registry import CHAMPION, ValidationStatus
from training.storage.database import leases, reading, writing
from training.storage.leases import Owner
from training.storage.schema import CURRENT_REVISION
from training.storage.schema import schema_revision as schema_version
from training.workspace import Workspace

MIN_FREE_BYTES = 2 * 2**30  # bytes; a retraining of 100 sensors writes 0.1 GB
TESTED_VERSIONS = {
    "mlflow": "3.17",
    "scikit-learn": "1.9",
    "prophet": "1.5",
    "optuna": "5.",
    "evidently": "0.7",
    "sqlalchemy": "2.1",
    "skops": "0.16",
}


@dataclass(frozen=True)
class HealthCheck:
    """One thing that was looked at."""

    what: str
    is_problem: bool
    found: str
    action: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "what": self.what,
            "state": "BAD" if self.is_problem else "look" if self.action else "ok",
            "found": self.found,
            "what to do": self.action,
        }


def run_checks(workspace: Workspace) -> list[HealthCheck]:
    """Look at the home folder, the packages, the database, the registry and every champion."""
    return [
        *_check_disk(workspace),
        *_check_packages(),
        *run_guarded("database", lambda: list(_check_database(workspace))),
        *run_guarded("registry", lambda: list(_check_registry(workspace))),
    ]


def _check_disk(workspace: Workspace) -> Iterator[HealthCheck]:
    existing_folder = next(place for place in (workspace.home, *workspace.home.parents) if place.exists())
    free = shutil.disk_usage(existing_folder).free
    yield HealthCheck(
        "disk",
        free < MIN_FREE_BYTES,
        f"{free / 2**30:.1f} GB free under {workspace.home}",
        "Free some space, or move SAFEPLAN_HOME." if free < MIN_FREE_BYTES else "",
    )


def _check_packages() -> Iterator[HealthCheck]:
    installed = {package: _installed_version(package) for package in TESTED_VERSIONS}
    untested = {
        package: found
        for package, found in installed.items()
        if not found.startswith(TESTED_VERSIONS[package])
    }
    yield HealthCheck(
        "packages",
        bool(untested),
        ", ".join(f"{package} {found}" for package, found in (untested or installed).items()),
        "Install from requirements.lock: make .venv/.ready" if untested else "",
    )


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def _check_database(workspace: Workspace) -> Iterator[HealthCheck]:
    engine = workspace.engine
    with reading(engine) as connection:
        schema = schema_version(connection)
        held = connection.execute(select(leases.c.name, leases.c.owner)).all()
        now = connection.execute(select(func.current_timestamp())).scalar()
    address = engine.url.render_as_string(hide_password=True)
    yield HealthCheck(
        "database", schema != CURRENT_REVISION, f"{address}, schema {schema}, its clock says {now}"
    )
    spans = workspace.readings.last_times()
    yield HealthCheck(
        "readings",
        spans.empty,
        f"{len(spans)} sensors with readings" + ("" if spans.empty else f", the newest {spans.max()}"),
        "Load some: safeplan load FILE" if spans.empty else "",
    )
    yield from run_guarded("writing to the database", lambda: _check_writable(workspace))
    abandoned = [name for name, owner in held if Owner.parse(owner).is_gone()]
    if abandoned:
        yield HealthCheck(
            "cut-off work",
            True,
            f"{len(abandoned)} pieces of work were cut off: {', '.join(abandoned[:5])}",
            "Run the same safeplan train again; it goes on where it stopped.",
        )


def _check_writable(workspace: Workspace) -> list[HealthCheck]:
    """Take the lock to write, and write nothing: a database that is read-only or locked refuses even that."""
    with writing(workspace.engine) as connection:
        connection.execute(delete(leases).where(false()))
    return []


def _check_registry(workspace: Workspace) -> Iterator[HealthCheck]:
    champions = Champions(workspace.registry, workspace.model_cache)
    listings = workspace.registry.listings()
    uri = without_passwords(workspace.mlflow.tracking_uri)
    serving = [key for key, listing in listings.items() if CHAMPION in listing.aliases]
    yield HealthCheck(
        "registry",
        False,
        f"{uri}: {len(listings)} models, {len(serving)} with a champion",
        "" if serving else "Train some: safeplan train",
    )
    pending = [
        version.uri
        for listing in listings.values()
        for version in workspace.registry.versions_of(listing.name)[:1]
        if version.validation_status is ValidationStatus.PENDING
    ]
    if pending:
        yield HealthCheck(
            "half-registered versions",
            True,
            ", ".join(pending[:5]),
            "Run the same safeplan train again; it finishes them.",
        )
    known_ids = {*workspace.fleet, *workspace.readings.last_times().index}
    orphans = sorted({sensor_id for sensor_id, _ in serving} - known_ids)
    if orphans:
        yield HealthCheck(
            "champions without a sensor",
            True,
            f"{len(orphans)} sensors are unknown here: {', '.join(orphans[:5])}",
            "Was it renamed? Load its readings under the old name, or delete its models in the MLflow UI.",
        )
    for sensor_id, kind in serving:
        load = champions.detector if kind is Kind.DETECTOR else champions.forecaster
        yield from run_guarded(f"{kind} of {sensor_id}", partial(_check_loads, load, sensor_id))


def _check_loads(load: Any, sensor_id: str) -> list[HealthCheck]:
    load(sensor_id)
    return []


def run_guarded(what: str, look: Callable[[], list[HealthCheck]]) -> list[HealthCheck]:
    """What a look finds; where it cannot be taken, that is the finding."""
    try:
        return look()
    except SafePlanError as error:
        return [
            HealthCheck(what, True, str(error), "See the sentence; run safeplan doctor again afterwards.")
        ]
