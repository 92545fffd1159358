"""Answers to requests: any mix of sensors, readings to score, times to forecast and steps ahead.

Knows how rows become cases and outlooks, sensor by sensor, and how results go back into the order asked.
Everything a request uses of a sensor is taken once, so that no answer mixes two of its versions. Leaves
models to `champions`, pasts to `recent`, verdicts to `judging`, forecasts to `outlook`, columns to `answers`.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.contract import Answer, Ask
from serving.models.champions import Champions, ServingDetector, ServingForecaster
from serving.recent_readings import NOTHING, RecentReadings, Tail
from serving.scoring.forecasts import Outlooks
from serving.scoring.request_rows import Posted, Rows, posted, read_rows
from serving.scoring.response import (
    Columns,
    Judged,
    append_ahead,
    append_error,
    blank,
    write_errors,
    write_outlook,
    write_verdicts,
)
from serving.vectorized.batch_scoring import Case, Unjudged, judge
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.detector import AnomalyDetector
from training.data.sensors import Sensor
from training.errors import NoChampion, SafePlanError
from training.ingest.row_validation import IngestSettings

log = logging.getLogger("safeplan.serving")

Ints = NDArray[np.int64]

STORE_AWAY = "readings store out of reach"


class Group(NamedTuple):
    """One sensor's rows in a request, with what serves them."""

    sensor_id: str
    scored: list[int]
    foreseen: list[int]
    posted: Posted
    detector: ServingDetector | None
    forecaster: ServingForecaster | None
    refusal: str = ""  # why there is no detector


class Scorer:
    """Answers requests; one for each process, used by many threads."""

    def __init__(
        self,
        champions: Champions,
        recent: RecentReadings,
        *,
        sensors: Callable[[], Mapping[str, Sensor]] = dict,
        ingest: IngestSettings | None = None,
    ) -> None:
        self.champions = champions
        self.recent = recent
        self.sensors = sensors
        self.ingest = ingest or IngestSettings()
        self.outlooks = Outlooks()

    def answer(self, ask: Ask) -> Answer:
        """One row of answer for each row asked, in that order, then the steps ahead of each sensor named."""
        rows = read_rows(ask, self.ingest)
        columns = blank(ask, rows)
        groups = self._groups(rows, ask.horizon)
        recall = self.recent.recall([group.sensor_id for group in groups])
        note = "" if recall.reached else STORE_AWAY
        self._score(groups, recall.tails, columns, note)
        answer = Answer(columns, rows.seconds.tolist(), {}, (note,) if note else ())
        for group in groups:
            if group.foreseen or ask.horizon:
                self._foresee(group, rows, recall.tails.get(group.sensor_id, NOTHING), answer, ask.horizon)
        return answer

    def _groups(self, rows: Rows, horizon: int) -> list[Group]:
        future = np.isnan(rows.values).tolist()
        of_sensors = rows.of_sensors()
        scored = [[row for row in at if not future[row]] for at in of_sensors.values()]
        foreseen = [[row for row in at if future[row]] for at in of_sensors.values()]
        parts = zip(of_sensors, scored, foreseen, posted(rows, scored), strict=True)
        return [self._group(*part, ahead=horizon > 0) for part in parts]

    def _group(
        self, sensor_id: str, scored: list[int], foreseen: list[int], readings: Posted, *, ahead: bool
    ) -> Group:
        detector, forecaster, refusal = None, None, ""
        if scored:
            try:
                detector = self.champions.detector(sensor_id)
            except SafePlanError as error:
                refusal = str(error)
        if foreseen or ahead:
            try:
                forecaster = self.champions.forecaster(sensor_id)
            except NoChampion:
                pass  # the naive forecast speaks, under its own name
            except SafePlanError as error:
                log.warning("%s is forecast naively: %s", sensor_id, error)
        return Group(sensor_id, scored, foreseen, readings, detector, forecaster, refusal)

    def _score(self, groups: list[Group], tails: Mapping[str, Tail], columns: Columns, note: str) -> None:
        asked: list[tuple[Group, ServingDetector, Case, Ints]] = []
        for group in groups:
            if group.detector is None:
                write_errors(columns, group.scored, group.refusal)
                continue
            try:
                case, places = self._case(group, group.detector.model, tails.get(group.sensor_id, NOTHING))
            except SafePlanError as error:
                write_errors(columns, group.scored, str(error))
            else:
                asked.append((group, group.detector, case, places))
        judged = []
        verdicts = judge([case for _, _, case, _ in asked])
        for (group, detector, case, places), found in zip(asked, verdicts, strict=True):
            if isinstance(found, Unjudged):
                write_errors(columns, group.scored, found.why)
                continue
            known = "what was read before" if len(case.before.seconds) else "the rows posted"
            told = note and f"{note}, judged by {known}"
            judged.append(Judged(group.scored, places, found, str(detector.version.number), told))
        write_verdicts(columns, judged)

    def _case(self, group: Group, model: PackedDetector | AnomalyDetector, tail: Tail) -> tuple[Case, Ints]:
        """The readings posted, with those stored between them, and where each posted one stands."""
        posted = group.posted
        context = model.context if isinstance(model, PackedDetector) else model.profile.context
        first, last = float(posted.seconds[0]), float(posted.seconds[-1])
        reaches_back = tail.whole or len(tail.seconds) >= context
        if reaches_back and not (len(tail.seconds) and tail.seconds[-1] >= first):
            return Case(model, Tail(posted.seconds, posted.values), tail.newest(context)), posted.places
        if not tail.whole and np.searchsorted(tail.seconds, first) < context:
            tail = self.recent.further_back(group.sensor_id, first, last) or tail
        start, end = np.searchsorted(tail.seconds, first), np.searchsorted(tail.seconds, last, side="right")
        between = Tail(tail.seconds[start:end], tail.values[start:end])
        asked = between.merged(posted.seconds, posted.values)
        case = Case(model, asked, tail.before(first).newest(context))
        return case, np.searchsorted(asked.seconds, posted.seconds)[posted.places]

    def _foresee(self, group: Group, rows: Rows, tail: Tail, answer: Answer, horizon: int) -> None:
        tail = tail.merged(group.posted.seconds, group.posted.values)
        try:
            outlook = self.outlooks.of(
                group.sensor_id,
                group.forecaster,
                tail,
                rows.seconds[group.foreseen],
                horizon=horizon,
                sensor=self.sensors().get(group.sensor_id),
            )
        except SafePlanError as error:
            self._unforeseen(group, answer, horizon, str(error))
            return
        # Whatever one sensor's model or past set off, the others must be answered; the log has the trace.
        except Exception as error:
            log.exception("%s could not be forecast", group.sensor_id)
            why = f"it could not be forecast ({type(error).__name__}); the server's log says more."
            self._unforeseen(group, answer, horizon, why)
            return
        answer.origins[group.sensor_id] = outlook.ahead.origin
        note = answer.notes[0] + ", forecast from what was read before" if answer.notes else ""
        write_outlook(answer.columns, group.foreseen, outlook, note)
        if horizon:
            append_ahead(answer, group.sensor_id, outlook, horizon, note)

    @staticmethod
    def _unforeseen(group: Group, answer: Answer, horizon: int, why: str) -> None:
        write_errors(answer.columns, group.foreseen, why)
        if horizon:
            append_error(answer, group.sensor_id, why)
