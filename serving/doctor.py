"""Check an installation: disk, packages, database, registry and every champion, with advice for each problem.

Changes nothing. Jobs, messages and instruments are checked by `monitoring.schedule.scheduler_health`.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import delete, false, func, select

from serving.models.champions import Champions
from serving.models.serving_state import ModelKey
from training.errors import SafePlanError, without_passwords
from training.reasons import Reason, ReasonCode, render, render_all
from training.registry.model_registry import CHAMPION, ValidationStatus
from training.storage.database import leases, reading, writing
from training.storage.leases import Owner
from training.storage.schema import CURRENT_REVISION, schema_revision
from training.workspace import Workspace

MIN_FREE_BYTES = 2 * 2**30  # bytes; a retraining of 100 sensors writes 0.1 GB
MAX_NAMES_SHOWN = 5
TESTED_VERSIONS = {
    "mlflow": "3.17",
    "scikit-learn": "1.9",
    "prophet": "1.5",
    "optuna": "5.",
    "evidently": "0.7",
    "sqlalchemy": "2.1",
    "skops": "0.16",
}


class HealthStatus(StrEnum):
    """The result of one check, as `safeplan doctor` prints it."""

    OK = "ok"
    ATTENTION = "look"  # works, but someone should look at it
    PROBLEM = "BAD"


@dataclass(frozen=True)
class HealthCheck:
    """The result of one check: its subject, the status, what was found and what to do about it."""

    subject: str
    status: HealthStatus
    reasons: tuple[Reason, ...]
    action: Reason | None = None

    @classmethod
    def of(
        cls, subject: str, reason: Reason, status: HealthStatus, action: Reason | None = None
    ) -> "HealthCheck":
        """A check with one reason; the action is dropped where the status is OK."""
        return cls(subject, status, (reason,), None if status is HealthStatus.OK else action)

    @property
    def is_problem(self) -> bool:
        """Whether the installation needs a repair."""
        return self.status is HealthStatus.PROBLEM

    def as_dict(self) -> dict[str, Any]:
        """Plain values, in English."""
        return {
            "what": self.subject,
            "state": self.status.value,
            "found": without_passwords(render_all(self.reasons)),
            "what to do": render(self.action) if self.action else "",
        }


def run_checks(workspace: Workspace) -> list[HealthCheck]:
    """Check the home folder, the packages, the database, the registry and every champion."""
    return [
        *_check_disk(workspace),
        *_check_packages(),
        *run_guarded("database", lambda: list(_check_database(workspace))),
        *run_guarded("registry", lambda: list(_check_registry(workspace))),
    ]


def run_guarded(subject: str, check: Callable[[], list[HealthCheck]]) -> list[HealthCheck]:
    """The results of a check; an error that prevents the check is a problem itself."""
    try:
        return check()
    except SafePlanError as error:
        reason = Reason(ReasonCode.TEXT, {"text": str(error)})
        return [HealthCheck.of(subject, reason, HealthStatus.PROBLEM, Reason(ReasonCode.DOCTOR_RERUN))]


def _check_disk(workspace: Workspace) -> Iterator[HealthCheck]:
    existing_folder = next(folder for folder in (workspace.home, *workspace.home.parents) if folder.exists())
    free = shutil.disk_usage(existing_folder).free
    yield HealthCheck.of(
        "disk",
        Reason(ReasonCode.DOCTOR_DISK, {"free": round(free / 2**30, 1), "folder": str(workspace.home)}),
        HealthStatus.PROBLEM if free < MIN_FREE_BYTES else HealthStatus.OK,
        Reason(ReasonCode.DOCTOR_FREE_DISK),
    )


def _check_packages() -> Iterator[HealthCheck]:
    installed = {package: _installed_version(package) for package in TESTED_VERSIONS}
    untested = {
        package: current
        for package, current in installed.items()
        if not current.startswith(TESTED_VERSIONS[package])
    }
    code = ReasonCode.DOCTOR_PACKAGES_UNTESTED if untested else ReasonCode.DOCTOR_PACKAGES_TESTED
    listed = [f"{package} {current}" for package, current in (untested or installed).items()]
    yield HealthCheck.of(
        "packages",
        Reason(code, {"packages": listed}),
        HealthStatus.PROBLEM if untested else HealthStatus.OK,
        Reason(ReasonCode.DOCTOR_INSTALL_LOCKED),
    )


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def _check_database(workspace: Workspace) -> Iterator[HealthCheck]:
    engine = workspace.engine
    with reading(engine) as connection:
        revision = schema_revision(connection)
        held_leases = connection.execute(select(leases.c.name, leases.c.owner)).all()
        now = connection.execute(select(func.current_timestamp())).scalar()
    address = engine.url.render_as_string(hide_password=True)
    yield HealthCheck.of(
        "database",
        Reason(ReasonCode.DOCTOR_DATABASE, {"address": address, "schema": str(revision), "time": str(now)}),
        HealthStatus.OK if revision == CURRENT_REVISION else HealthStatus.PROBLEM,
    )
    times = workspace.readings.last_times()
    yield HealthCheck.of(
        "readings",
        Reason(ReasonCode.DOCTOR_NO_READINGS)
        if times.empty
        else Reason(ReasonCode.DOCTOR_READINGS, {"sensors": len(times), "time": times.max()}),
        HealthStatus.PROBLEM if times.empty else HealthStatus.OK,
        Reason(ReasonCode.DOCTOR_LOAD),
    )
    yield from run_guarded("writing to the database", lambda: _check_writable(workspace))
    abandoned = [name for name, owner in held_leases if Owner.parse(owner).is_gone()]
    yield from _check_absence(
        "interrupted work", ReasonCode.DOCTOR_INTERRUPTED, ReasonCode.DOCTOR_RESUME, names=abandoned
    )


def _check_absence(
    subject: str, code: ReasonCode, action: ReasonCode, **unwanted: list[str]
) -> Iterator[HealthCheck]:
    """A problem with the number of unwanted things and the first of them; nothing where there are none."""
    [(name, entries)] = unwanted.items()
    if entries:
        reason = Reason(code, {"count": len(entries), name: entries[:MAX_NAMES_SHOWN]})
        yield HealthCheck.of(subject, reason, HealthStatus.PROBLEM, Reason(action))


def _check_writable(workspace: Workspace) -> list[HealthCheck]:
    """Take the write lock without writing: a read-only or locked database refuses even that."""
    with writing(workspace.engine) as connection:
        connection.execute(delete(leases).where(false()))
    return []


def _check_registry(workspace: Workspace) -> Iterator[HealthCheck]:
    champions = Champions(workspace.registry, workspace.model_cache)
    listings = workspace.registry.listings()
    serving = [key for key, listing in listings.items() if CHAMPION in listing.aliases]
    address = without_passwords(workspace.mlflow.tracking_uri)
    yield HealthCheck.of(
        "registry",
        Reason(
            ReasonCode.DOCTOR_REGISTRY,
            {"address": address, "models": len(listings), "champions": len(serving)},
        ),
        HealthStatus.OK if serving else HealthStatus.ATTENTION,
        Reason(ReasonCode.DOCTOR_TRAIN),
    )
    pending = [
        version.uri
        for listing in listings.values()
        for version in workspace.registry.versions_of(listing.name)[:1]
        if version.validation_status is ValidationStatus.PENDING
    ]
    yield from _check_absence(
        "half-registered versions",
        ReasonCode.DOCTOR_HALF_REGISTERED,
        ReasonCode.DOCTOR_RESUME,
        versions=pending,
    )
    known_ids = {*workspace.fleet, *workspace.readings.last_times().index}
    orphans = sorted({sensor_id for sensor_id, _ in serving} - known_ids)
    yield from _check_absence(
        "champions without a sensor", ReasonCode.DOCTOR_ORPHANS, ReasonCode.DOCTOR_RENAMED, sensors=orphans
    )
    for key in serving:
        yield from run_guarded(f"{key[1]} of {key[0]}", partial(_check_loads, champions, key))


def _check_loads(champions: Champions, key: ModelKey) -> list[HealthCheck]:
    champions.get(key)
    return []
