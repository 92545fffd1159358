"""The interfaces of MLflow used here that its API documentation does not promise.

`tests/training/registry/test_mlflow_adapter.py` fails when an upgrade changes one of them. Serving's are in
`serving.http.mlflow_adapter`.
"""

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID

PARENT_RUN_TAG: str = MLFLOW_PARENT_RUN_ID  # nests a run below another
LOGGED_TABLES_TAG: str = MLFLOW_LOGGED_ARTIFACTS  # JSON list of the files that the UI shows as tables
# Of an experiment: without it, the UI takes an experiment for one about language models.
EXPERIMENT_KIND_TAG, EXPERIMENT_KIND = "mlflow.experimentKind", "custom_model_development"
# Columns of an embedded store (`mlflow.db`) that hold absolute paths.
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
CONTENT_TABLES = ("runs", "registered_models")  # empty in a store that was only created


def artifact_repository(location: str, tracking_uri: str) -> Any:
    """Files below an artifact location: `list_artifacts()`, `log_artifact(file)`, `log_artifacts(folder)`.

    The public functions log below one run at a time; this writes beside runs and to logged models too.
    """
    return get_artifact_repository(location, tracking_uri=tracking_uri)


def close_store_connections() -> None:
    """Close the idle connections of MLflow's embedded stores; the next query opens new ones.

    A connection to an SQLite file that was damaged and then replaced stays with the old file.
    """
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore  # noqa: PLC0415
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore  # noqa: PLC0415

    for store in (RegistryStore, TrackingStore):
        for engine in list(store._engine_map.values()):
            engine.dispose()


def is_taken_name(error: MlflowException) -> bool:
    """Whether a request failed because the name is taken."""
    return bool(error.error_code == "RESOURCE_ALREADY_EXISTS")


def is_missing_model(error: MlflowException) -> bool:
    """Whether a request failed because the registered model does not exist."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def is_missing_alias(error: MlflowException) -> bool:
    """Whether a request failed because the registered model or its alias does not exist."""
    # MLflow answers a missing alias with INVALID_PARAMETER_VALUE, a missing model with the other code.
    return error.error_code == "INVALID_PARAMETER_VALUE" or is_missing_model(error)
