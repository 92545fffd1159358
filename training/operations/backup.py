"""Back-up and restore: one installation in one archive, every byte of it hashed.

Knows the archive, its manifest, and the order in which parts are taken and put back. Leaves rows to
`table_backup` and MLflow's own store to `registry_backup`.

The archive is a ZIP of `manifest.json`, `tables/*.parquet`, `conf/*.yaml` and, where MLflow lives in the home
folder, `mlflow/`. A server of MLflow is backed up by whoever runs it; the manifest then says so.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.artifacts.archive import ArchiveReader, ArchiveWriter
from training.errors import BadArchive, ConfigurationError, StoreError, without_passwords
from training.operations.registry_backup import (
    back_up_registry,
    existing_store,
    is_embedded,
    restore_registry,
)
from training.operations.table_backup import back_up_tables, count_rows, restore_tables
from training.registry.tracking import tracking_address
from training.settings import conf_folder
from training.storage.schema import CURRENT_REVISION
from training.workspace import Workspace

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What is in an archive, and what it was taken from."""

    made_at: str  # UTC
    program: str
    schema: str
    tables: dict[str, int]  # rows of each
    mlflow: str  # "embedded", or the address of a server whose content is not in here
    artifacts: str  # the folder that addresses inside an embedded MLflow begin with
    members: dict[str, str] = field(default_factory=dict)  # SHA-256 by name
    format: int = FORMAT_VERSION

    @property
    def summary(self) -> dict[str, Any]:
        """What people want to know of an archive."""
        files = sum(name.startswith("mlflow/mlartifacts/") for name in self.members)
        return {
            "made_at": self.made_at,
            "program": self.program,
            "rows": sum(self.tables.values()),
            "files": files,
            "mlflow": self.mlflow,
        }

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Manifest":
        """A manifest from its JSON.

        Raises:
            BadArchive: it was written by a program newer than this one, or by another one.
        """
        if content.get("format") != FORMAT_VERSION:
            raise BadArchive(
                f"The archive has format {content.get('format')!r}; this program reads format {FORMAT_VERSION}. "
                "Restore it with the safeplan that made it, or a newer one."
            )
        try:
            return cls(**content)
        except TypeError as error:
            raise BadArchive(f"The archive's manifest is not ours: {error}. Take another archive.") from error


def back_up(workspace: Workspace, to: Path, *, now: datetime) -> Manifest:
    """Write everything that matters into one archive, while the installation goes on working.

    The file appears under its name when it is complete. Tables are read in one transaction, and MLflow after
    them, so that every version a prediction names is in the archive.

    Raises:
        ConfigurationError: there is a file of that name.
        StoreError, RegistryError: a part cannot be read, or the archive cannot be written.
    """
    if to.exists():
        raise ConfigurationError(f"{to} exists, and a back-up never overwrites one. Name another file.")
    try:
        return _write_archive(workspace, to, now)
    except OSError as error:
        raise StoreError(
            f"The back-up cannot be written to {to}: {error}. Free some disk space or name another place, "
            "then run this again; nothing is left of this one."
        ) from error


def _write_archive(workspace: Workspace, to: Path, now: datetime) -> Manifest:
    to.parent.mkdir(parents=True, exist_ok=True)
    embedded = is_embedded(workspace)
    with (
        tempfile.TemporaryDirectory(dir=to.parent, prefix=".backup-") as temporary,
        ArchiveWriter(Path(temporary) / "archive.zip") as archive,
    ):
        tables = back_up_tables(workspace.engine, archive, Path(temporary))
        for path in sorted(conf_folder(os.environ).glob("*.yaml")):
            archive.add(f"conf/{path.name}", path)
        if embedded:
            back_up_registry(workspace.home, archive, Path(temporary))
        manifest = Manifest(
            made_at=now.isoformat(timespec="seconds"),
            program=version("safeplan"),
            schema=CURRENT_REVISION,
            tables=tables,
            mlflow="embedded" if embedded else _address(workspace),
            artifacts=str(workspace.home / "mlartifacts") if embedded else "",
            members=archive.digests,
        )
        archive.add_text("manifest.json", json.dumps(asdict(manifest), indent=2))
        archive.close()
        archive.path.replace(to)
    return manifest


def restore(workspace: Workspace, source: Path) -> Manifest:
    """Put an archive into an installation that holds nothing yet.

    Every member is held to its SHA-256 before anything is written. The rows come in one transaction, and
    MLflow's store last, so a restore that is cut off leaves nothing that looks whole.

    Raises:
        BadArchive: the file is no archive of ours, was altered or cut short.
        ConfigurationError: the installation holds something already.
    """
    with ArchiveReader(source) as archive:
        manifest = Manifest.read(archive.json("manifest.json"))
        archive.verify(manifest.members)
        _require_empty(workspace, manifest)
        with tempfile.TemporaryDirectory(dir=workspace.home, prefix=".restore-") as temporary:
            archive.extract("conf/", Path(temporary))
            archive.extract("mlflow/", Path(temporary))
            restore_tables(workspace.engine, archive, manifest.tables, manifest.schema, Path(temporary))
            _restore_conf(Path(temporary) / "conf", workspace.home / "conf")
            if manifest.mlflow == "embedded":
                restore_registry(Path(temporary) / "mlflow", workspace.home, manifest.artifacts)
    return manifest


def _require_empty(workspace: Workspace, manifest: Manifest) -> None:
    workspace.home.mkdir(parents=True, exist_ok=True)
    row_counts = {name: rows for name, rows in count_rows(workspace.engine).items() if rows}
    if row_counts:
        summary = ", ".join(f"{name} has {rows:,} rows" for name, rows in row_counts.items())
        raise ConfigurationError(
            f"The database is not empty: {summary}. A restore never mixes two installations. "
            "Point SAFEPLAN_HOME and SAFEPLAN_DATABASE_URL at new ones."
        )
    if manifest.mlflow == "embedded":
        if not is_embedded(workspace):
            raise ConfigurationError(
                f"The archive holds an embedded MLflow, and {_address(workspace)} is named "
                "here. Unset MLFLOW_TRACKING_URI to restore it."
            )
        if (existing := existing_store(workspace.home)) is not None:
            raise ConfigurationError(f"{existing} exists. Point SAFEPLAN_HOME at a new folder.")


def _restore_conf(source: Path, target: Path) -> None:
    if source.is_dir() and not target.exists():
        source.rename(target)


def _address(workspace: Workspace) -> str:
    return without_passwords(tracking_address(folder=workspace.home))
