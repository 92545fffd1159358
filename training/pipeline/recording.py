"""Record a candidate: write its run, register its version, set its alias; an interruption can be completed.

The order is: run, files, version with all tags, aliases, `validation_status`, end of the run. A version whose
`validation_status` is pending was interrupted before its alias was set; `complete` finishes it. Requests to
MLflow are made by `training.registry.publishing` and `training.registry.model_registry`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cache
from importlib.metadata import version as installed
from math import isfinite
from typing import Any

import pandas as pd

from training.artifacts.model_files import digest_folder
from training.common.times import iso
from training.errors import RegistryError
from training.evaluation.gate import GateDecision
from training.kinds import Kind, Promotion
from training.outcomes import Outcome, OutcomeStatus
from training.pipeline.fit import Candidate
from training.reasons import dump_reasons
from training.registry.model_registry import (
    CHALLENGER,
    CHAMPION,
    Registry,
    ValidationStatus,
    Version,
    gate_detail,
    slug,
)
from training.registry.packaging import MLmodelTemplate
from training.registry.publishing import DatasetInfo, Publisher, RunContent
from training.registry.registry_snapshot import ModelSnapshot
from training.registry.signatures import SIGNATURES, example_rows
from training.registry.tracking import OpenRun, Tracker

# Requirements of a version that is served alone, pinned to the versions it was made with.
REQUIRED_PACKAGES = {
    Kind.DETECTOR: ("mlflow", "numpy", "pandas", "pydantic", "scikit-learn", "skops"),
    Kind.FORECASTER: ("mlflow", "numpy", "pandas", "prophet", "pydantic", "scipy"),
}


class Recorder:
    """Records candidates; use one instance per thread."""

    def __init__(self, tracker: Tracker, registry: Registry) -> None:
        self.tracker = tracker
        self.publisher = Publisher(tracker.client)
        self.registry = registry

    def record(self, candidate: Candidate, parent: str, promotion: Promotion, *, keep: int) -> Outcome:
        """Log the run, register the version and set its alias; delete versions beyond the newest `keep`.

        The fallback of a refused detector is recorded before it: an interruption between the two leaves the
        sensor monitored.
        """
        if candidate.fallback is None:
            return self._record(candidate, parent, promotion, keep=keep)[1]
        fallback, outcome = self._record(candidate.fallback, parent, promotion, keep=keep)
        refused, _ = self._record(candidate, parent, promotion, keep=keep)
        if outcome.alias == CHALLENGER:
            self.registry.set_challenger(fallback)  # of the two, the one that may be promoted waits
        return replace(outcome, detail={**outcome.detail, "refused_version": refused.number})

    def _record(
        self, candidate: Candidate, parent: str, promotion: Promotion, *, keep: int
    ) -> tuple[Version, Outcome]:
        run = self.tracker.open(candidate.kind.experiment, candidate.sensor.id, run_tags(candidate), parent)
        try:
            version = self._register(candidate, run)
        except Exception:
            # The run has failed. If MLflow does not answer, the next retraining removes the run.
            with suppress(RegistryError):
                self.tracker.finish(run.run_id, succeeded=False)
            raise
        outcome = self.complete(version, promotion, metrics=run_metrics(candidate))
        if version.number > keep:
            self.registry.delete_old_versions(candidate.sensor.id, candidate.kind, keep=keep)
        return version, outcome

    def _register(self, candidate: Candidate, run: OpenRun) -> Version:
        window, result = candidate.window, candidate.result
        model = self.publisher.upload_model(
            run,
            candidate.package,
            f"{slug(candidate.sensor.id)}-{candidate.kind}",
            template=mlmodel_template(candidate.kind),
            example=example_rows(candidate.kind, window.end + window.step, window.values.iloc[-1]),
            params=result.parameters,
        )
        content = RunContent(
            params=result.parameters,
            metrics=run_metrics(candidate),
            pictures=result.pictures,
            tables={"trials": result.trials},
        )
        self.publisher.log_content(run, content, model)
        self.publisher.log_dataset(run, dataset_info(candidate))
        return self.registry.register(
            candidate.sensor.id,
            candidate.kind,
            source=model.source,
            run_id=run.run_id,
            model_id=model.model_id,
            tags=version_tags(candidate),
        )

    def complete(
        self, version: Version, promotion: Promotion, *, metrics: Mapping[str, float] | None = None
    ) -> Outcome:
        """Give a pending version the alias that the gate decided, and close its run.

        `metrics` are those of its run; they are read if not given.
        """
        passed = version.gate_passed
        if passed and promotion is Promotion.MANAGED:
            self.registry.promote(version)
            status = OutcomeStatus.FALLBACK if version.is_fallback else OutcomeStatus.PROMOTED
            alias = CHAMPION
        else:
            self.registry.set_challenger(version)
            status, alias = (OutcomeStatus.WAITING if passed else OutcomeStatus.REFUSED), CHALLENGER
        self.registry.tag(
            version, validation_status=ValidationStatus.PASSED if passed else ValidationStatus.REFUSED
        )
        self.tracker.finish(version.run_id)
        if metrics is None:
            metrics = self.tracker.metrics(version.run_id)
        return version.outcome(status, alias, metrics=metrics, detail=_outcome_detail(version))


def unchanged_outcome(version: Version, snapshot: ModelSnapshot) -> Outcome:
    """The outcome for a newest version whose training input has not changed."""
    alias = next(iter(snapshot.aliases_of(version)), None)
    return version.outcome(
        OutcomeStatus.UNCHANGED, alias, metrics=snapshot.metrics, detail=_outcome_detail(version)
    )


def _outcome_detail(version: Version) -> dict[str, str]:
    donor = {name: version.tags[name] for name in ("borrowed_from",) if name in version.tags}
    return gate_detail(version) | donor


@cache
def mlmodel_template(kind: Kind) -> MLmodelTemplate:
    """The files around every model of a kind; MLflow writes them once per process."""
    return MLmodelTemplate.create(
        requirements=[f"{package}=={installed(package)}" for package in REQUIRED_PACKAGES[kind]],
        signature=SIGNATURES[kind],
        example=example_rows(kind, datetime(2026, 1, 1), 0.0),  # noqa: DTZ001 (an example)
    )


def run_metrics(candidate: Candidate) -> dict[str, float]:
    """The finite metrics of a run, with the same names on every run of a kind."""
    seconds = {f"seconds_{phase}": value for phase, value in candidate.seconds.items()}
    numbers = {**candidate.result.metrics, **seconds}
    return {name: float(value) for name, value in numbers.items() if value is not None and isfinite(value)}


def run_tags(candidate: Candidate) -> dict[str, str]:
    """The tags of a run, for searching, filtering and grouping in the MLflow UI."""
    return {
        "sensor_id": candidate.sensor.id,
        "kind": candidate.kind.value,
        "fingerprint": candidate.fingerprint,
        "gate": str(candidate.gate_decision),
        **donor_tags(candidate),
        **recipe_tags(candidate),
        **sensor_tags(candidate),
        **window_tags(candidate),
    }


def dataset_info(candidate: Candidate) -> DatasetInfo:
    """The training readings, as the input dataset of the run."""
    window = candidate.window
    described = {
        "sensor_id": candidate.sensor.id,
        "start": iso(window.start),
        "end": iso(window.end),
        "readings": len(window.values),
    }
    return DatasetInfo(candidate.sensor.id, window.digest, described)


def version_tags(candidate: Candidate) -> dict[str, str]:
    """The tags of a version: everything that must be known before its files are opened."""
    threshold = candidate.result.threshold
    return {
        **({} if threshold is None else {"threshold": f"{threshold:g}"}),
        "sensor_id": candidate.sensor.id,
        "kind": candidate.kind.value,
        "validation_status": ValidationStatus.PENDING,
        "fingerprint": candidate.fingerprint,
        "model_sha256": digest_folder(candidate.files),
        **gate_tags(candidate.gate_decision),
        **donor_tags(candidate),
        **recipe_tags(candidate),
        **verdict_tags(candidate),
        **window_tags(candidate),
    }


def gate_tags(decision: GateDecision) -> dict[str, str]:
    """The gate's decision: as English text, status and JSON."""
    return {
        "gate": str(decision),
        "gate_status": decision.status.value,
        "gate_reasons": dump_reasons([decision.reason]) or "",
    }


def donor_tags(candidate: Candidate) -> dict[str, str]:
    """The peer whose parameters the model has, if its sensor has too few readings for a search."""
    donor = candidate.result.borrowed_from
    return {} if donor is None else {"borrowed_from": donor}


def recipe_tags(candidate: Candidate) -> dict[str, str]:
    """How the model was made, where not as usual."""
    recipe = candidate.result.recipe
    return {} if recipe is None else {"recipe": recipe}


def verdict_tags(candidate: Candidate) -> dict[str, str]:
    """How the version scores readings that have a verdict; empty if there are no verdicts."""
    metrics = candidate.result.metrics
    if "verdicts_confirmed" not in metrics:
        return {}
    summary = (
        f"catches {metrics['verdicts_confirmed_caught']:.0f} of {metrics['verdicts_confirmed']:.0f} "
        f"confirmed, raises {metrics['verdicts_false_raised']:.0f} of {metrics['verdicts_false']:.0f} "
        "judged false"
    )
    return {"verdicts": summary}


def window_tags(candidate: Candidate) -> dict[str, str]:
    """The training readings: their range, digest and number."""
    return {
        "train_start": iso(candidate.window.start),
        "train_end": iso(candidate.window.end),
        "data_digest": candidate.window.digest,
        "readings": str(len(candidate.window.values)),
    }


def sensor_tags(candidate: Candidate) -> dict[str, str]:
    """The sensor's grade and known fields."""
    sensor = candidate.sensor
    described = {"platform": sensor.platform, "type": sensor.type, "unit": sensor.unit}
    return {"grade": candidate.grade, **{key: value for key, value in described.items() if value}}


def sensor_table(outcomes: list[Outcome]) -> pd.DataFrame:
    """The table of the parent run: one row per sensor, with the same columns for every sensor."""
    rows: list[Mapping[str, Any]] = [
        {**{k: v for k, v in outcome.as_dict().items() if k != "metrics"}, **outcome.metrics}
        for outcome in outcomes
    ]
    return pd.DataFrame(rows)
