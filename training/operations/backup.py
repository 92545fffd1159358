"""Back up an installation into one archive with a SHA-256 for every file, and restore it.

The archive is a ZIP of `manifest.json`, `tables/*.parquet`, `conf/*.yaml` and, if the MLflow store is in the
home folder, `mlflow/`. An MLflow server must be backed up separately; the manifest then holds its address.
Rows are handled in `training.operations.table_backup`, the MLflow store in
`training.operations.registry_backup`.
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
from training.errors import BadArchive, ConfigurationError, without_passwords, write_errors
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
    """The content of an archive and its origin."""

    made_at: str  # UTC
    program: str
    schema: str
    tables: dict[str, int]  # row counts
    mlflow: str  # "embedded", or the address of a server whose content is not in the archive
    artifacts: str  # the folder at the beginning of paths in an embedded store
    members: dict[str, str] = field(default_factory=dict)  # SHA-256 by name
    format: int = FORMAT_VERSION

    @property
    def summary(self) -> dict[str, Any]:
        """The fields that commands print."""
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
            BadArchive: it has another format, or another program wrote it.
        """
        if content.get("format") != FORMAT_VERSION:
            raise BadArchive(
                f"The archive has format {content.get('format')!r}, but this program reads format "
                f"{FORMAT_VERSION}. Restore it with the version of safeplan that wrote it, or a newer one."
            )
        try:
            return cls(**content)
        except TypeError as error:
            raise BadArchive(f"The archive's manifest is invalid: {error}. Use another archive.") from error


def back_up(workspace: Workspace, to: Path, *, now: datetime) -> Manifest:
    """Write tables, settings and models into one archive while the installation is in use.

    The file appears only when it is complete. Tables are read in one transaction and MLflow after them, so
    every version that a prediction refers to is in the archive.

    Raises:
        ConfigurationError: the file exists.
        UnwritableFile: the archive cannot be written; no part of it remains.
        StoreError, RegistryError: a part of the installation cannot be read.
    """
    if to.exists():
        raise ConfigurationError(f"{to} exists. A backup does not overwrite files; choose another name.")
    with write_errors("The backup", to):
        return _write_archive(workspace, to, now)


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
    """Restore an archive into an empty installation.

    Every file is verified against its SHA-256 before anything is written. Rows are written in one transaction
    and the MLflow store last, so an interrupted restore does not look complete.

    Raises:
        BadArchive: the file is not a backup, or was altered or truncated.
        ConfigurationError: the installation is not empty.
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
            f"The database is not empty: {summary}. A restore does not merge two installations. "
            "Set SAFEPLAN_HOME and SAFEPLAN_DATABASE_URL to new ones."
        )
    if manifest.mlflow == "embedded":
        if not is_embedded(workspace):
            raise ConfigurationError(
                f"The archive contains an embedded MLflow store, but this installation uses "
                f"{_address(workspace)}. Unset MLFLOW_TRACKING_URI to restore it."
            )
        if (existing := existing_store(workspace.home)) is not None:
            raise ConfigurationError(f"{existing} exists. Set SAFEPLAN_HOME to a new folder.")


def _restore_conf(source: Path, target: Path) -> None:
    if source.is_dir() and not target.exists():
        source.rename(target)


def _address(workspace: Workspace) -> str:
    return without_passwords(tracking_address(folder=workspace.home))
