"""Write the content of a run and upload its model, in as few MLflow requests as possible.

A request to SQLite costs 5 ms of CPU and a disk flush; MLflow's own `log_model` makes 40 of them and loads
the model that it saved. Opening and closing runs is in `training.registry.tracking`; what a training run
contains is decided in `training.pipeline.recording`.
"""

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunTag,
)

from training.common.clock import utc_now
from training.registry.mlflow_adapter import LOGGED_TABLES_TAG, artifact_repository
from training.registry.model_registry import registry_errors
from training.registry.packaging import MLmodelTemplate
from training.registry.tracking import OpenRun

MAX_PARAM_LENGTH = 500  # characters; MLflow refuses longer values on some stores


@dataclass(frozen=True)
class RunContent:
    """The content of a run."""

    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)  # SVG
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)  # by path


@dataclass(frozen=True)
class DatasetInfo:
    """The readings that a run was trained on."""

    name: str
    digest: str
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class LoggedModel:
    """A model that was uploaded to a run."""

    model_id: str
    source: str


class Publisher:
    """Writes the content of runs; use one instance per thread."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def log_content(self, run: OpenRun, run_content: RunContent, model: LoggedModel | None = None) -> None:
        """Write parameters, finite metrics, tags and files; `model` gets the metrics too."""
        now = int(time.time() * 1000)
        model_id = model.model_id if model else None
        metrics = [
            Metric(name, float(value), now, 0, model_id=model_id)
            for name, value in run_content.metrics.items()
            if value is not None and math.isfinite(value)
        ]
        params = [Param(name, str(value)[:MAX_PARAM_LENGTH]) for name, value in run_content.params.items()]
        logged_tables = [{"path": f"{name}.json", "type": "table"} for name in run_content.tables]
        tags = {
            **run_content.tags,
            **({LOGGED_TABLES_TAG: json.dumps(logged_tables)} if logged_tables else {}),
        }
        with registry_errors(f"cannot write the run {run.run_id}"):
            self._upload(run, run_content)
            self.client.log_batch(
                run.run_id, metrics=metrics, params=params, tags=[RunTag(k, v) for k, v in tags.items()]
            )

    def log_dataset(self, run: OpenRun, source: DatasetInfo) -> None:
        """Log the readings that a run was trained on as its input dataset."""
        described = json.dumps(dict(source.profile))
        dataset = Dataset(source.name, source.digest[:36], "safeplan_readings", described)
        context = [InputTag("mlflow.data.context", "training")]
        with registry_errors(f"cannot log the data of the run {run.run_id}"):
            self.client.log_inputs(run.run_id, [DatasetInput(dataset, context)])

    def upload_shared(self, run: OpenRun, name: str, make: Callable[[], bytes]) -> None:
        """Store a file once for all runs of an experiment, at `../../name` seen from a run's files.

        `make` is called only if the file does not exist.
        """
        folder_uri = run.artifacts.rstrip("/").rsplit("/", 2)[0]
        with registry_errors(f"cannot store {name} beside the run {run.run_id}"):
            repository = self._repository(folder_uri)
            if name in {Path(file.path).name for file in repository.list_artifacts()}:
                return
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / name).write_bytes(make())
                repository.log_artifact(str(Path(folder) / name))

    def upload_model(
        self,
        run: OpenRun,
        package: Path,
        name: str,
        *,
        template: MLmodelTemplate,
        example: pd.DataFrame,
        params: Mapping[str, Any],
    ) -> LoggedModel:
        """Upload a model to a run; the model's own files are in `package/data/model`."""
        with registry_errors(f"cannot upload {name} of run {run.run_id}"):
            model = self.client.create_logged_model(
                run.experiment_id,
                name=name,
                source_run_id=run.run_id,
                params={key: str(value)[:MAX_PARAM_LENGTH] for key, value in params.items()},
            )
            template.render(
                package,
                location=model.artifact_location,
                run_id=run.run_id,
                model_id=model.model_id,
                created=utc_now(),
                example=example,
            )
            self._repository(model.artifact_location).log_artifacts(str(package))
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            self.client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
        return LoggedModel(str(model.model_id), str(model.model_uri))

    def _upload(self, run: OpenRun, run_content: RunContent) -> None:
        if not run_content.tables and not run_content.pictures and not run_content.files:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, table in run_content.tables.items():
                _json_ready(table).to_json(Path(folder) / f"{name}.json", orient="split", index=False)
            for name, svg in run_content.pictures.items():
                (Path(folder) / f"{name}.svg").write_bytes(svg)
            for path, content in run_content.files.items():
                (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / path).write_bytes(content)
            self._repository(run.artifacts).log_artifacts(folder)

    def _repository(self, location: str) -> Any:
        return artifact_repository(location, self.client.tracking_uri)


def _json_ready(table: pd.DataFrame) -> pd.DataFrame:
    """A table that can be written as JSON for MLflow: None for NaN, times as text."""
    ready = table.copy()
    for name in ready.columns:
        if pd.api.types.is_datetime64_any_dtype(ready[name]):
            ready[name] = ready[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return ready.astype(object).where(ready.notna(), None)
