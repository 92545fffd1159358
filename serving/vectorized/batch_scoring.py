"""Score readings of many sensors at once, for batch scoring and the endpoint.

Where readings come from is in `serving.recent_readings` and `serving.batch`; features are computed in
`training.anomaly.features`, scores in `ensemble_scoring`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from serving.recent_readings import EMPTY_TAIL, Tail
from serving.vectorized.bad_samples import mark_bad_samples, split_bad_samples
from serving.vectorized.ensemble_scoring import compute_scores
from serving.vectorized.packed_detector import PackedDetector, sensor_parameters, table_rows
from serving.vectorized.runtime import ScoringRuntime
from training.anomaly.explanations import MIN_EXPLAINED_SCORE, explain
from training.anomaly.features import Design, ReadingBatch, SensorParameters, compute_feature_batch
from training.anomaly.profile_detector import AnomalyScores, ProfileDetector
from training.common.arrays import Floats, Ints
from training.data.physical_range import PhysicalRange
from training.reasons import Reason, ReasonCode

log = logging.getLogger("safeplan.serving")


class ScoringCase(NamedTuple):
    """Readings of one sensor to score, in order of time, and those before them."""

    model: PackedDetector | ProfileDetector
    asked: Tail
    before: Tail = EMPTY_TAIL
    range: PhysicalRange = PhysicalRange()


@dataclass(frozen=True)
class ScoringFailure:
    """Why a case has no scores."""

    reason: Reason


def score_cases(cases: Sequence[ScoringCase]) -> list[AnomalyScores | ScoringFailure]:
    """The scores of each case; one that fails does not affect the others."""
    try:
        return list(_score_cases(cases))
    # Any error of one sensor's model or readings: the other sensors must be scored. The log has the trace.
    except Exception as error:
        if len(cases) == 1:
            log.exception("readings could not be scored")
            reason = Reason(ReasonCode.SERVING_SCORING_FAILED, {"error": type(error).__name__})
            return [ScoringFailure(reason)]
    return [one for case in cases for one in score_cases([case])]


def _score_cases(cases: Sequence[ScoringCase]) -> list[AnomalyScores]:
    """The scores of each case; bad samples are no history of the readings after them."""
    if not cases:
        return []
    parts: list[ScoringCase] = []
    owners: list[tuple[int, Ints | None]] = []  # of each part, its case and the places in it; None: all
    marks = mark_bad_samples([(case.asked, case.before) for case in cases], [case.range for case in cases])
    for number, (case, is_bad) in enumerate(zip(cases, marks, strict=True)):
        if not is_bad.any():
            parts.append(case)
            owners.append((number, None))
            continue
        for part in split_bad_samples(case.asked, case.before, is_bad):
            parts.append(ScoringCase(case.model, part.asked, part.before))
            owners.append((number, part.places))
    results: dict[int, list[tuple[Ints, AnomalyScores]]] = {}
    whole: dict[int, AnomalyScores] = {}
    for (number, places), scores in zip(owners, _score_parts(parts), strict=True):
        if places is None:
            whole[number] = scores
        else:
            results.setdefault(number, []).append((places, scores))
    return [whole[number] if number in whole else _join(results[number]) for number in range(len(cases))]


def _join(parts: Sequence[tuple[Ints, AnomalyScores]]) -> AnomalyScores:
    """The scores of one case from those of its parts, in the order of its readings."""
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    scores = [part for _, part in parts]
    reasons = [reason for part in scores for reason in part.reasons]
    return AnomalyScores(
        scores=np.concatenate([part.scores for part in scores])[order],
        averages=np.concatenate([part.averages for part in scores])[order],
        deviations=np.concatenate([part.deviations for part in scores])[order],
        reasons=[reasons[place] for place in order.tolist()],
        threshold=scores[0].threshold,
    )


def _score_parts(cases: Sequence[ScoringCase]) -> list[AnomalyScores]:
    results: dict[int, AnomalyScores] = {}
    groups: dict[tuple[ScoringRuntime, int], list[int]] = {}
    for position, case in enumerate(cases):
        model = case.model
        if isinstance(model, PackedDetector):
            groups.setdefault((model.runtime, model.window), []).append(position)
        else:
            results[position] = score_unpacked(model, case.asked, case.before)
    for positions in groups.values():
        pairs = [(cases[place].asked, cases[place].before) for place in positions]
        models = [model for place in positions if isinstance(model := cases[place].model, PackedDetector)]
        results.update(zip(positions, score_batch(models, pairs), strict=True))
    return [results[place] for place in range(len(cases))]


def score_unpacked(model: ProfileDetector, scored: Tail, history: Tail) -> AnomalyScores:
    """The scores of one sensor by a detector that is not packed: fixed rules, or a rare ensemble."""
    return model.explain(scored.series, history=history.series)


def score_packed(model: PackedDetector, scored: Tail, history: Tail) -> Floats:
    """The scores of one sensor by its packed detector."""
    return score_batch([model], [(scored, history)])[0].scores


def score_batch(models: Sequence[PackedDetector], cases: Sequence[tuple[Tail, Tail]]) -> list[AnomalyScores]:
    """Scores of many sensors of one runtime whose windows have one length; cases are (scored, history)."""
    histories = [past.newest(model.context) for model, (_, past) in zip(models, cases, strict=True)]
    history_sizes = np.array([len(past.seconds) for past in histories])
    scored_sizes = np.array([len(new.seconds) for new, _ in cases])
    lengths = history_sizes + scored_sizes
    starts = np.cumsum(lengths) - lengths
    sensor = np.repeat(np.arange(len(models)), lengths)
    row_sensor = np.repeat(np.arange(len(models)), scored_sizes)
    position = np.arange(lengths.sum())
    batch = ReadingBatch(
        np.concatenate(
            [part.seconds for (new, _), past in zip(cases, histories, strict=True) for part in (past, new)]
        ),
        np.concatenate(
            [part.values for (new, _), past in zip(cases, histories, strict=True) for part in (past, new)]
        ),
        sensor,
        position[position >= (starts + history_sizes)[sensor]],
    )
    parameters = sensor_parameters(models[0].runtime.parameters, table_rows(models), models[0].window)
    design = compute_feature_batch(parameters, batch)
    scores = compute_scores(models, row_sensor, design)
    averages, deviations = _trailing_statistics(parameters, batch, starts[row_sensor], row_sensor)
    reasons = _explain(models, batch, starts, history_sizes, row_sensor, design, scores)
    ends = np.cumsum(scored_sizes)
    verdicts = []
    for model, first, last in zip(models, ends - scored_sizes, ends, strict=True):
        part = slice(int(first), int(last))
        verdicts.append(
            AnomalyScores(scores[part], averages[part], deviations[part], reasons[part], model.threshold)
        )
    return verdicts


def _trailing_statistics(
    parameters: SensorParameters, batch: ReadingBatch, first: Ints, of_row: Ints
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of up to two windows of readings before each row.

    Those of the training where there are fewer than half a window. `first` is where each row's sensor begins.
    """
    window = parameters.window
    positions = batch.rows[:, None] + np.arange(-2 * window, 0)
    available = positions >= first[:, None]
    values = np.where(available, batch.values[np.maximum(positions, 0)], 0.0)
    counts = available.sum(axis=1)
    means = values.sum(axis=1) / np.maximum(counts, 1)
    squares = np.where(available, values - means[:, None], 0.0) ** 2
    deviations = np.sqrt(squares.sum(axis=1) / np.maximum(counts - 1, 1))
    enough = counts >= window // 2
    centre, spread = parameters.centre[of_row], parameters.spread[of_row]
    return np.where(enough, means, centre), np.where(enough, deviations, spread)


def _explain(
    models: Sequence[PackedDetector],
    batch: ReadingBatch,
    starts: Ints,
    earlier: Ints,
    of_row: Ints,
    design: Design,
    scores: Floats,
) -> list[Reason | None]:
    """A reason for each reading whose score is not normal."""
    reasons: list[Reason | None] = [None] * len(scores)
    firsts = np.searchsorted(of_row, np.arange(len(models) + 1))
    for owner in np.unique(of_row[scores >= MIN_EXPLAINED_SCORE]).tolist():
        rows = slice(int(firsts[owner]), int(firsts[owner + 1]))
        start = int(starts[owner])
        whole = slice(start, start + int(earlier[owner]) + rows.stop - rows.start)
        reasons[rows] = explain(
            models[owner].profile,
            design.select(rows),
            batch.seconds[whole],
            batch.values[whole],
            scores[rows],
        )
    return reasons
