"""MLflow tracking: one parent run per retraining and kind, one child run per sensor.

Knows where the tracking server is, its experiments, and how runs are opened, found, read and closed. Leaves
what is written in them to `publishing`, versions and aliases to `registry`.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from pydantic import Field

from training.registry.model_registry import registry_errors
from training.settings import Settings, home, load_settings

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
RUN_BATCH = 100


class TrackingSettings(Settings, file="training", section="tracking"):
    """Where runs and models are kept; `MLFLOW_TRACKING_URI` wins over both."""

    uri: str | None = Field(None, description="an MLflow tracking URI; empty: mlflow.db in the home folder")


_default_addresses: set[str] = set()


@dataclass(frozen=True)
class OpenRun:
    """A run that is being written, and where its files go."""

    run_id: str
    experiment_id: str
    artifacts: str

    @classmethod
    def of(cls, run: Run) -> "OpenRun":
        """What MLflow answers, by our names."""
        return cls(str(run.info.run_id), str(run.info.experiment_id), str(run.info.artifact_uri))


def tracking_address(settings: TrackingSettings | None = None, folder: Path | None = None) -> str:
    """Where runs and versions are: `MLFLOW_TRACKING_URI`, the setting, or `mlflow.db` in the home folder."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named in _default_addresses:
        named = None  # MLflow has written there what an earlier call chose
    chosen = named or (settings or load_settings(TrackingSettings)).uri
    return chosen or f"sqlite:///{(folder or home()) / 'mlflow.db'}"


def connect(settings: TrackingSettings | None = None, folder: Path | None = None) -> MlflowClient:
    """Point MLflow at its server, or at `mlflow.db` in the home folder, and answer its client."""
    uri = tracking_address(settings, folder)
    if uri == f"sqlite:///{(folder or home()) / 'mlflow.db'}":
        (folder or home()).mkdir(parents=True, exist_ok=True)
    if uri != os.environ.get("MLFLOW_TRACKING_URI"):
        _default_addresses.add(uri)
    with registry_errors(f"cannot reach MLflow at {uri}"):
        mlflow.set_tracking_uri(uri)
        return MlflowClient()


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

    def open(self, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None) -> OpenRun:
        """Open a run, nested below `parent` where given."""
        nesting = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        with registry_errors(f"cannot start the run {name}"):
            run = self.client.create_run(self.experiment(experiment), run_name=name, tags={**tags, **nesting})
        return OpenRun.of(run)

    def start(self, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Open a run of which only the id matters."""
        return self.open(experiment, name, tags, parent).run_id

    def tag(self, run_id: str, **tags: str) -> None:
        """Write tags on a run."""
        with registry_errors(f"cannot tag the run {run_id}"):
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def parent(self, run_id: str) -> str | None:
        """The run that this one is nested below."""
        with registry_errors(f"cannot read the run {run_id}"):
            parent_id = self.client.get_run(run_id).data.tags.get(MLFLOW_PARENT_RUN_ID)
        return None if parent_id is None else str(parent_id)

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
        summaries: dict[str, RunSummary] = {}
        for first in range(0, len(run_ids), RUN_BATCH):
            quoted_ids = ", ".join(f"'{run_id}'" for run_id in run_ids[first : first + RUN_BATCH])
            with registry_errors(f"cannot read the runs of {experiment}"):
                runs = self.client.search_runs(
                    [self.experiment(experiment)],
                    f"attributes.run_id IN ({quoted_ids})",
                    max_results=RUN_BATCH,
                )
            summaries |= {
                run.info.run_id: RunSummary(dict(run.data.metrics), dict(run.data.tags)) for run in runs
            }
        return summaries

    def unfinished(self, experiment: str, tags: Mapping[str, str]) -> list[Run]:
        """Runs still marked running that carry all these tags, newest first."""
        conditions = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        query = " and ".join(["attributes.status = 'RUNNING'", *conditions])
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
        experiment = self.client.get_experiment_by_name(name)
        return None if experiment is None else str(experiment.experiment_id)

    def _create_experiment(self, name: str) -> str:
        # A server decides itself where artifacts go; beside an embedded database they would land in
        # the working folder, wherever that happens to be.
        embedded = mlflow.get_tracking_uri().startswith("sqlite")
        location = str(self._artifacts / name) if embedded else None
        try:
            return str(self.client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))
        except mlflow.exceptions.MlflowException:
            # Two trainings started at once, the other was faster; anything else fails again here.
            existing = self._find_experiment(name)
            if existing is None:
                raise
            return existing
