"""Train a detector on one window: tune, grade beside the champion and the naive detector, fit, draw.

Decides which readings each step sees. The search is in `training.tuning.detector_search`, injected faults are
in `training.evaluation.fault_injection`.
"""

from datetime import timedelta
from pathlib import Path

import pandas as pd

from training.anomaly.detector import AnomalyDetector
from training.anomaly.detector_files import open_detector
from training.anomaly.models.base_detectors import DetectorParameters
from training.anomaly.naive_detector import NaiveDetector
from training.artifacts.model_files import write_json
from training.evaluation.fault_injection import grade_detector
from training.evaluation.label_feedback import (
    exclude_confirmed_anomalies,
    fit_with_feedback,
    grade_label_feedback,
)
from training.pipeline.fit import (
    PARAMETERS_FILE,
    PeerModel,
    PhaseTimer,
    TrainingResult,
    TrainingTask,
    split_window,
)
from training.pipeline.fit_fallback import new_fallback
from training.pipeline.plan import Plan
from training.quality.windows import Window
from training.registry.run_charts import render_scores
from training.tuning.detector_search import tune_detector
from training.tuning.study import TuningResult

DAY = timedelta(days=1)


def train_detector(task: TrainingTask, window: Window, files: Path, clock: PhaseTimer) -> TrainingResult:
    """Tune on the older readings, grade on the newest, then fit to all of them and write the files."""
    plan, seed = task.plan, task.study.seed
    older, newest = split_window(window, plan.tuning.judged_share)
    labels, graded = task.labels, exclude_confirmed_anomalies(newest, task.labels)
    donor = task.donor(window, DetectorParameters.model_validate)
    threshold = donor.threshold if donor and donor.threshold else plan.detector.threshold
    with clock.phase("tune"):
        tuned = _borrow_parameters(donor, plan) if donor else _tune(task, older)
    with clock.phase("grade"):
        challenger = AnomalyDetector(tuned.parameters, threshold=threshold, seed=seed)
        fit_with_feedback(challenger, older, labels)
        metrics = grade_detector(challenger, graded, history=older, seed=seed)
        naive = NaiveDetector(
            alarm_rate=min(0.5, plan.detector.alarms_per_day * (window.step / DAY)),
            step_seconds=window.step.total_seconds(),
        ).fit(older)
        metrics |= {
            "naive_recall_mean": grade_detector(naive, graded, history=older, seed=seed)["recall_mean"],
            "alarm_budget_per_day": plan.detector.alarms_per_day,
            "judged_days": len(graded) * (window.step / DAY),
            "learned_days": (window.values.index[-1] - window.values.index[0]) / DAY,
            "lifetime_days": plan.detector.lifetime_days,
        }
        incumbent = _grade_incumbent(task, window, older, newest)
    with clock.phase("fit"):
        detector = AnomalyDetector(tuned.parameters, threshold=threshold, seed=seed)
        fit_with_feedback(detector, window.values, labels).save(files)
        write_json(tuned.parameters.model_dump(mode="json"), files / PARAMETERS_FILE)
    # The fitted detector is graded as it will serve: dismissed alarms are training data, confirmed ones are
    # not.
    with clock.phase("grade"):
        metrics |= grade_label_feedback(detector, window.values, labels)
    with clock.phase("draw"):
        scores = challenger.score(newest, history=older)
        title = f"{task.sensor.title}: scores of the newest {len(newest):,} readings, held out"
        picture = render_scores(newest, scores, challenger.threshold, title=title, unit=task.sensor.unit)
    return TrainingResult(
        parameters=tuned.parameters.model_dump(mode="json"),
        metrics=metrics,
        incumbent_metrics=incumbent,
        trials=tuned.trials,
        pictures={"scores": picture},
        threshold=detector.threshold,
        borrowed_from=donor.sensor_id if donor else None,
    )


def _tune(task: TrainingTask, older: pd.Series) -> TuningResult[DetectorParameters]:
    """The best of a search that starts from the champion's parameters, then from the peers'."""
    starts = task.starting_points(DetectorParameters.model_validate)
    return tune_detector(
        older,
        plan=task.study,
        alarms_per_day=task.plan.detector.alarms_per_day,
        contamination=task.plan.detector.contamination,
        lifetime_days=task.plan.detector.lifetime_days,
        labels=[(label.start, label.end, label.anomalous) for label in task.labels],
        first=[parameters.model_dump() for parameters in starts],
    )


def _borrow_parameters(donor: PeerModel, plan: Plan) -> TuningResult[DetectorParameters]:
    """A peer's parameters with this plan's alarm budget, without a search."""
    names = ("alarms_per_day", "contamination", "lifetime_days")
    plan_values = {name: getattr(plan.detector, name) for name in names}
    parameters = DetectorParameters.model_validate({**donor.parameters, **plan_values})
    return TuningResult(parameters, float("nan"), pd.DataFrame())


def _grade_incumbent(
    task: TrainingTask, window: Window, older: pd.Series, newest: pd.Series
) -> dict[str, float] | None:
    """The champion's metrics; if it was trained on the newest readings, it is trained again without them.

    Verdicts are about the alarms of the version as it serves, so they are graded before that.
    """
    incumbent, seed = task.incumbent, task.study.seed
    champion = incumbent.load_model(open_detector) if incumbent else None
    if incumbent is None or champion is None:
        return None
    verdicts = grade_label_feedback(champion, window.values, task.labels)
    if incumbent.verdict_counts:
        verdicts["alarms_confirmed"], verdicts["alarms_false"] = map(float, incumbent.verdict_counts)
    if incumbent.train_end >= newest.index[0]:
        if isinstance(champion, AnomalyDetector):
            champion = AnomalyDetector(champion.parameters, threshold=champion.threshold, seed=seed)
            fit_with_feedback(champion, older, task.labels)
        else:
            champion = new_fallback(task).fit(exclude_confirmed_anomalies(older, task.labels))
    graded = exclude_confirmed_anomalies(newest, task.labels)
    return grade_detector(champion, graded, history=older, seed=seed) | verdicts
