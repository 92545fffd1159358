"""Many sensors' readings judged at once: what batch scoring and the endpoint both go through.

Knows how to put readings to detectors, each in the light of those before it, all sensors together. Leaves
where readings come from to `recent` and the command's store, features to `many_features`, scores to `choir`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.recent_readings import NOTHING, Tail
from serving.vectorized.ensemble_scoring import scores_of
from serving.vectorized.features import Flat, Usual, describe_many, trailing
from serving.vectorized.packed_detector import PackedDetector, rows_of
from training.anomaly.detector import AnomalyDetector
from training.anomaly.explanations import STARTS, reasons, severity_of
from training.anomaly.features import Design
from training.anomaly.sequence import Sequence as Readings

log = logging.getLogger("safeplan.serving")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Case(NamedTuple):
    """Readings of one sensor to be judged, in order of time, and those before them."""

    model: PackedDetector | AnomalyDetector
    asked: Tail
    before: Tail = NOTHING


class Verdicts(NamedTuple):
    """One entry a reading asked about."""

    scores: Floats
    averages: Floats
    deviations: Floats
    reasons: Sequence[str]
    threshold: float

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Which scores reach the threshold."""
        return self.scores >= self.threshold

    @property
    def severities(self) -> NDArray[np.object_]:
        """The band of each score."""
        return severity_of(self.scores)


@dataclass(frozen=True)
class Unjudged:
    """Why a case has no verdicts."""

    why: str


def judge(cases: Sequence[Case]) -> list[Verdicts | Unjudged]:
    """The verdicts of each case; one that cannot be judged costs the others nothing."""
    try:
        return list(_judge(cases))
    # Whatever one sensor's readings or model set off, the others must be answered; the log has the trace.
    except Exception as error:
        if len(cases) == 1:
            log.exception("readings could not be judged")
            return [Unjudged(f"it could not be scored ({type(error).__name__}); the server's log says more.")]
    return [one for case in cases for one in judge([case])]


def _judge(cases: Sequence[Case]) -> list[Verdicts]:
    found: dict[int, Verdicts] = {}
    together: dict[int, list[int]] = {}
    for place, case in enumerate(cases):
        model = case.model
        if isinstance(model, PackedDetector):
            together.setdefault(model.window, []).append(place)
        else:
            found[place] = judge_alone(model, case.asked, case.before)
    for window, places in together.items():
        some = [(cases[place].asked, cases[place].before) for place in places]
        models = [model for place in places if isinstance(model := cases[place].model, PackedDetector)]
        found.update(zip(places, judge_together(models, some, window), strict=True))
    return [found[place] for place in range(len(cases))]


def judge_alone(model: AnomalyDetector, asked: Tail, before: Tail) -> Verdicts:
    """One sensor's readings by the detector itself."""
    found = model.detect(asked.series, history=before.series)
    return Verdicts(
        scores=found["anomaly_score"].to_numpy(np.float64),
        averages=found["historical_average"].to_numpy(np.float64),
        deviations=found["historical_std"].to_numpy(np.float64),
        reasons=found["reason"].tolist(),
        threshold=model.threshold,
    )


def judge_packed(model: PackedDetector, asked: Tail, before: Tail) -> Floats:
    """One sensor's scores by its packed detector."""
    return judge_together([model], [(asked, before)], model.window)[0].scores


def judge_together(
    models: Sequence[PackedDetector], cases: Sequence[tuple[Tail, Tail]], window: int
) -> list[Verdicts]:
    """Readings of many sensors whose windows have one length."""
    before = [past.newest(model.context) for model, (_, past) in zip(models, cases, strict=True)]
    earlier = np.array([len(past.seconds) for past in before])
    asked = np.array([len(new.seconds) for new, _ in cases])
    lengths = earlier + asked
    starts = np.cumsum(lengths) - lengths
    sensor = np.repeat(np.arange(len(models)), lengths)
    of_row = np.repeat(np.arange(len(models)), asked)
    place = np.arange(lengths.sum())
    flat = Flat(
        np.concatenate(
            [part.seconds for (new, _), past in zip(cases, before, strict=True) for part in (past, new)]
        ),
        np.concatenate(
            [part.values for (new, _), past in zip(cases, before, strict=True) for part in (past, new)]
        ),
        sensor,
        place[place >= (starts + earlier)[sensor]],
    )
    usual = Usual.on_shelf(rows_of(models), window)
    design = describe_many(usual, flat)
    scores = scores_of(models, of_row, design)
    averages, deviations = _trailing(usual, flat, starts[of_row], of_row)
    words = _words(models, flat, starts, earlier, of_row, design, scores)
    ends = np.cumsum(asked)
    verdicts = []
    for model, first, last in zip(models, ends - asked, ends, strict=True):
        part = slice(int(first), int(last))
        verdicts.append(
            Verdicts(scores[part], averages[part], deviations[part], words[part], model.threshold)
        )
    return verdicts


def _trailing(usual: Usual, flat: Flat, first: Ints, of_row: Ints) -> tuple[Floats, Floats]:
    """Mean and deviation of what came before; of what was learned from, where too little did."""
    counts, means, deviations = trailing(flat, first, usual.window)
    enough = counts >= usual.window // 2
    centre, spread = usual.centre[of_row], usual.spread[of_row]
    return np.where(enough, means, centre), np.where(enough, deviations, spread)


def _words(
    models: Sequence[PackedDetector],
    flat: Flat,
    starts: Ints,
    earlier: Ints,
    of_row: Ints,
    design: Design,
    scores: Floats,
) -> list[str]:
    """A sentence for each reading worth a look."""
    words = [""] * len(scores)
    remarkable = np.flatnonzero(scores >= STARTS[0])
    firsts = np.searchsorted(of_row, np.arange(len(models) + 1))
    for owner in np.unique(of_row[remarkable]).tolist():
        rows = slice(int(firsts[owner]), int(firsts[owner + 1]))
        end = int(starts[owner] + earlier[owner]) + rows.stop - rows.start
        whole = slice(int(starts[owner]), end)
        readings = Readings(
            flat.seconds[whole],
            flat.values[whole],
            int(earlier[owner]),
            np.arange(rows.stop - rows.start),
            rows.stop - rows.start,
            clocked=True,
        )
        words[rows] = reasons(models[owner].profile, design.rows(rows), readings, scores[rows])
    return words
