"""Answers to requests: any mix of sensors, readings to score, times to forecast and steps ahead.

Knows how rows become cases and outlooks, sensor by sensor, and how results go back into the order asked.
Everything a request uses of a sensor is taken once, so that no answer mixes two of its versions. Leaves
models to `champions`, pasts to `recent`, verdicts to `judging`, forecasts to `outlook`, columns to `answers`.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from serving.contract import PredictionRequest, PredictionResponse
from serving.models.champions import Champions, ServingDetector, ServingForecaster
from serving.recent_readings import EMPTY_TAIL, RecentReadings, Tail
from serving.scoring.forecasts import ForecastCache
from serving.scoring.request_rows import PostedReadings, RequestRows, group_posted, parse_rows
from serving.scoring.response import (
    Columns,
    SensorScores,
    append_error,
    append_steps_ahead,
    new_columns,
    write_errors,
    write_forecasts,
    write_scores,
)
from serving.vectorized.batch_scoring import ScoringCase, ScoringFailure, score_cases
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.detector import AnomalyDetector
from training.common.arrays import Ints
from training.data.sensors import Sensor
from training.errors import NoChampion, SafePlanError
from training.ingest.row_validation import IngestSettings

log = logging.getLogger("safeplan.serving")


STORE_UNREACHABLE_NOTE = "readings store out of reach"


class SensorRequest(NamedTuple):
    """One sensor's rows in a request, with what serves them."""

    sensor_id: str
    scored_rows: list[int]
    forecast_rows: list[int]
    posted: PostedReadings
    detector: ServingDetector | None
    forecaster: ServingForecaster | None
    detector_error: str = ""  # why there is no detector


class RequestScorer:
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
        self.forecasts = ForecastCache()

    def answer(self, request: PredictionRequest) -> PredictionResponse:
        """One row of answer for each row asked, in that order, then the steps ahead of each sensor named."""
        rows = parse_rows(request, self.ingest)
        columns = new_columns(request, rows)
        groups = self._group_rows(rows, request.horizon)
        recall = self.recent.get_tails([group.sensor_id for group in groups])
        note = "" if recall.reached else STORE_UNREACHABLE_NOTE
        self._score(groups, recall.tails, columns, note)
        response = PredictionResponse(columns, rows.seconds.tolist(), {}, (note,) if note else ())
        for group in groups:
            if group.forecast_rows or request.horizon:
                self._forecast(
                    group, rows, recall.tails.get(group.sensor_id, EMPTY_TAIL), response, request.horizon
                )
        return response

    def _group_rows(self, rows: RequestRows, horizon: int) -> list[SensorRequest]:
        is_forecast = np.isnan(rows.values).tolist()
        of_sensors = rows.rows_by_sensor()
        scored = [[row for row in at if not is_forecast[row]] for at in of_sensors.values()]
        forecast_rows = [[row for row in at if is_forecast[row]] for at in of_sensors.values()]
        parts = zip(of_sensors, scored, forecast_rows, group_posted(rows, scored), strict=True)
        return [self._group_sensor(*part, ahead=horizon > 0) for part in parts]

    def _group_sensor(
        self,
        sensor_id: str,
        scored: list[int],
        forecast_rows: list[int],
        readings: PostedReadings,
        *,
        ahead: bool,
    ) -> SensorRequest:
        detector, forecaster, refusal = None, None, ""
        if scored:
            try:
                detector = self.champions.detector(sensor_id)
            except SafePlanError as error:
                refusal = str(error)
        if forecast_rows or ahead:
            try:
                forecaster = self.champions.forecaster(sensor_id)
            except NoChampion:
                pass  # the naive forecast speaks, under its own name
            except SafePlanError as error:
                log.warning("%s is forecast naively: %s", sensor_id, error)
        return SensorRequest(sensor_id, scored, forecast_rows, readings, detector, forecaster, refusal)

    def _score(
        self, groups: list[SensorRequest], tails: Mapping[str, Tail], columns: Columns, note: str
    ) -> None:
        prepared: list[tuple[SensorRequest, ServingDetector, ScoringCase, Ints]] = []
        for group in groups:
            if group.detector is None:
                write_errors(columns, group.scored_rows, group.detector_error)
                continue
            try:
                case, places = self._build_case(
                    group, group.detector.model, tails.get(group.sensor_id, EMPTY_TAIL)
                )
            except SafePlanError as error:
                write_errors(columns, group.scored_rows, str(error))
            else:
                prepared.append((group, group.detector, case, places))
        scored_sensors = []
        verdicts = score_cases([case for _, _, case, _ in prepared])
        for (group, detector, case, places), result in zip(prepared, verdicts, strict=True):
            if isinstance(result, ScoringFailure):
                write_errors(columns, group.scored_rows, result.reason)
                continue
            basis = "what was read before" if len(case.before.seconds) else "the rows posted"
            sensor_note = note and f"{note}, judged by {basis}"
            scored_sensors.append(
                SensorScores(group.scored_rows, places, result, str(detector.version.number), sensor_note)
            )
        write_scores(columns, scored_sensors)

    def _build_case(
        self, group: SensorRequest, model: PackedDetector | AnomalyDetector, tail: Tail
    ) -> tuple[ScoringCase, Ints]:
        """The readings posted, with those stored between them, and where each posted one stands."""
        posted = group.posted
        context = model.context if isinstance(model, PackedDetector) else model.profile.context
        first, last = float(posted.seconds[0]), float(posted.seconds[-1])
        reaches_back = tail.whole or len(tail.seconds) >= context
        if reaches_back and not (len(tail.seconds) and tail.seconds[-1] >= first):
            return ScoringCase(
                model, Tail(posted.seconds, posted.values), tail.newest(context)
            ), posted.places
        if not tail.whole and np.searchsorted(tail.seconds, first) < context:
            tail = self.recent.read_older(group.sensor_id, first, last) or tail
        start, end = np.searchsorted(tail.seconds, first), np.searchsorted(tail.seconds, last, side="right")
        between = Tail(tail.seconds[start:end], tail.values[start:end])
        scored = between.merged(posted.seconds, posted.values)
        case = ScoringCase(model, scored, tail.before(first).newest(context))
        return case, np.searchsorted(scored.seconds, posted.seconds)[posted.places]

    def _forecast(
        self, group: SensorRequest, rows: RequestRows, tail: Tail, response: PredictionResponse, horizon: int
    ) -> None:
        tail = tail.merged(group.posted.seconds, group.posted.values)
        try:
            forecast = self.forecasts.of(
                group.sensor_id,
                group.forecaster,
                tail,
                rows.seconds[group.forecast_rows],
                horizon=horizon,
                sensor=self.sensors().get(group.sensor_id),
            )
        except SafePlanError as error:
            self._write_forecast_error(group, response, horizon, str(error))
            return
        # Whatever one sensor's model or past set off, the others must be answered; the log has the trace.
        except Exception as error:
            log.exception("%s could not be forecast", group.sensor_id)
            why = f"it could not be forecast ({type(error).__name__}); the server's log says more."
            self._write_forecast_error(group, response, horizon, why)
            return
        response.origins[group.sensor_id] = forecast.path.origin
        note = response.notes[0] + ", forecast from what was read before" if response.notes else ""
        write_forecasts(response.columns, group.forecast_rows, forecast, note)
        if horizon:
            append_steps_ahead(response, group.sensor_id, forecast, horizon, note)

    @staticmethod
    def _write_forecast_error(
        group: SensorRequest, response: PredictionResponse, horizon: int, why: str
    ) -> None:
        write_errors(response.columns, group.forecast_rows, why)
        if horizon:
            append_error(response, group.sensor_id, why)
