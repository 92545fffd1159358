"""Train the rule-based fallback of a sensor whose detector the gate refused.

Whether it is needed is decided in `training.evaluation.gate`, the rules are in
`training.anomaly.rule_based_detector`. Nothing is searched, so it takes about a second.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from training.anomaly.rule_based_detector import OperatingLimits, RuleBasedDetector
from training.artifacts.model_files import DATA, MODEL_FOLDER, write_json
from training.evaluation.fault_injection import grade_detector
from training.evaluation.gate import decide_fallback
from training.evaluation.label_feedback import exclude_confirmed_anomalies, grade_label_feedback
from training.kinds import FALLBACK_RECIPE
from training.pipeline.fit import (
    PARAMETERS_FILE,
    Candidate,
    PhaseTimer,
    TrainingResult,
    TrainingTask,
    split_window,
)
from training.quality.windows import Window
from training.registry.run_charts import render_scores


def train_fallback(task: TrainingTask, refused: Candidate) -> Candidate | None:
    """The fallback to register beside a refused detector; None where the champion serves better."""
    clock = PhaseTimer()
    package = Path(tempfile.mkdtemp(dir=task.folder))
    files = package / DATA / MODEL_FOLDER
    files.mkdir(parents=True)
    result = _train(task, refused.window, files, clock)
    incumbent = refused.result.incumbent_metrics
    is_fallback = task.incumbent is not None and task.incumbent.is_fallback
    decision = decide_fallback(
        refused.gate_decision, result.metrics, None if is_fallback else incumbent, task.plan.gate
    )
    if decision is None:
        return None
    return replace(refused, package=package, result=result, gate_decision=decision, seconds=clock.seconds)


def new_fallback(task: TrainingTask) -> RuleBasedDetector:
    """A rule-based detector with the settings of the plan and the limits of the sensor, not fitted yet."""
    settings, sensor = task.plan.detector, task.sensor
    return RuleBasedDetector(
        threshold=settings.threshold,
        alarms_per_day=settings.alarms_per_day,
        limits=OperatingLimits(critical_low=sensor.critical_low, critical_high=sensor.critical_high),
    )


def _train(task: TrainingTask, window: Window, files: Path, clock: PhaseTimer) -> TrainingResult:
    older, newest = split_window(window, task.plan.tuning.judged_share)
    labels, settings = task.labels, task.plan.detector
    graded = exclude_confirmed_anomalies(newest, labels)
    with clock.phase("grade"):
        held_out = new_fallback(task).fit(exclude_confirmed_anomalies(older, labels))
        metrics = grade_detector(held_out, graded, history=older, seed=task.study.seed)
        metrics |= {
            "alarm_budget_per_day": settings.alarms_per_day,
            "judged_days": len(graded) * (window.step / pd.Timedelta(days=1)),
        }
    with clock.phase("fit"):
        detector = new_fallback(task).fit(exclude_confirmed_anomalies(window.values, labels))
        detector.save(files)
        write_json({}, files / PARAMETERS_FILE)  # nothing was searched, and no search starts from here
        metrics |= grade_label_feedback(detector, window.values, labels)
    with clock.phase("draw"):
        scores = held_out.score(newest, history=older)
        title = f"{task.sensor.title}: fallback scores of the newest {len(newest):,} readings, held out"
        picture = render_scores(newest, scores, held_out.threshold, title=title, unit=task.sensor.unit)
    return TrainingResult(
        parameters={"recipe": FALLBACK_RECIPE, "alarms_per_day": settings.alarms_per_day},
        metrics=metrics,
        incumbent_metrics=None,
        trials=pd.DataFrame(),
        pictures={"scores": picture},
        threshold=detector.threshold,
        recipe=FALLBACK_RECIPE,
    )
