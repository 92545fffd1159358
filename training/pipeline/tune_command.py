"""A study on its own: the search for one sensor's best parameters, as a run that registers nothing.

Knows which run a study is written to. The search itself is `fit`'s, whose model is thrown away.
"""

import tempfile
from pathlib import Path

from training.data.sensors import Sensor
from training.errors import NotTrainable
from training.kinds import Kind
from training.outcomes import Outcome
from training.pipeline.fit import Assignment, Candidate, fit
from training.pipeline.plan import Plan
from training.pipeline.recording import sensor_tags, window_tags
from training.quality.maintenance_filter import without, works_on
from training.registry.publishing import Page, Publisher
from training.workspace import Workspace


def tune_sensor(workspace: Workspace, sensor: Sensor, kind: Kind, plan: Plan) -> Outcome:
    """Search, and log the trials and the best parameters as a run tagged `tuning`.

    Raises:
        NotTrainable: too few good readings, with the reason.
    """
    last = workspace.readings.last_times().get(sensor.id)
    if last is None:
        raise NotTrainable(f"{sensor.id} has no readings. Load some: safeplan load FILE")
    with tempfile.TemporaryDirectory(prefix="safeplan-tune-") as folder:
        candidate = fit(
            Assignment(
                sensor=sensor,
                kind=kind,
                readings=without(
                    workspace.readings.latest(
                        sensor.id, 2 * plan.window.rows(kind), start=last - plan.window.history(kind)
                    ),
                    works_on(workspace.engine, sensor),
                ),
                labels=workspace.labels.of(sensor.id),
                plan=plan,
                folder=Path(folder),
            )
        )
    if not isinstance(candidate, Candidate):
        raise AssertionError("without a known fingerprint every fit ends in a candidate")
    lesson = candidate.lesson
    tags = {"sensor_id": sensor.id, "kind": kind.value, "tuning": "only"}
    run = workspace.tracker.open(
        kind.experiment, f"tune {sensor.id}", {**tags, **sensor_tags(candidate), **window_tags(candidate)}
    )
    page = Page(
        params=lesson.parameters,
        metrics={**lesson.metrics, "trials": float(len(lesson.trials))},
        pictures=lesson.pictures,
        tables={"trials": lesson.trials},
    )
    Publisher(workspace.mlflow).show(run, page)
    workspace.tracker.finish(run.run_id)
    return Outcome(
        sensor_id=sensor.id,
        kind=kind,
        status="tuned",
        metrics=dict(lesson.metrics),
        detail={"parameters": dict(lesson.parameters), "run_id": run.run_id},
    )
