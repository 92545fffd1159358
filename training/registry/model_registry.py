"""The model registry: one registered model per sensor and kind, its versions, tags and aliases.

Does not decide whether a version is promoted (`training.evaluation.gate`), and does not fetch its files
(`training.registry.version_files`).
"""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from training.errors import NoChampion, RegistryError
from training.kinds import FALLBACK_RECIPE, GateStatus, Kind
from training.outcomes import Outcome
from training.registry.mlflow_adapter import (
    close_store_connections,
    is_missing_alias,
    is_missing_model,
    is_taken_name,
)
from training.storage.store_errors import explain

NAME_BATCH = 100  # names in one query: servers refuse URLs longer than about 8,000 characters
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ROLLING_BACK_FROM = "rolling_back_from"  # tag of a registered model whose rollback is not finished


class ValidationStatus(StrEnum):
    """The tag `validation_status` of a version."""

    PENDING = "pending"  # registered, but its aliases are not set yet
    PASSED = "passed"  # the gate
    REFUSED = "refused"


@dataclass(frozen=True)
class Version:
    """One registered version of one sensor's model, as the registry describes it."""

    sensor_id: str
    kind: Kind
    name: str
    number: int
    run_id: str
    created: datetime
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """What `mlflow models serve -m` takes."""
        return f"models:/{self.name}/{self.number}"

    @property
    def validation_status(self) -> ValidationStatus | None:
        """The gate's decision, once the version is complete; None if another program registered it."""
        value = self.tags.get("validation_status")
        return ValidationStatus(value) if value in set(ValidationStatus) else None

    @property
    def gate_passed(self) -> bool:
        """Whether the gate allows this version to be promoted: it passed, or it is the fallback."""
        # 0.1.0 wrote no tag `gate_status`; its tag `gate` began with the status.
        status = self.tags.get("gate_status") or self.tags.get("gate", "").partition(":")[0]
        return status in {GateStatus.PASSED, GateStatus.FALLBACK}

    @property
    def is_fallback(self) -> bool:
        """Whether this version is the rule-based fallback of a sensor without a better detector."""
        return self.tags.get("recipe") == FALLBACK_RECIPE

    def outcome(self, status: StrEnum, alias: str | None, **fields: Any) -> Outcome:
        """The outcome of a command for this version; `fields` are its other fields, such as `metrics`."""
        return Outcome(
            sensor_id=self.sensor_id,
            kind=self.kind,
            status=status,
            model=self.name,
            version=self.number,
            alias=alias,
            **fields,
        )

    @property
    def sha256(self) -> str:
        """The SHA-256 that its files must have."""
        return self.tags.get("model_sha256", "")


@dataclass(frozen=True)
class Listing:
    """One sensor's registered model and the versions its aliases point at, from one bulk query."""

    sensor_id: str
    kind: Kind
    name: str
    aliases: Mapping[str, int]
    newest: Version | None = None  # the same query returns it


@contextmanager
def registry_errors(what: str) -> Iterator[None]:
    """Turn MLflow's errors into RegistryError, with the cause kept.

    MLflow passes on what its database raises while it is opened, and what the network or the disk raises
    during a transfer of files.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
        if isinstance(getattr(cause, "orig", None), sqlite3.DatabaseError):
            close_store_connections()
        raise RegistryError(f"{what}: {_explain(error)}") from error


class Registry:
    """All sensors' registered models behind one MLflow client."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def name(self, sensor_id: str, kind: Kind) -> str:
        """The name of a sensor's registered model; it has a hash if another id has the same slug."""
        return self._resolve_name(sensor_id, kind)[0]

    def create_model(self, sensor_id: str, kind: Kind) -> str:
        """Create the registered model unless it exists, and return its name."""
        name, exists = self._resolve_name(sensor_id, kind)
        if exists:
            return name
        with registry_errors(f"cannot create the registered model {name}"):
            try:
                self.client.create_registered_model(
                    name,
                    tags={"sensor_id": sensor_id, "kind": kind.value},
                    description=f"The {kind} of sensor {sensor_id}.",
                )
            except MlflowException as error:
                if not is_taken_name(error):
                    raise
                # Another process was faster. If it was for another id with this slug, the name changes.
                name = self.create_model(sensor_id, kind)
        return name

    def listings(self) -> dict[tuple[str, Kind], Listing]:
        """The models and aliases of all sensors, by one paged query (0.2 s for 1,000 models)."""
        with registry_errors("cannot list the registered models"):
            listings = [
                _listing(model)
                for model in _paged(self.client.search_registered_models)
                if "sensor_id" in model.tags and model.tags.get("kind") in set(Kind)
            ]
        return {(listing.sensor_id, listing.kind): listing for listing in listings}

    def aliases(self, name: str) -> dict[str, int]:
        """The version number of each alias of a registered model."""
        with registry_errors(f"cannot look up {name}"):
            aliases = self.client.get_registered_model(name).aliases
        return {alias: int(number) for alias, number in aliases.items()}

    def versions(self, sensor_id: str, kind: Kind) -> list[Version]:
        """All versions of a sensor's model, newest first."""
        return self.versions_of(self.name(sensor_id, kind))

    def versions_of(self, name: str) -> list[Version]:
        """All versions of one registered model, newest first."""
        return sorted(self.versions_in([name]), key=lambda version: -version.number)

    def versions_in(self, names: Sequence[str]) -> list[Version]:
        """All versions of the registered models named, by one query per 100 of them."""
        versions: list[Version] = []
        for first in range(0, len(names), NAME_BATCH):
            quoted_names = ", ".join(f"'{name}'" for name in names[first : first + NAME_BATCH])
            with registry_errors(f"cannot list the versions of {quoted_names}"):
                model_versions = _paged(self.client.search_model_versions, f"name IN ({quoted_names})")
                versions += map(_version, model_versions)
        return versions

    def version(self, name: str, number: int) -> Version:
        """One version by its number."""
        with registry_errors(f"{name} has no version {number}"):
            return _version(self.client.get_model_version(name, str(number)))

    def version_of_run(self, run_id: str) -> Version | None:
        """The version that a run registered, or None if the run was interrupted before."""
        with registry_errors(f"cannot look up the version of run {run_id}"):
            model_versions = self.client.search_model_versions(f"run_id = '{run_id}'")
        return _version(model_versions[0]) if model_versions else None

    def find(self, sensor_id: str, kind: Kind, alias: str) -> Version | None:
        """The version that an alias points at, or None if there is no such model or alias."""
        return self.find_alias(self.name(sensor_id, kind), alias)

    def find_alias(self, name: str, alias: str) -> Version | None:
        """The version that an alias of a registered model points at, or None."""
        with registry_errors(f"cannot look up {name}@{alias}"):
            try:
                return _version(self.client.get_model_version_by_alias(name, alias))
            except MlflowException as error:
                if is_missing_alias(error):
                    return None
                raise

    def champion(self, sensor_id: str, kind: Kind) -> Version:
        """The champion of a sensor.

        Raises:
            NoChampion: no version has the alias.
        """
        version = self.find(sensor_id, kind, CHAMPION)
        if version is None:
            raise NoChampion(
                f"{sensor_id} has no {kind} champion. Run: safeplan train '{sensor_id}' --kind {kind}, "
                f"or promote a version: safeplan promote '{sensor_id}' --kind {kind}"
            )
        return version

    def aliases_of(self, version: Version) -> list[str]:
        """The aliases that point at a version."""
        aliases = self.aliases(version.name)
        return sorted(alias for alias, number in aliases.items() if number == version.number)

    def register(
        self, sensor_id: str, kind: Kind, *, source: str, run_id: str, model_id: str, tags: Mapping[str, str]
    ) -> Version:
        """Create a version with all its tags in one request, so that no reader sees it without them."""
        name = self.create_model(sensor_id, kind)
        with registry_errors(f"cannot register a version of {name}"):
            created = self.client.create_model_version(
                name, source, run_id=run_id, model_id=model_id, tags=dict(tags), await_creation_for=0
            )
        return _version(created)

    def tag(self, version: Version, **tags: str) -> None:
        """Write tags on a version."""
        with registry_errors(f"cannot tag {version.uri}"):
            for key, value in tags.items():
                self.client.set_model_version_tag(version.name, str(version.number), key, value)

    def set_model_tag(self, name: str, key: str, value: str | None) -> None:
        """Write a tag on a registered model; None removes it."""
        with registry_errors(f"cannot tag {name}"):
            if value is None:
                self.client.delete_registered_model_tag(name, key)
            else:
                self.client.set_registered_model_tag(name, key, value)

    def models_with_tag(self, key: str) -> list[Listing]:
        """The registered models that have a tag."""
        with registry_errors(f"cannot list the models tagged {key}"):
            models = self.client.search_registered_models(f"tags.{key} != ''", max_results=1000)
        return [_listing(model) for model in models if model.tags.get("kind") in set(Kind)]

    def set_challenger(self, version: Version) -> None:
        """Point the challenger alias at a version."""
        with registry_errors(f"cannot make {version.uri} the challenger"):
            self.client.set_registered_model_alias(version.name, CHALLENGER, str(version.number))

    def promote(self, version: Version) -> None:
        """Make a version the champion; the former champion becomes `previous`.

        The writes are ordered so that there is exactly one champion wherever they are interrupted.
        """
        with registry_errors(f"cannot promote {version.uri}"):
            model = self.client.get_registered_model(version.name)
            aliases = {alias: int(number) for alias, number in model.aliases.items()}
            before = aliases.get(CHAMPION)
            if ROLLING_BACK_FROM in model.tags:
                # This promotion supersedes a rollback that was interrupted.
                self.client.delete_registered_model_tag(version.name, ROLLING_BACK_FROM)
            if before is not None and before != version.number:
                self.client.set_registered_model_alias(version.name, PREVIOUS, str(before))
            self.client.set_registered_model_alias(version.name, CHAMPION, str(version.number))
            if aliases.get(CHALLENGER) == version.number:
                self.client.delete_registered_model_alias(version.name, CHALLENGER)

    def rollback(self, sensor_id: str, kind: Kind) -> Version:
        """Make the previous champion the champion again; a second rollback undoes the first.

        The next rollback completes one that was interrupted between its two alias moves: a tag of the
        registered model holds the former champion.

        Raises:
            NoChampion: there is no champion, or no previous one.
        """
        name = self.name(sensor_id, kind)
        champion = self.champion(sensor_id, kind)
        previous = self.find_alias(name, PREVIOUS)
        with registry_errors(f"cannot roll back {name}"):
            interrupted_from = self.client.get_registered_model(name).tags.get(ROLLING_BACK_FROM)
            if (
                previous is not None
                and previous.number == champion.number
                and self._exists(name, interrupted_from)
            ):
                self.client.set_registered_model_alias(name, PREVIOUS, interrupted_from)
            elif previous is None or previous.number == champion.number:
                raise NoChampion(
                    f"{name} has no previous champion to roll back to; "
                    f"version {champion.number} stays champion."
                )
            else:
                self.client.set_registered_model_tag(name, ROLLING_BACK_FROM, str(champion.number))
                self.client.set_registered_model_alias(name, CHAMPION, str(previous.number))
                self.client.set_registered_model_alias(name, PREVIOUS, str(champion.number))
            self.client.delete_registered_model_tag(name, ROLLING_BACK_FROM)
        return previous

    def delete_old_versions(self, sensor_id: str, kind: Kind, *, keep: int) -> list[int]:
        """Delete all but the newest `keep` versions and those with an alias; return the deleted numbers."""
        name = self.name(sensor_id, kind)
        with registry_errors(f"cannot delete old versions of {name}"):
            model = self.client.get_registered_model(name)
            aliased = {int(number) for number in model.aliases.values()}
            surplus = [v.number for v in self.versions_of(name)[keep:] if v.number not in aliased]
            for number in surplus:
                self.client.delete_model_version(name, str(number))
        return surplus

    def _exists(self, name: str, number: str | None) -> bool:
        return any(str(version.number) == number for version in self.versions_of(name))

    def _resolve_name(self, sensor_id: str, kind: Kind) -> tuple[str, bool]:
        """The name, and whether the registered model exists."""
        plain = plain_name(sensor_id, kind)
        existing = self._find_model(plain)
        if existing is None or existing.tags.get("sensor_id") == sensor_id:
            return plain, existing is not None
        hashed = f"{slug(sensor_id)}-{hashlib.sha256(sensor_id.encode()).hexdigest()[:6]}-{kind}"
        return hashed, self._find_model(hashed) is not None

    def _find_model(self, name: str) -> RegisteredModel | None:
        with registry_errors(f"cannot look up {name}"):
            try:
                return self.client.get_registered_model(name)
            except MlflowException as error:
                if is_missing_model(error):
                    return None
                raise


def _explain(error: Exception) -> str:
    """The first line of the message; MLflow adds the statement and a link to what a database raised."""
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    if isinstance(cause, SQLAlchemyError):
        return explain(cause)
    message = error.message if isinstance(error, MlflowException) else error
    return str(message).strip().split("\n")[0]


def gate_detail(version: Version) -> dict[str, Any]:
    """The gate's decision on a version: text, JSON of the reasons (None for 0.1.0), status and recipe."""
    return {
        "gate": version.tags.get("gate", ""),
        "gate_reasons": version.tags.get("gate_reasons"),
        "gate_passed": version.gate_passed,
        "recipe": version.tags.get("recipe"),
    }


def plain_name(sensor_id: str, kind: Kind) -> str:
    """The name of a sensor's registered model if no other id has the same slug."""
    return f"{slug(sensor_id)}-{kind}"


def slug(sensor_id: str) -> str:
    """A sensor id in the characters that the name of a registered model may have.

    >>> slug("PT-1001 (casing)")
    'pt-1001-casing'
    """
    return re.sub(r"[^a-z0-9]+", "-", sensor_id.lower()).strip("-") or "sensor"


def _paged(search: Callable[..., Any], *query: str) -> Iterator[Any]:
    """All results of a search, page by page."""
    token: str | None = None
    while True:
        page = search(*query, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _listing(model: RegisteredModel) -> Listing:
    aliases = {alias: int(number) for alias, number in model.aliases.items()}
    newest = max(map(_version, model.latest_versions), key=lambda version: version.number, default=None)
    return Listing(model.tags["sensor_id"], Kind(model.tags["kind"]), model.name, aliases, newest)


def _kind_of(model_version: ModelVersion) -> Kind:
    """The kind by the tag, else by the name: one edited tag must not make a query of many versions fail."""
    tag = model_version.tags.get("kind", "")
    if tag in set(Kind):
        return Kind(tag)
    return Kind.DETECTOR if model_version.name.endswith("-detector") else Kind.FORECASTER


def _version(model_version: ModelVersion) -> Version:
    return Version(
        sensor_id=model_version.tags.get("sensor_id", ""),
        kind=_kind_of(model_version),
        name=model_version.name,
        number=int(model_version.version),
        run_id=model_version.run_id or "",
        created=datetime.fromtimestamp(model_version.creation_timestamp / 1000, tz=UTC),
        tags=dict(model_version.tags),
    )
