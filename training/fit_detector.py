"""How a detector is learned from one window: tune, grade beside the champion and the naive one, fit, draw.

Knows which readings each step may see. Leaves search and faults to `detector_tuning` and `faults`.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from training.detector import AnomalyDetector
from training.detector_tuning import tune_detector
from training.faults import grade_detector
from training.fit import PARAMETERS, Assignment, Clock, Incumbent, Lesson, log, split
from training.model_files import write_json
from training.naive_detector import NaiveDetector
from training.pictures import score_picture
from training.voices import DetectorParameters
from training.windows import Window

DAY = timedelta(days=1)


def learn_detector(assignment: Assignment, window: Window, files: Path, clock: Clock) -> Lesson:
    """Tune on the older readings, grade on the newest, then fit to all of them and write the files."""
    plan, seed = assignment.plan, assignment.study.seed
    older, newest = split(window, plan.tuning.judged_share)
    with clock.phase("tune"):
        tuned = tune_detector(
            older,
            plan=assignment.study,
            alarms_per_day=plan.detector.alarms_per_day,
            contamination=plan.detector.contamination,
            labels=[(label.start, label.end, label.anomalous) for label in assignment.labels],
            first=_known_good(assignment.incumbent),
        )
    with clock.phase("grade"):
        challenger = AnomalyDetector(tuned.parameters, threshold=plan.detector.threshold, seed=seed).fit(
            older
        )
        metrics = grade_detector(challenger, newest, history=older, seed=seed)
        naive = NaiveDetector(
            alarm_rate=min(0.5, plan.detector.alarms_per_day * (window.step / DAY)),
            step_seconds=window.step.total_seconds(),
        ).fit(older)
        metrics |= {
            "naive_recall_mean": grade_detector(naive, newest, history=older, seed=seed)["recall_mean"],
            "alarm_budget_per_day": plan.detector.alarms_per_day,
            "judged_days": len(newest) * (window.step / DAY),
        }
        incumbent = _grade_incumbent(assignment.incumbent, older, newest, seed)
    with clock.phase("fit"):
        detector = AnomalyDetector(tuned.parameters, threshold=plan.detector.threshold, seed=seed)
        detector.fit(window.values).save(files)
        write_json(tuned.parameters.model_dump(mode="json"), files / PARAMETERS)
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
    )


def _known_good(incumbent: Incumbent | None) -> list[dict[str, Any]]:
    """The champion's parameters; none where another version of the program wrote them differently."""
    if incumbent is None or not incumbent.parameters:
        return []
    try:
        return [DetectorParameters.model_validate(incumbent.parameters).model_dump()]
    except ValidationError as error:
        log.warning("the search does not start from the champion: %s", error)
        return []


def _grade_incumbent(
    incumbent: Incumbent | None, older: pd.Series, newest: pd.Series, seed: int
) -> dict[str, float] | None:
    """The champion as it serves; one that has seen the newest readings is learned again without them."""
    champion = incumbent.loaded(AnomalyDetector.load) if incumbent else None
    if incumbent is None or champion is None:
        return None
    if incumbent.train_end >= newest.index[0]:
        parameters: DetectorParameters = champion.parameters
        champion = AnomalyDetector(parameters, threshold=champion.threshold, seed=seed).fit(older)
    return grade_detector(champion, newest, history=older, seed=seed)
