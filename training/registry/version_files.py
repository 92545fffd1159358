"""Fetch the files of registered versions into a cache, verified against the SHA-256 of their tags.

Reading them is in `training.anomaly.serialization` and `training.forecasting.serialization`.
"""

import shutil
import tempfile
from pathlib import Path

import mlflow
from mlflow.models.model import MLMODEL_FILE_NAME

from training.artifacts.model_files import DATA, MODEL_FOLDER, check_digest
from training.errors import UntrustedModel
from training.registry.model_registry import Version, registry_errors


def fetch_files(version: Version, cache: Path) -> Path:
    """A local folder with the version's files, verified against the SHA-256 of its tag.

    A cached copy is verified again and replaced if it was altered. The version's `MLmodel` file, which
    the hash does not cover, is stored beside the folder at `description_of(folder)`.

    Raises:
        UntrustedModel: the version has no SHA-256, or its files do not match it.
        RegistryError: the files cannot be fetched.
    """
    if not version.sha256:
        raise UntrustedModel(
            f"{version.uri} has no tag model_sha256, so safeplan train did not register it. "
            "Promote another version."
        )
    cached = cache / version.name / f"{version.number}-{version.sha256[:12]}"
    if cached.is_dir() and description_of(cached).is_file():
        try:
            check_digest(cached, version.sha256, model=version.uri)
        except UntrustedModel:
            shutil.rmtree(cached)
        else:
            return cached
    with registry_errors(f"cannot fetch the files of {version.uri}"):
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".fetch-") as folder:
            fetched = Path(mlflow.artifacts.download_artifacts(version.uri, dst_path=folder))
            files, description = fetched / DATA / MODEL_FOLDER, fetched / MLMODEL_FILE_NAME
            check_digest(files, version.sha256, model=version.uri)
            if description.is_file():
                description.replace(description_of(cached))
            try:
                files.rename(cached)
            except OSError:
                # Another process fetched the same files first.
                check_digest(cached, version.sha256, model=version.uri)
    return cached


def description_of(files: Path) -> Path:
    """The path of the `MLmodel` file of a version whose files were fetched to `files`."""
    return files.with_name(f"{files.name}.{MLMODEL_FILE_NAME}")
