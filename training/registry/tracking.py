"""MLflow tracking: connect to the server, and open, find, read and close runs and experiments.

One parent run per retraining and kind, one child run per sensor. What a run contains is written by
`training.registry.publishing`; versions and aliases are in `training.registry.model_registry`.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus, RunTag
from pydantic import Field

from training.kinds import Kind
from training.registry.mlflow_adapter import EXPERIMENT_KIND, EXPERIMENT_KIND_TAG, PARENT_RUN_TAG
from training.registry.model_registry import Version, registry_errors
from training.settings import Settings, home, load_settings

# MLflow reads these when it is used. Without the last one it prints the address of each finished run on
# stdout, into the JSON document of `--json`.
MLFLOW_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
EXPERIMENT_TAGS = {
    EXPERIMENT_KIND_TAG: EXPERIMENT_KIND,
    "mlflow.note.content": (
        "One run per retraining, with a table of all its sensors. Nested below it one run per sensor, all "
        "with the same metric names. Each sensor's run registers a version of its model."
    ),
}
RUN_BATCH = 100


class TrackingSettings(Settings, file="training", section="tracking"):
    """Where MLflow stores runs and models; the environment variable `MLFLOW_TRACKING_URI` wins."""

    uri: str | None = Field(None, description="MLflow tracking URI; null: mlflow.db in the home folder")


# Addresses that `connect` chose; MLflow writes them to the environment.
_default_addresses: set[str] = set()


@dataclass(frozen=True)
class OpenRun:
    """A run that is being written, and the location of its files."""

    run_id: str
    experiment_id: str
    artifacts: str

    @classmethod
    def of(cls, run: Run) -> "OpenRun":
        """The same of MLflow's run."""
        return cls(str(run.info.run_id), str(run.info.experiment_id), str(run.info.artifact_uri))


def tracking_address(settings: TrackingSettings | None = None, folder: Path | None = None) -> str:
    """The tracking URI: `MLFLOW_TRACKING_URI`, else the setting, else `mlflow.db` in the home folder."""
    from_environment = os.environ.get("MLFLOW_TRACKING_URI")
    if from_environment in _default_addresses:
        from_environment = None  # set by an earlier call of `connect`, not by the user
    chosen = from_environment or (settings or load_settings(TrackingSettings)).uri
    return chosen or f"sqlite:///{(folder or home()) / 'mlflow.db'}"


def connect(settings: TrackingSettings | None = None, folder: Path | None = None) -> MlflowClient:
    """A client of MLflow at `tracking_address`, which becomes the address of MLflow's own functions too."""
    for name, value in MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = tracking_address(settings, folder)
    if uri != os.environ.get("MLFLOW_TRACKING_URI"):
        _default_addresses.add(uri)
    with registry_errors(f"cannot reach MLflow at {uri}"):
        if uri == f"sqlite:///{(folder or home()) / 'mlflow.db'}":
            (folder or home()).mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(uri)
        return MlflowClient()


@dataclass(frozen=True)
class RunSummary:
    """The metrics and tags of a run."""

    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class Tracker:
    """Opens, reads and closes runs; use one instance per thread."""

    def __init__(self, client: MlflowClient, artifacts: Path | None = None) -> None:
        self.client = client
        self._artifacts = artifacts or home() / "mlartifacts"
        self._experiments: dict[str, str] = {}

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is created at first use."""
        if name not in self._experiments:
            with registry_errors(f"cannot open the experiment {name}"):
                self._experiments[name] = self._find_experiment(name) or self._create_experiment(name)
        return self._experiments[name]

    def open(self, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None) -> OpenRun:
        """Open a run, nested below `parent` if given."""
        nesting = {PARENT_RUN_TAG: parent} if parent else {}
        with registry_errors(f"cannot start the run {name}"):
            run = self.client.create_run(self.experiment(experiment), run_name=name, tags={**tags, **nesting})
        return OpenRun.of(run)

    def tag(self, run_id: str, **tags: str) -> None:
        """Write tags on a run."""
        with registry_errors(f"cannot tag the run {run_id}"):
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def parent(self, run_id: str) -> str | None:
        """The run that this one is nested below, or None."""
        with registry_errors(f"cannot read the run {run_id}"):
            parent_id = self.client.get_run(run_id).data.tags.get(PARENT_RUN_TAG)
        return None if parent_id is None else str(parent_id)

    def finish(self, run_id: str, *, succeeded: bool = True) -> None:
        """Close a run as finished or failed."""
        status = RunStatus.FINISHED if succeeded else RunStatus.FAILED
        with registry_errors(f"cannot finish the run {run_id}"):
            self.client.set_terminated(run_id, RunStatus.to_string(status))

    def metrics(self, run_id: str) -> dict[str, float]:
        """The newest value of each metric of a run."""
        with registry_errors(f"cannot read the run {run_id}"):
            return dict(self.client.get_run(run_id).data.metrics)

    def summaries(self, experiment: str, run_ids: Sequence[str]) -> dict[str, RunSummary]:
        """The metrics and tags of runs of one experiment, by one query per 100 of them."""
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

    def summaries_of(self, versions: Iterable[Version]) -> dict[str, RunSummary]:
        """The metrics and tags of the runs of versions, by run."""
        runs: dict[Kind, set[str]] = {}
        for version in versions:
            if version.run_id:
                runs.setdefault(version.kind, set()).add(version.run_id)
        summaries: dict[str, RunSummary] = {}
        for kind, run_ids in runs.items():
            summaries |= self.summaries(kind.experiment, sorted(run_ids))
        return summaries

    def unfinished(self, experiment: str, tags: Mapping[str, str]) -> list[Run]:
        """Runs that are still marked as running and have all these tags, newest first."""
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
        """Delete a run that was interrupted before it registered a version, with the model it uploaded."""
        with registry_errors(f"cannot remove the run {run_id}"):
            experiment = self.client.get_run(run_id).info.experiment_id
            for model in self.client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
                self.client.delete_logged_model(model.model_id)
            self.client.delete_run(run_id)

    def _find_experiment(self, name: str) -> str | None:
        experiment = self.client.get_experiment_by_name(name)
        return None if experiment is None else str(experiment.experiment_id)

    def _create_experiment(self, name: str) -> str:
        # A server decides itself where artifacts go. With an embedded database MLflow would write them to the
        # working folder.
        embedded = mlflow.get_tracking_uri().startswith("sqlite")
        location = str(self._artifacts / name) if embedded else None
        try:
            return str(self.client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))
        except mlflow.exceptions.MlflowException:
            # Another training created it at the same moment; any other error is raised again.
            existing = self._find_experiment(name)
            if existing is None:
                raise
            return existing
