"""How a detector is learned from one window: tune, grade beside the champion and the naive one, fit, draw.

Knows which readings each step may see. Leaves search and faults to `detector_tuning` and `faults`.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from training.anomaly.base_detectors import DetectorParameters
from training.anomaly.detector import AnomalyDetector
from training.anomaly.naive_detector import NaiveDetector
from training.artifacts.model_files import write_json
from training.evaluation.fault_injection import grade_detector
from training.evaluation.label_feedback import grade_verdicts, learn, usual
from training.pipeline.fit import PARAMETERS, Assignment, Clock, Lesson, Sibling, log, split
from training.pipeline.plan import Plan
from training.quality.windows import Window
from training.registry.run_charts import score_picture
from training.tuning.detector_search import tune_detector
from training.tuning.study import Tuned

DAY = timedelta(days=1)


def learn_detector(assignment: Assignment, window: Window, files: Path, clock: Clock) -> Lesson:
    """Tune on the older readings, grade on the newest, then fit to all of them and write the files."""
    plan, seed = assignment.plan, assignment.study.seed
    older, newest = split(window, plan.tuning.judged_share)
    labels, graded = assignment.labels, usual(newest, assignment.labels)
    lender = _usable(assignment.lender(window))
    threshold = lender.threshold if lender and lender.threshold else plan.detector.threshold
    with clock.phase("tune"):
        tuned = _borrowed(lender, plan) if lender else _tuned(assignment, older)
    with clock.phase("grade"):
        challenger = AnomalyDetector(tuned.parameters, threshold=threshold, seed=seed)
        learn(challenger, older, labels)
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
        incumbent = _grade_incumbent(assignment, window, older, newest)
    with clock.phase("fit"):
        detector = AnomalyDetector(tuned.parameters, threshold=threshold, seed=seed)
        learn(detector, window.values, labels).save(files)
        write_json(tuned.parameters.model_dump(mode="json"), files / PARAMETERS)
    # As it will serve: what was called false is part of what it has learned, what was confirmed is not.
    with clock.phase("grade"):
        metrics |= grade_verdicts(detector, window.values, labels)
    with clock.phase("draw"):
        scores = challenger.score(newest, history=older)
        title = f"{assignment.sensor.title}: scores of the newest {len(newest):,} readings, held out"
        picture = score_picture(
            newest, scores, challenger.threshold, title=title, unit=assignment.sensor.unit
        )
    return Lesson(
        parameters=tuned.parameters.model_dump(mode="json"),
        metrics=metrics,
        incumbent_metrics=incumbent,
        trials=tuned.trials,
        pictures={"scores": picture},
        threshold=detector.threshold,
        borrowed_from=lender.sensor_id if lender else None,
    )


def _tuned(assignment: Assignment, older: pd.Series) -> Tuned[DetectorParameters]:
    """The best of a search that starts from the champion's parameters, then from the siblings'."""
    incumbent = assignment.incumbent
    known = [incumbent.parameters] if incumbent and incumbent.parameters else []
    known += [sibling.parameters for sibling in assignment.siblings]
    read = (_read(parameters) for parameters in known)
    return tune_detector(
        older,
        plan=assignment.study,
        alarms_per_day=assignment.plan.detector.alarms_per_day,
        contamination=assignment.plan.detector.contamination,
        lifetime_days=assignment.plan.detector.lifetime_days,
        labels=[(label.start, label.end, label.anomalous) for label in assignment.labels],
        first=[parameters.model_dump() for parameters in read if parameters is not None],
    )


def _borrowed(lender: Sibling, plan: Plan) -> Tuned[DetectorParameters]:
    """A sibling's parameters under this plan's alarm budget; nothing was tried."""
    names = ("alarms_per_day", "contamination", "lifetime_days")
    ours = {name: getattr(plan.detector, name) for name in names}
    parameters = DetectorParameters.model_validate({**lender.parameters, **ours})
    return Tuned(parameters, float("nan"), pd.DataFrame())


def _usable(lender: Sibling | None) -> Sibling | None:
    return lender if lender is not None and _read(lender.parameters) is not None else None


def _read(parameters: Mapping[str, Any]) -> DetectorParameters | None:
    """None where another version of the program wrote them differently."""
    try:
        return DetectorParameters.model_validate(parameters)
    except ValidationError as error:
        log.warning("known parameters are not started from: %s", error)
        return None


def _grade_incumbent(
    assignment: Assignment, window: Window, older: pd.Series, newest: pd.Series
) -> dict[str, float] | None:
    """The champion as it serves; one that has seen the newest readings is learned again without them.

    Not so for the verdicts: people spoke of the alarms that this very version raises.
    """
    incumbent, seed = assignment.incumbent, assignment.study.seed
    champion = incumbent.loaded(AnomalyDetector.load) if incumbent else None
    if incumbent is None or champion is None:
        return None
    verdicts = grade_verdicts(champion, window.values, assignment.labels)
    if incumbent.judged:
        verdicts["alarms_confirmed"], verdicts["alarms_false"] = map(float, incumbent.judged)
    if incumbent.train_end >= newest.index[0]:
        parameters: DetectorParameters = champion.parameters
        champion = AnomalyDetector(parameters, threshold=champion.threshold, seed=seed)
        learn(champion, older, assignment.labels)
    graded = usual(newest, assignment.labels)
    return grade_detector(champion, graded, history=older, seed=seed) | verdicts
