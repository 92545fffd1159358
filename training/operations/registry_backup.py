"""Back up and restore the MLflow store in the home folder (`mlflow.db`, `mlartifacts/`) while it is in use.

Restoring into another folder rewrites the absolute paths in the database. An MLflow server is backed up by
its own means.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from training.artifacts.archive import ArchiveWriter
from training.errors import BadArchive, RegistryError
from training.registry.mlflow_adapter import CONTENT_TABLES, PATH_COLUMNS
from training.registry.tracking import tracking_address
from training.workspace import Workspace

STORE_FILE, ARTIFACTS_FOLDER = "mlflow.db", "mlartifacts"


def is_embedded(workspace: Workspace) -> bool:
    """Whether the MLflow store is in the home folder, not behind a server."""
    return tracking_address(folder=workspace.home) == f"sqlite:///{workspace.home / STORE_FILE}"


def existing_store(home: Path) -> Path | None:
    """The file or folder of a store that a restore would overwrite, or None."""
    artifacts = home / ARTIFACTS_FOLDER
    if artifacts.is_dir() and any(artifacts.iterdir()):
        return artifacts
    return home / STORE_FILE if _has_runs(home / STORE_FILE) else None


def back_up_registry(home: Path, archive: ArchiveWriter, temporary: Path) -> None:
    """Archive a snapshot of the database, then the files it refers to; MLflow never changes those."""
    copy = temporary / STORE_FILE
    try:
        with closing(sqlite3.connect(home / STORE_FILE)) as store, closing(sqlite3.connect(copy)) as target:
            store.backup(target)
    except sqlite3.Error as error:
        raise RegistryError(f"cannot copy {home / STORE_FILE}: {error}. Run safeplan doctor.") from error
    archive.add(f"mlflow/{STORE_FILE}", copy)
    copy.unlink()
    for path in sorted((home / ARTIFACTS_FOLDER).rglob("*")):
        if path.is_file():
            archive.add(
                f"mlflow/{ARTIFACTS_FOLDER}/{path.relative_to(home / ARTIFACTS_FOLDER).as_posix()}", path
            )


def restore_registry(source: Path, home: Path, old_artifacts: str) -> None:
    """Move an extracted store into a home folder and rewrite its paths; the database is moved last."""
    if not (source / STORE_FILE).is_file():
        raise BadArchive(
            "The archive's manifest names an embedded MLflow store, but the archive has none. "
            "Use another archive."
        )
    rename_paths(source / STORE_FILE, old_artifacts, str(home / ARTIFACTS_FOLDER))
    if (source / ARTIFACTS_FOLDER).is_dir():
        (source / ARTIFACTS_FOLDER).replace(home / ARTIFACTS_FOLDER)
    (source / STORE_FILE).replace(home / STORE_FILE)


def rename_paths(store: Path, old: str, new: str) -> None:
    """Replace the folder at the beginning of all paths in a store."""
    with closing(sqlite3.connect(store)) as connection, connection:
        for table, column in PATH_COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (constant names)
                f"WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old), old),
            )


def _has_runs(store: Path) -> bool:
    """Whether a store has content; MLflow creates an empty one whenever it is opened."""
    if not store.exists():
        return False
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        return any(
            name in tables and connection.execute(f"SELECT EXISTS (SELECT 1 FROM {name})").fetchone()[0]  # noqa: S608
            for name in CONTENT_TABLES
        )
