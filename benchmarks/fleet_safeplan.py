"""SafePlan's training of one sensor in this process, with CPU-seconds by phase.

Does what `safeplan train` does for one sensor: read, learn both models, log, register, promote.
"""

import tempfile
from pathlib import Path

from benchmarks.cpu import CpuClock, cpu_seconds
from benchmarks.fleet_baseline import GradedRun
from benchmarks.fleet_recall import recall_at_one_alarm_a_day
from training.anomaly.detector import AnomalyDetector
from training.anomaly.models.base_detectors import DetectorParameters
from training.kinds import Kind
from training.pipeline.fit import Candidate, TrainingTask, run_training_task, split_window
from training.pipeline.plan import Plan
from training.pipeline.recording import Recorder
from training.workspace import Workspace

# What ours calls a phase, and what the comparison does.
PHASE_NAMES = {"window": "features", "draw": "log"}


def train_safeplan(workspace: Workspace, sensor_id: str, plan: Plan, parents: dict[Kind, str]) -> GradedRun:
    """Both models of one sensor, by the same steps as in a fleet."""
    clock = CpuClock()
    metrics: dict[str, float] = {}
    recorder = Recorder(workspace.tracker, workspace.registry)
    with tempfile.TemporaryDirectory() as folder:
        for kind in Kind:
            candidate = _fit_candidate(workspace, sensor_id, kind, plan, Path(folder), clock)
            metrics |= candidate.result.metrics
            if kind is Kind.DETECTOR:
                metrics["recall_at_budget"] = _recall_at_budget(candidate, plan)
            with clock.phase("log"):
                recorder.record(candidate, parents[kind], plan.promotion, keep=plan.retention.keep_versions)
    names = ("recall_mean", "false_alarms_per_day", "recall_at_budget", "mae", "skill")
    return GradedRun({name: metrics[name] for name in names}, clock.seconds)


def _fit_candidate(
    workspace: Workspace, sensor_id: str, kind: Kind, plan: Plan, folder: Path, clock: CpuClock
) -> Candidate:
    with clock.phase("read"):
        sensor = workspace.fleet.sensor(sensor_id)
        readings = workspace.readings.latest(sensor_id, 2 * plan.window.rows(kind))
    started = cpu_seconds()
    candidate = run_training_task(TrainingTask(sensor, kind, readings, (), plan, folder))
    spent = cpu_seconds() - started
    if not isinstance(candidate, Candidate):
        raise AssertionError("a sensor without versions ends in a candidate")
    # Phases are timed by wall clock; their shares are used as shares of the CPU time.
    total = sum(candidate.seconds.values())
    for name, seconds in candidate.seconds.items():
        phase = PHASE_NAMES.get(name, name)
        clock.seconds[phase] = clock.seconds.get(phase, 0.0) + spent * seconds / total
    return candidate


def _recall_at_budget(candidate: Candidate, plan: Plan) -> float:
    """Of the challenger that was graded, learned once more for this."""
    older, newest = split_window(candidate.window, plan.tuning.judged_share)
    parameters = DetectorParameters.model_validate(candidate.result.parameters)
    challenger = AnomalyDetector(parameters, seed=plan.tuning.seed).fit(older)
    return recall_at_one_alarm_a_day(challenger, newest, older)
