"""A candidate becomes a run, a version and an alias, in an order that may be cut off anywhere.

Knows what is written when: the run, the files, the version with all its tags, the aliases, the verdict's
tag, the end of the run. A version whose `validation_status` is still pending was cut off before its alias;
`complete` finishes it. Leaves learning to `fit` and the writing itself to `publishing` and `registry`.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib.metadata import version as installed
from math import isfinite
from typing import Any

import pandas as pd

from training.artifacts.model_files import digest_folder
from training.common.times import iso
from training.errors import RegistryError
from training.kinds import Kind, Promotion
from training.outcomes import Outcome
from training.pipeline.fit import Candidate
from training.registry.model_registry import CHALLENGER, CHAMPION, Registry, ValidationStatus, Version, slug
from training.registry.packaging import MLmodelTemplate
from training.registry.publishing import DatasetInfo, Publisher, RunContent
from training.registry.registry_snapshot import ModelSnapshot
from training.registry.signatures import SIGNATURES, example_rows
from training.registry.tracking import OpenRun, Tracker

# What a model needs where it is served alone; pinned to what it was made with.
REQUIRED_PACKAGES = {
    Kind.DETECTOR: ("mlflow", "numpy", "pandas", "pydantic", "scikit-learn", "skops"),
    Kind.FORECASTER: ("mlflow", "numpy", "pandas", "prophet", "pydantic", "scipy"),
}


class Recorder:
    """Writes what workers learned; one recorder writes from one thread."""

    def __init__(self, tracker: Tracker, registry: Registry) -> None:
        self.tracker = tracker
        self.publisher = Publisher(tracker.client)
        self.registry = registry

    def record(self, candidate: Candidate, parent: str, promotion: Promotion, *, keep: int) -> Outcome:
        """Log the run, register the version, let it serve or wait."""
        run = self.tracker.open(candidate.kind.experiment, candidate.sensor.id, run_tags(candidate), parent)
        try:
            version = self._register(candidate, run)
        except Exception:
            # Nothing comes of this run any more; where MLflow itself is away, the next retraining removes it.
            with suppress(RegistryError):
                self.tracker.finish(run.run_id, succeeded=False)
            raise
        outcome = self.complete(version, promotion, metrics=run_metrics(candidate))
        if version.number > keep:
            self.registry.delete_old_versions(candidate.sensor.id, candidate.kind, keep=keep)
        return outcome

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
        """Give a pending version the alias its verdict earned, and close its run.

        `metrics` are those of its run, where they are at hand.
        """
        passed = version.gate_passed
        if passed and promotion is Promotion.MANAGED:
            self.registry.promote(version)
            status, alias = "promoted", CHAMPION
        else:
            self.registry.set_challenger(version)
            status, alias = ("waiting" if passed else "refused"), CHALLENGER
        self.registry.tag(
            version, validation_status=ValidationStatus.PASSED if passed else ValidationStatus.REFUSED
        )
        self.tracker.finish(version.run_id)
        return Outcome(
            sensor_id=version.sensor_id,
            kind=version.kind,
            status=status,
            model=version.name,
            version=version.number,
            alias=alias,
            metrics=self.tracker.metrics(version.run_id) if metrics is None else metrics,
            detail=_outcome_detail(version),
        )


def unchanged_outcome(version: Version, snapshot: ModelSnapshot) -> Outcome:
    """What stands already, because nothing it was learned from has changed."""
    aliases = snapshot.aliases_of(version)
    return Outcome(
        sensor_id=version.sensor_id,
        kind=version.kind,
        status="unchanged",
        model=version.name,
        version=version.number,
        alias=aliases[0] if aliases else None,
        metrics=snapshot.metrics,
        detail=_outcome_detail(version),
    )


def _outcome_detail(version: Version) -> dict[str, str]:
    shown = ("gate", "borrowed_from")
    return {"gate": "", **{name: version.tags[name] for name in shown if name in version.tags}}


@cache
def mlmodel_template(kind: Kind) -> MLmodelTemplate:
    """What is written around every model of a kind; made once a process."""
    return MLmodelTemplate.create(
        requirements=[f"{package}=={installed(package)}" for package in REQUIRED_PACKAGES[kind]],
        signature=SIGNATURES[kind],
        example=example_rows(kind, datetime(2026, 1, 1), 0.0),  # noqa: DTZ001 -- an example
    )


def run_metrics(candidate: Candidate) -> dict[str, float]:
    """The same names on every run of a kind; what is not finite is no metric."""
    seconds = {f"seconds_{phase}": value for phase, value in candidate.seconds.items()}
    numbers = {**candidate.result.metrics, **seconds}
    return {name: float(value) for name, value in numbers.items() if value is not None and isfinite(value)}


def run_tags(candidate: Candidate) -> dict[str, str]:
    """What to find, filter and group runs by in the MLflow UI."""
    return {
        "sensor_id": candidate.sensor.id,
        "kind": candidate.kind.value,
        "fingerprint": candidate.fingerprint,
        "gate": str(candidate.gate_decision),
        **donor_tags(candidate),
        **sensor_tags(candidate),
        **window_tags(candidate),
    }


def dataset_info(candidate: Candidate) -> DatasetInfo:
    """Which readings were learned from, as the input of the run."""
    window = candidate.window
    described = {
        "sensor_id": candidate.sensor.id,
        "start": iso(window.start),
        "end": iso(window.end),
        "readings": len(window.values),
    }
    return DatasetInfo(candidate.sensor.id, window.digest, described)


def version_tags(candidate: Candidate) -> dict[str, str]:
    """Everything that must be known of a version before its files are opened."""
    threshold = candidate.result.threshold
    return {
        **({} if threshold is None else {"threshold": f"{threshold:g}"}),
        "sensor_id": candidate.sensor.id,
        "kind": candidate.kind.value,
        "validation_status": ValidationStatus.PENDING,
        "fingerprint": candidate.fingerprint,
        "model_sha256": digest_folder(candidate.files),
        "gate": str(candidate.gate_decision),
        **donor_tags(candidate),
        **verdict_tags(candidate),
        **window_tags(candidate),
    }


def donor_tags(candidate: Candidate) -> dict[str, str]:
    """Whose parameters a model was learned with, where its sensor had too few readings to search by."""
    donor = candidate.result.borrowed_from
    return {} if donor is None else {"borrowed_from": donor}


def verdict_tags(candidate: Candidate) -> dict[str, str]:
    """How a version stands to what people said of alarms, where anybody said anything."""
    metrics = candidate.result.metrics
    if "verdicts_confirmed" not in metrics:
        return {}
    summary = (
        f"catches {metrics['verdicts_confirmed_caught']:.0f} of {metrics['verdicts_confirmed']:.0f} confirmed, "
        f"raises {metrics['verdicts_false_raised']:.0f} of {metrics['verdicts_false']:.0f} judged false"
    )
    return {"verdicts": summary}


def window_tags(candidate: Candidate) -> dict[str, str]:
    """Which readings were learned from."""
    return {
        "train_start": iso(candidate.window.start),
        "train_end": iso(candidate.window.end),
        "data_digest": candidate.window.digest,
        "readings": str(len(candidate.window.values)),
    }


def sensor_tags(candidate: Candidate) -> dict[str, str]:
    """What to filter and group runs by in the MLflow UI."""
    sensor = candidate.sensor
    described = {"platform": sensor.platform, "type": sensor.type, "unit": sensor.unit}
    return {"grade": candidate.grade, **{key: value for key, value in described.items() if value}}


def sensor_table(outcomes: list[Outcome]) -> pd.DataFrame:
    """One row a sensor for the parent run's artifact, the same columns for every sensor."""
    rows: list[Mapping[str, Any]] = [
        {**{k: v for k, v in outcome.as_dict().items() if k != "metrics"}, **outcome.metrics}
        for outcome in outcomes
    ]
    return pd.DataFrame(rows)
