"""MLflow tracking: one parent run per retraining and kind, one child run per sensor.

Knows where the tracking server is, the experiments, and the shape that makes runs comparable: the same
metric names on every child, the data window and its digest, the trials as a table, two pictures. Leaves
versions and aliases to `registry`.
"""

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunStatus, RunTag
from mlflow.models import Model, ModelSignature
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from pydantic import Field

from training.model_files import MODEL_FOLDER
from training.registry import registry_errors
from training.settings import Settings, home, load

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Else the end of each run on a server prints its address on stdout, into the one JSON document of `--json`.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
logging.getLogger("mlflow").setLevel(logging.WARNING)

# Without its kind, the MLflow UI takes an experiment for one about language models.
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": (
        "One run a retraining, with a table of all its sensors; below it one run a sensor, with the same "
        "metric names on every one. Each sensor's run ends in a version of its registered model."
    ),
}
RUNS_AT_ONCE = 100
LONGEST_PARAM = 500  # characters; MLflow refuses longer values on some stores


class TrackingSettings(Settings, file="training", section="tracking"):
    """Where runs and models are kept; `MLFLOW_TRACKING_URI` wins over both."""

    uri: str | None = Field(None, description="an MLflow tracking URI; empty: mlflow.db in the home folder")


_own_choices: set[str] = set()


@dataclass(frozen=True)
class LoggedModel:
    """A model's files, uploaded below one run."""

    model_id: str
    source: str


def tracking_address(settings: TrackingSettings | None = None, folder: Path | None = None) -> str:
    """Where runs and versions are: `MLFLOW_TRACKING_URI`, the setting, or `mlflow.db` in the home folder."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named in _own_choices:
        named = None  # MLflow has written there what an earlier call chose
    chosen = named or (settings or load(TrackingSettings)).uri
    return chosen or f"sqlite:///{(folder or home()) / 'mlflow.db'}"


def connect(settings: TrackingSettings | None = None, folder: Path | None = None) -> MlflowClient:
    """Point MLflow at its server, or at `mlflow.db` in the home folder, and answer its client."""
    uri = tracking_address(settings, folder)
    if uri == f"sqlite:///{(folder or home()) / 'mlflow.db'}":
        (folder or home()).mkdir(parents=True, exist_ok=True)
    if uri != os.environ.get("MLFLOW_TRACKING_URI"):
        _own_choices.add(uri)
    with registry_errors(f"cannot reach MLflow at {without_password(uri)}"):
        mlflow.set_tracking_uri(uri)
        return MlflowClient()


def without_password(url: str) -> str:
    """A URL that may be shown: `user:password@` becomes `user:***@`.

    >>> without_password("postgresql://me:secret@db/safeplan")
    'postgresql://me:***@db/safeplan'
    """
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{place}"


@dataclass(frozen=True)
class RunSummary:
    """What a run came to."""

    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class Tracker:
    """Writes runs; one instance writes from one thread."""

    def __init__(self, client: MlflowClient, artifacts: Path | None = None) -> None:
        self.client = client
        self._artifacts = artifacts or home() / "mlartifacts"
        self._experiments: dict[str, str] = {}

    def experiment(self, name: str) -> str:
        """The id of an experiment, created at first use."""
        if name not in self._experiments:
            with registry_errors(f"cannot open the experiment {name}"):
                self._experiments[name] = self._find_experiment(name) or self._create_experiment(name)
        return self._experiments[name]

    def start(self, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Open a run, nested below `parent` where given; its id."""
        nesting = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        with registry_errors(f"cannot start the run {name}"):
            run = self.client.create_run(self.experiment(experiment), run_name=name, tags={**tags, **nesting})
        return str(run.info.run_id)

    def describe(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        """Write parameters, metrics and tags at once; a metric that is not finite is left out."""
        now = int(time.time() * 1000)
        numbers = [
            Metric(key, float(value), now, 0)
            for key, value in metrics.items()
            if value is not None and math.isfinite(value)
        ]
        texts = [Param(key, str(value)[:LONGEST_PARAM]) for key, value in params.items()]
        with registry_errors(f"cannot describe the run {run_id}"):
            self.client.log_batch(
                run_id, metrics=numbers, params=texts, tags=[RunTag(k, v) for k, v in tags.items()]
            )

    def describe_data(self, run_id: str, *, name: str, digest: str, source: Mapping[str, Any]) -> None:
        """Log which readings a run learned from, as its input dataset."""
        dataset = Dataset(
            name=name, digest=digest[:36], source_type="safeplan_readings", source=json.dumps(source)
        )
        context = [InputTag("mlflow.data.context", "training")]
        with registry_errors(f"cannot log the data of the run {run_id}"):
            self.client.log_inputs(run_id, [DatasetInput(dataset, context)])

    def attach(
        self, run_id: str, *, pictures: Mapping[str, bytes], tables: Mapping[str, pd.DataFrame]
    ) -> None:
        """Upload SVG pictures and tables that the MLflow UI shows as such."""
        with registry_errors(f"cannot upload the artifacts of the run {run_id}"):
            for name, table in tables.items():
                self.client.log_table(run_id, _json_ready(table), f"{name}.json")
            for name, svg in pictures.items():
                with self.client._log_artifact_helper(run_id, f"{name}.svg") as path:
                    Path(path).write_bytes(svg)

    def upload_model(
        self,
        run_id: str,
        files: Path,
        name: str,
        *,
        requirements: Sequence[str],
        signature: ModelSignature,
        example: pd.DataFrame,
    ) -> LoggedModel:
        """Upload a fitted model's files below a run, in the form that `mlflow models serve` runs alone.

        `files` must be a folder called `MODEL_FOLDER`. Requirements are given, never inferred: inferring
        them loads the model in a new process and takes 9 s. The run's metrics so far become the model's.
        """
        if files.name != MODEL_FOLDER:
            raise ValueError(f"the folder of model files must be called {MODEL_FOLDER}, not {files.name}")
        with registry_errors(f"cannot upload {name} of run {run_id}"):
            # Left to itself, MLflow files the model under whatever experiment is current in this process.
            experiment = self.client.get_run(run_id).info.experiment_id
            model = self.client.create_logged_model(experiment, name=name, source_run_id=run_id)
            info = Model.log(
                artifact_path=None,
                flavor=mlflow.pyfunc,
                run_id=run_id,
                model_id=model.model_id,
                loader_module="training.standalone",
                data_path=str(files),
                pip_requirements=list(requirements),
                signature=signature,
                input_example=example,
            )
        return LoggedModel(model_id=str(info.model_id), source=str(info.model_uri))

    def tag(self, run_id: str, **tags: str) -> None:
        """Write tags on a run."""
        with registry_errors(f"cannot tag the run {run_id}"):
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def parent(self, run_id: str) -> str | None:
        """The run that this one is nested below."""
        with registry_errors(f"cannot read the run {run_id}"):
            found = self.client.get_run(run_id).data.tags.get(MLFLOW_PARENT_RUN_ID)
        return None if found is None else str(found)

    def finish(self, run_id: str, *, succeeded: bool = True) -> None:
        """Close a run."""
        status = RunStatus.FINISHED if succeeded else RunStatus.FAILED
        with registry_errors(f"cannot finish the run {run_id}"):
            self.client.set_terminated(run_id, RunStatus.to_string(status))

    def metrics(self, run_id: str) -> dict[str, float]:
        """The newest value of each of a run's metrics."""
        with registry_errors(f"cannot read the run {run_id}"):
            return dict(self.client.get_run(run_id).data.metrics)

    def summaries(self, experiment: str, run_ids: Sequence[str]) -> dict[str, RunSummary]:
        """The metrics and tags of many runs of one experiment, by a query for each hundred of them."""
        found: dict[str, RunSummary] = {}
        for first in range(0, len(run_ids), RUNS_AT_ONCE):
            listed = ", ".join(f"'{run_id}'" for run_id in run_ids[first : first + RUNS_AT_ONCE])
            with registry_errors(f"cannot read the runs of {experiment}"):
                runs = self.client.search_runs(
                    [self.experiment(experiment)],
                    f"attributes.run_id IN ({listed})",
                    max_results=RUNS_AT_ONCE,
                )
            found |= {
                run.info.run_id: RunSummary(dict(run.data.metrics), dict(run.data.tags)) for run in runs
            }
        return found

    def unfinished(self, experiment: str, tags: Mapping[str, str]) -> list[Run]:
        """Runs still marked running that carry all these tags, newest first."""
        wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        query = " and ".join(["attributes.status = 'RUNNING'", *wanted])
        with registry_errors(f"cannot search the runs of {experiment}"):
            return list(
                self.client.search_runs(
                    [self.experiment(experiment)],
                    query,
                    max_results=10_000,
                    order_by=["attributes.start_time DESC"],
                )
            )

    def discard(self, run_id: str) -> None:
        """Remove a run that was cut off before it produced a version, with the model it was uploading."""
        with registry_errors(f"cannot remove the run {run_id}"):
            experiment = self.client.get_run(run_id).info.experiment_id
            for model in self.client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
                self.client.delete_logged_model(model.model_id)
            self.client.delete_run(run_id)

    def _find_experiment(self, name: str) -> str | None:
        found = self.client.get_experiment_by_name(name)
        return None if found is None else str(found.experiment_id)

    def _create_experiment(self, name: str) -> str:
        # A server decides itself where artifacts go; beside an embedded database they would land in
        # the working folder, wherever that happens to be.
        embedded = mlflow.get_tracking_uri().startswith("sqlite")
        place = str(self._artifacts / name) if embedded else None
        try:
            return str(self.client.create_experiment(name, artifact_location=place, tags=EXPERIMENT_TAGS))
        except mlflow.exceptions.MlflowException:
            # Two trainings started at once, the other was faster; anything else fails again here.
            found = self._find_experiment(name)
            if found is None:
                raise
            return found


def _json_ready(table: pd.DataFrame) -> pd.DataFrame:
    """MLflow's tables are JSON: no NaN, times as text."""
    ready = table.copy()
    for name in ready.columns:
        if pd.api.types.is_datetime64_any_dtype(ready[name]):
            ready[name] = ready[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return ready.astype(object).where(ready.notna(), None)
