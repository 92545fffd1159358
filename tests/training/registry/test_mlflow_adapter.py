"""Interfaces of MLflow that are not public behave as expected; an upgrade that changes one fails here."""

import re
import sqlite3
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

import training
from training.errors import RegistryError
from training.registry import mlflow_adapter
from training.registry.mlflow_adapter import (
    CONTENT_TABLES,
    EXPERIMENT_KIND_TAG,
    LOGGED_TABLES_TAG,
    PARENT_RUN_TAG,
    PATH_COLUMNS,
    artifact_repository,
    close_store_connections,
    is_missing_alias,
    is_missing_model,
    is_taken_name,
)

ADAPTER = Path(mlflow_adapter.__file__)
PRIVATE = re.compile(
    r"(?:from|import) (mlflow\.(?:store|protos|utils|server|tracking\._\w+|_\w+)[\w.]*)", re.MULTILINE
)


@pytest.fixture
def error_of():
    """A function that returns the error which a request raises."""

    def raised(request, *args):
        with pytest.raises(MlflowException) as info:
            request(*args)
        return info.value

    return raised


def test_only_the_adapter_imports_private_modules_of_mlflow():
    sources = Path(training.__file__).parent.rglob("*.py")
    imports = {path.name: PRIVATE.findall(path.read_text()) for path in sources if path != ADAPTER}

    assert {name: modules for name, modules in imports.items() if modules} == {}


def test_the_installed_mlflow_is_the_one_that_this_was_checked_with():
    """After an upgrade: run the tests of this file, compare a run in the UI, then change the number."""
    assert mlflow.__version__.startswith("3.17.")


def test_the_tags_are_those_that_the_mlflow_ui_reads():
    assert (PARENT_RUN_TAG, LOGGED_TABLES_TAG) == ("mlflow.parentRunId", "mlflow.loggedArtifacts")
    assert EXPERIMENT_KIND_TAG == "mlflow.experimentKind"


def test_a_name_that_is_taken_is_recognised(mlflow_client, error_of):
    mlflow_client.create_registered_model("pt-1-detector")

    error = error_of(mlflow_client.create_registered_model, "pt-1-detector")

    assert is_taken_name(error)
    assert not is_missing_model(error)


def test_a_model_that_does_not_exist_is_recognised(mlflow_client, error_of):
    error = error_of(mlflow_client.get_registered_model, "nobody")

    assert is_missing_model(error)
    assert is_missing_alias(error)
    assert not is_taken_name(error)


def test_an_alias_that_does_not_exist_is_recognised(mlflow_client, error_of):
    mlflow_client.create_registered_model("pt-1-detector")

    error = error_of(mlflow_client.get_model_version_by_alias, "pt-1-detector", "champion")

    assert is_missing_alias(error)
    assert not is_missing_model(error)


def test_files_can_be_written_to_and_listed_at_any_artifact_location(mlflow_client, tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("one.txt", "folder/two.txt"):
        (tmp_path / name).write_text("x")
    repository = artifact_repository(str(tmp_path / "store"), mlflow_client.tracking_uri)

    repository.log_artifact(str(tmp_path / "one.txt"))
    repository.log_artifacts(str(tmp_path / "folder"))

    assert {file.path for file in repository.list_artifacts()} == {"one.txt", "two.txt"}


def test_an_embedded_store_has_the_tables_and_columns_that_backups_use(empty_mlflow):
    with sqlite3.connect(empty_mlflow) as store:
        columns = {
            table: {row[1] for row in store.execute(f"PRAGMA table_info({table})")}
            for table in {*CONTENT_TABLES, *(table for table, _ in PATH_COLUMNS)}
        }

    assert all(columns[table] for table in CONTENT_TABLES)
    assert [(table, column) for table, column in PATH_COLUMNS if column not in columns[table]] == []


def test_a_repaired_file_of_the_embedded_store_is_read_without_a_restart(workspace):
    """A pooled connection would stay with the damaged file, also after another has taken its place."""
    file, aside = workspace.home / "mlflow.db", workspace.home / "aside.db"
    workspace.registry.listings()
    close_store_connections()
    file.rename(aside)
    file.write_bytes(b"no database" * 500)
    for _ in range(3):
        with pytest.raises(RegistryError, match="not a database"):
            workspace.registry.listings()

    aside.rename(file)

    for _ in range(3):
        assert workspace.registry.listings() == {}
