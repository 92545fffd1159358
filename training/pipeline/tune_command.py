"""Search the best parameters of one model and log them as a run; nothing is registered.

The search is that of `training.pipeline.fit`, whose model is discarded.
"""

import tempfile
from pathlib import Path

from training.data.sensors import Sensor
from training.errors import NotTrainable
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus
from training.pipeline.fit import Candidate, TrainingTask, run_training_task
from training.pipeline.fleet import training_readings
from training.pipeline.plan import Plan
from training.pipeline.recording import sensor_tags, window_tags
from training.registry.publishing import Publisher, RunContent
from training.workspace import Workspace


def tune_sensor(workspace: Workspace, sensor: Sensor, kind: Kind, plan: Plan) -> Outcome:
    """Search, and log the trials and the best parameters as a run with the tag `tuning`.

    Raises:
        NotTrainable: the sensor has too few good readings; the message gives the reason.
    """
    last = workspace.readings.last_times().get(sensor.id)
    if last is None:
        raise NotTrainable(f"{sensor.id} has no readings. Load them: safeplan load FILE")
    with tempfile.TemporaryDirectory(prefix="safeplan-tune-") as folder:
        candidate = run_training_task(
            TrainingTask(
                sensor=sensor,
                kind=kind,
                readings=training_readings(workspace, sensor, kind, plan, end=last),
                labels=workspace.labels.of(sensor.id),
                plan=plan,
                folder=Path(folder),
            )
        )
    if not isinstance(candidate, Candidate):
        raise AssertionError("a task without a known fingerprint always ends in a candidate")
    result = candidate.result
    tags = {"sensor_id": sensor.id, "kind": kind.value, "tuning": "only"}
    run = workspace.tracker.open(
        kind.experiment, f"tune {sensor.id}", {**tags, **sensor_tags(candidate), **window_tags(candidate)}
    )
    content = RunContent(
        params=result.parameters,
        metrics={**result.metrics, "trials": float(len(result.trials))},
        pictures=result.pictures,
        tables={"trials": result.trials},
    )
    Publisher(workspace.mlflow).log_content(run, content)
    workspace.tracker.finish(run.run_id)
    return Outcome(
        sensor_id=sensor.id,
        kind=kind,
        status=OutcomeStatus.TUNED,
        metrics=dict(result.metrics),
        detail={"parameters": dict(result.parameters), "run_id": run.run_id},
    )
