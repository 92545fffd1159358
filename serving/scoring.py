"""Answers to requests: any mix of sensors, readings to score, times to forecast and steps ahead.

Knows how rows become cases and outlooks, sensor by sensor, and how results go back into the order asked.
Everything a request uses of a sensor is taken once, so that no answer mixes two of its versions. Leaves
models to `champions`, pasts to `recent`, verdicts to `judging`, forecasts to `outlook`.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.champions import Champions, ServingDetector, ServingForecaster
from serving.contract import COLUMNS_OUT, Answer, Ask
from serving.judging import Case, Unjudged, Verdicts, judge
from serving.outlook import Outlook, Outlooks
from serving.recent import NOTHING, RecentReadings, Tail
from serving.rows import Rows, read_rows
from training.errors import NoChampion, SafePlanError
from training.judging import IngestSettings
from training.sensors import Sensor

log = logging.getLogger("safeplan.serving")

Floats = NDArray[np.float64]
Columns = dict[str, list[Any]]

STORE_AWAY = "readings store out of reach"


@dataclass(frozen=True)
class Group:
    """One sensor's rows in a request, with what serves them."""

    sensor_id: str
    scored: list[int]
    foreseen: list[int]
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
        groups = [
            self._group(sensor_id, at, rows, ask.horizon) for sensor_id, at in rows.of_sensors().items()
        ]
        recall = self.recent.recall([group.sensor_id for group in groups])
        note = "" if recall.reached else STORE_AWAY
        self._score(groups, rows, recall.tails, columns, note)
        answer = Answer(columns, rows.seconds.tolist(), {}, (note,) if note else ())
        for group in groups:
            if group.foreseen or ask.horizon:
                self._foresee(group, rows, recall.tails.get(group.sensor_id, NOTHING), answer, ask.horizon)
        return answer

    def _group(self, sensor_id: str, at: list[int], rows: Rows, horizon: int) -> Group:
        asked = np.isnan(rows.values[at]).tolist()
        scored = [row for row, future in zip(at, asked, strict=True) if not future]
        foreseen = [row for row, future in zip(at, asked, strict=True) if future]
        detector, forecaster, refusal = None, None, ""
        if scored:
            try:
                detector = self.champions.detector(sensor_id)
            except SafePlanError as error:
                refusal = str(error)
        if foreseen or horizon:
            try:
                forecaster = self.champions.forecaster(sensor_id)
            except NoChampion:
                pass  # the naive forecast speaks, under its own name
            except SafePlanError as error:
                log.warning("%s is forecast naively: %s", sensor_id, error)
        return Group(sensor_id, scored, foreseen, detector, forecaster, refusal)

    def _score(
        self, groups: list[Group], rows: Rows, tails: Mapping[str, Tail], columns: Columns, note: str
    ) -> None:
        asked: list[tuple[Group, Case, NDArray[np.int64]]] = []
        for group in groups:
            if group.detector is None:
                for row in group.scored:
                    columns["error"][row] = group.refusal
                continue
            try:
                case, places = self._case(group, rows, tails.get(group.sensor_id, NOTHING))
            except SafePlanError as error:
                for row in group.scored:
                    columns["error"][row] = str(error)
            else:
                asked.append((group, case, places))
        verdicts = judge([case for _, case, _ in asked])
        for (group, case, places), found in zip(asked, verdicts, strict=True):
            if isinstance(found, Unjudged):
                for row in group.scored:
                    columns["error"][row] = found.why
                continue
            known = "what was read before" if len(case.before.seconds) else "the rows posted"
            told = note and f"{note}, judged by {known}"
            _write_verdicts(columns, group, found, places, told)

    def _case(self, group: Group, rows: Rows, tail: Tail) -> tuple[Case, NDArray[np.int64]]:
        """The readings posted, with those stored between them, and where each posted one stands."""
        assert group.detector is not None
        posted = _posted(group, rows)
        first, last = float(posted.seconds[0]), float(posted.seconds[-1])
        context = group.detector.model.profile.context
        if not tail.whole and np.searchsorted(tail.seconds, first) < context:
            tail = self.recent.further_back(group.sensor_id, first, last) or tail
        start, end = np.searchsorted(tail.seconds, first), np.searchsorted(tail.seconds, last, side="right")
        between = Tail(tail.seconds[start:end], tail.values[start:end])
        asked = between.merged(posted.seconds, posted.values)
        case = Case(group.detector.model, asked, tail.before(first).newest(context))
        return case, np.searchsorted(asked.seconds, rows.seconds[group.scored])

    def _foresee(self, group: Group, rows: Rows, tail: Tail, answer: Answer, horizon: int) -> None:
        posted = _posted(group, rows)
        tail = tail.merged(posted.seconds, posted.values)
        sensor = self.sensors().get(group.sensor_id)
        try:
            outlook = self.outlooks.of(
                group.sensor_id,
                group.forecaster,
                tail,
                rows.seconds[group.foreseen],
                horizon=horizon,
                step=None if sensor is None else sensor.step,
            )
        except SafePlanError as error:
            for row in group.foreseen:
                answer.columns["error"][row] = str(error)
            if horizon:
                _append(answer, [math.nan], sensor_id=[group.sensor_id], error=[str(error)])
            return
        answer.origins[group.sensor_id] = outlook.ahead.origin
        note = answer.notes[0] + ", forecast from what was read before" if answer.notes else ""
        _write_outlook(answer.columns, group, outlook, note)
        if horizon:
            _append_ahead(answer, group.sensor_id, outlook, horizon, note)


def _posted(group: Group, rows: Rows) -> Tail:
    """A sensor's posted readings in order of time, each once."""
    seconds, where = np.unique(rows.seconds[group.scored], return_inverse=True)
    values = np.empty(len(seconds))
    values[where] = rows.values[group.scored]
    return Tail(seconds, values)


def blank(ask: Ask, rows: Rows) -> Columns:
    """An answer that says nothing yet but repeats what was asked."""
    columns: Columns = {name: [None] * len(ask) for name in COLUMNS_OUT}
    columns["sensor_id"] = [one if isinstance(one, str) else None for one in ask.sensor_ids]
    columns["timestamp"] = [one if isinstance(one, str) else None for one in ask.stamps]
    columns["value"] = [None if math.isnan(value) else value for value in rows.values.tolist()]
    columns["error"] = list(rows.errors)
    return columns


def _write_verdicts(
    columns: Columns, group: Group, found: Verdicts, places: NDArray[np.int64], note: str
) -> None:
    assert group.detector is not None
    version = str(group.detector.version.number)
    told = zip(
        group.scored,
        found.scores[places].tolist(),
        found.anomalous[places].tolist(),
        found.severities[places].tolist(),
        found.averages[places].tolist(),
        found.deviations[places].tolist(),
        [found.reasons[place] for place in places],
        strict=True,
    )
    for row, score, anomalous, severity, average, deviation, reason in told:
        columns["anomaly_score"][row] = score
        columns["is_anomaly"][row] = anomalous
        columns["severity"][row] = severity
        columns["threshold"][row] = found.threshold
        columns["historical_average"][row] = average
        columns["historical_std"][row] = deviation
        columns["reason"][row] = f"{reason}; {note}" if reason and note else reason or note
        columns["detector_version"][row] = version


def _write_outlook(columns: Columns, group: Group, outlook: Outlook, note: str) -> None:
    for row, (expected, lower, upper), why in zip(
        group.foreseen, outlook.at.tolist(), outlook.why, strict=True
    ):
        if math.isnan(expected):
            columns["error"][row] = why
            continue
        columns["expected"][row], columns["lower"][row], columns["upper"][row] = expected, lower, upper
        columns["forecaster_version"][row] = outlook.version
        columns["reason"][row] = note


def _append_ahead(answer: Answer, sensor_id: str, outlook: Outlook, horizon: int, note: str) -> None:
    seconds = outlook.ahead.seconds[:horizon].tolist()
    expected, lower, upper = outlook.ahead.steps[:horizon].T.tolist()
    _append(
        answer,
        seconds,
        sensor_id=[sensor_id] * horizon,
        timestamp=[stamp_of(second) for second in seconds],
        expected=expected,
        lower=lower,
        upper=upper,
        reason=[note] * horizon,
        forecaster_version=[outlook.version] * horizon,
    )


def _append(answer: Answer, seconds: list[float], **said: list[Any]) -> None:
    answer.seconds.extend(seconds)
    for name, column in answer.columns.items():
        column.extend(said.get(name, [None] * len(seconds)))


def stamp_of(second: float) -> str:
    """A moment as text in UTC.

    >>> stamp_of(1_767_225_600.5)
    '2026-01-01T00:00:00.500000Z'
    """
    moment = datetime.fromtimestamp(second, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}Z"
