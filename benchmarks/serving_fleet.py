"""A fleet of many sensors for the serving benchmark, built in a minute: few models learned, registered often.

Knows how versions share one upload, and how a broken one is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from training.data.sensor_store import add_missing_sensors
from training.data.sensors import Sensor
from training.evaluation.gate import GateSettings
from training.kinds import Kind
from training.pipeline.fit import Candidate, TrainingTask, run_training_task
from training.pipeline.plan import Plan
from training.pipeline.recording import mlmodel_template, version_tags
from training.registry.model_registry import Registry, Version
from training.registry.publishing import LoggedModel, Publisher
from training.registry.signatures import example_rows
from training.workspace import Workspace

TRAINING_READINGS = 6_000  # readings of each model learned, one a minute
STORED_READINGS = 400  # of each sensor in the fleet
EXTRA_READINGS = 200  # readings after those learned from, to be asked about
START = datetime(2026, 1, 1)  # noqa: DTZ001 (UTC, as in the store)
MODEL_SHAPES = 2  # models of each kind that are really learned


@dataclass(frozen=True)
class Upload:
    """One learned model, uploaded once."""

    candidate: Candidate
    run_id: str
    logged: LoggedModel


def daily_readings(seed: int, rows: int) -> pd.DataFrame:
    """A reading a minute with a daily course: the last of those learned, or the further ones."""
    times = pd.date_range(START, periods=TRAINING_READINGS + EXTRA_READINGS, freq="min")
    rng = np.random.default_rng(seed)
    minutes = np.arange(len(times)) % 1440
    values = 20 + 3 * np.sin(2 * np.pi * minutes / 1440) + rng.normal(0, 0.3, len(times))
    whole = pd.DataFrame({"timestamp": times, "value": values.round(3)})
    return (
        whole.iloc[TRAINING_READINGS:]
        if rows <= 0
        else whole.iloc[TRAINING_READINGS - rows : TRAINING_READINGS]
    )


def fit_models(workspace: Workspace, folder: Path) -> dict[Kind, list[Upload]]:
    """Learn a few models and upload them."""
    plan = Plan.from_conf(trials=2)
    gate = GateSettings(min_skill=-9, min_coverage=0, max_alarm_excess=99, min_recall=0, max_recall_loss=1)
    uploads: dict[Kind, list[Upload]] = {}
    for kind in Kind:
        for seed in range(MODEL_SHAPES):
            readings = daily_readings(seed, TRAINING_READINGS).assign(data_quality=0)
            task = TrainingTask(
                Sensor(id=f"shape-{seed}"),
                kind,
                readings,
                (),
                plan.__class__(**vars(plan) | {"gate": gate}),
                folder,
            )
            candidate = run_training_task(task)
            assert isinstance(candidate, Candidate)
            uploads.setdefault(kind, []).append(upload(workspace, candidate))
    return uploads


def upload(workspace: Workspace, candidate: Candidate) -> Upload:
    """Upload a model's files below a run."""
    tracker, kind = workspace.tracker, candidate.kind
    run = tracker.open(kind.experiment, candidate.sensor.id, {})
    logged = Publisher(tracker.client).upload_model(
        run,
        candidate.package,
        candidate.sensor.id,
        template=mlmodel_template(kind),
        example=example_rows(kind, candidate.window.end, 20.0),
        params={},
    )
    tracker.finish(run.run_id)
    return Upload(candidate, run.run_id, logged)


def register(
    registry: Registry,
    sensor_id: str,
    source_upload: Upload,
    *,
    source: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Version:
    """Another version of a sensor's model, from files that are there already."""
    base_tags = version_tags(source_upload.candidate) | {
        "sensor_id": sensor_id,
        "validation_status": "passed",
    }
    return registry.register(
        sensor_id,
        source_upload.candidate.kind,
        source=source or source_upload.logged.source,
        run_id=source_upload.run_id,
        model_id=source_upload.logged.model_id,
        tags=base_tags | dict(tags or {}),
    )


def build_fleet(
    workspace: Workspace, sensors: int, folder: Path
) -> tuple[list[str], dict[Kind, list[Upload]]]:
    """Register two champions for each sensor, and store its readings; the ids and what was uploaded.

    The files of what was learned stay in `folder`: broken versions are made from them.
    """
    folder.mkdir()
    uploads = fit_models(workspace, folder)
    names = [f"PT-{number:04}" for number in range(sensors)]
    for number, name in enumerate(names):
        for kind in Kind:
            workspace.registry.promote(
                register(workspace.registry, name, uploads[kind][number % MODEL_SHAPES])
            )
    stored = pd.concat(
        [
            daily_readings(number % MODEL_SHAPES, STORED_READINGS).assign(sensor_id=name)
            for number, name in enumerate(names)
        ]
    )
    workspace.readings.ingest(stored)
    add_missing_sensors(workspace.engine, names)
    return names, uploads
