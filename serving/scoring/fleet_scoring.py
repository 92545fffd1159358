"""Answer requests: any mix of sensors, readings to score, times to forecast and steps ahead.

Groups the rows by sensor, scores and forecasts each sensor, and returns the results in the order of the
request. Each sensor's models and readings are taken once per request, so that no answer mixes two versions.
Rows are parsed by `request_rows`, scored by `serving.vectorized.batch_scoring`, forecast by `forecasts`, and
written into columns by `response`.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from serving.contract import PredictionRequest, PredictionResponse
from serving.models.champions import Champions, ServingDetector, ServingForecaster
from serving.recent_readings import EMPTY_TAIL, RecentReadings, Tail
from serving.scoring.forecasts import ForecastCache
from serving.scoring.limits import judge_limits
from serving.scoring.request_rows import PostedReadings, RequestRows, group_posted, parse_rows
from serving.scoring.response import (
    SensorScores,
    append_error,
    append_steps_ahead,
    new_response,
    write_errors,
    write_forecasts,
    write_limits,
    write_scores,
)
from serving.vectorized.bad_samples import raw_history
from serving.vectorized.batch_scoring import ScoringCase, ScoringFailure, score_cases
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.profile_detector import ProfileDetector
from training.common.arrays import Ints
from training.data.physical_range import PhysicalRange
from training.data.sensors import Sensor
from training.errors import NoChampion, SafePlanError
from training.ingest.row_validation import IngestSettings
from training.reasons import Reason, ReasonCode, render

log = logging.getLogger("safeplan.serving")

STORE_UNREACHABLE = Reason(ReasonCode.SERVING_STORE_UNREACHABLE)
SCORED_FROM_MEMORY = Reason(ReasonCode.SERVING_SCORED_FROM_MEMORY)
SCORED_FROM_REQUEST = Reason(ReasonCode.SERVING_SCORED_FROM_REQUEST)
FORECAST_FROM_MEMORY = Reason(ReasonCode.SERVING_FORECAST_FROM_MEMORY)


class SensorRequest(NamedTuple):
    """One sensor's rows in a request, with the models that serve them."""

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
        """One answer row per request row, in that order, then the steps ahead of each sensor."""
        rows = parse_rows(request, self.ingest)
        groups = self._group_rows(rows, request.horizon)
        lookup = self.recent.get_tails([group.sensor_id for group in groups])
        response = new_response(request, rows, () if lookup.reached else (STORE_UNREACHABLE,))
        self._score(groups, lookup.tails, response)
        self._write_limits(groups, lookup.tails, response)
        for group in groups:
            if group.forecast_rows or request.horizon:
                tail = lookup.tails.get(group.sensor_id, EMPTY_TAIL)
                self._forecast(group, rows, tail, response, request.horizon)
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
        detector, forecaster, detector_error = None, None, ""
        if scored:
            try:
                detector = self.champions.detector(sensor_id)
            except SafePlanError as error:
                detector_error = str(error)
        if forecast_rows or ahead:
            try:
                forecaster = self.champions.forecaster(sensor_id)
            except NoChampion:
                pass  # the naive forecast answers, under its own name
            except SafePlanError as error:
                log.warning("%s gets the naive forecast: %s", sensor_id, error)
        return SensorRequest(sensor_id, scored, forecast_rows, readings, detector, forecaster, detector_error)

    def _score(
        self, groups: list[SensorRequest], tails: Mapping[str, Tail], response: PredictionResponse
    ) -> None:
        prepared: list[tuple[SensorRequest, ServingDetector, ScoringCase, Ints]] = []
        for group in groups:
            if group.detector is None:
                write_errors(response, group.scored_rows, group.detector_error)
                continue
            try:
                case, places = self._build_case(
                    group, group.detector.model, tails.get(group.sensor_id, EMPTY_TAIL)
                )
            except SafePlanError as error:
                write_errors(response, group.scored_rows, str(error))
            else:
                prepared.append((group, group.detector, case, places))
        scored_sensors = []
        results = score_cases([case for _, _, case, _ in prepared])
        for (group, detector, case, places), result in zip(prepared, results, strict=True):
            if isinstance(result, ScoringFailure):
                write_errors(response, group.scored_rows, render(result.reason))
                continue
            note = None
            if response.notes:
                note = SCORED_FROM_MEMORY if len(case.before.seconds) else SCORED_FROM_REQUEST
            scored_sensors.append(
                SensorScores(group.scored_rows, places, result, str(detector.version.number), note)
            )
        write_scores(response, scored_sensors)

    def _write_limits(
        self, groups: list[SensorRequest], tails: Mapping[str, Tail], response: PredictionResponse
    ) -> None:
        """Judge the posted readings against the limits of their sensors, whether a detector serves or not."""
        sensors = self.sensors()
        for group in groups:
            sensor = sensors.get(group.sensor_id)
            if sensor is not None and group.scored_rows:
                tail = tails.get(group.sensor_id, EMPTY_TAIL)
                judgements = judge_limits(sensor, group.posted.seconds, group.posted.values, tail)
                write_limits(response, group.scored_rows, group.posted.places, judgements)

    def _build_case(
        self, group: SensorRequest, model: PackedDetector | ProfileDetector, tail: Tail
    ) -> tuple[ScoringCase, Ints]:
        """The posted readings with the stored ones between them, and the position of each posted one."""
        posted = group.posted
        context = raw_history(model.context if isinstance(model, PackedDetector) else model.profile.context)
        sensor = self.sensors().get(group.sensor_id)
        limits = PhysicalRange() if sensor is None else sensor.physical_range
        first, last = float(posted.seconds[0]), float(posted.seconds[-1])
        reaches_back = tail.whole or len(tail.seconds) >= context
        if reaches_back and not (len(tail.seconds) and tail.seconds[-1] >= first):
            scored = Tail(posted.seconds, posted.values)
            return ScoringCase(model, scored, tail.newest(context), limits), posted.places
        if not tail.whole and np.searchsorted(tail.seconds, first) < context:
            tail = self.recent.read_older(group.sensor_id, first, last) or tail
        start, end = np.searchsorted(tail.seconds, first), np.searchsorted(tail.seconds, last, side="right")
        between = Tail(tail.seconds[start:end], tail.values[start:end])
        scored = between.merged(posted.seconds, posted.values)
        case = ScoringCase(model, scored, tail.before(first).newest(context), limits)
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
        # Any error of one sensor's model or readings: the other sensors must be answered.
        except Exception as error:
            log.exception("%s could not be forecast", group.sensor_id)
            failure = Reason(ReasonCode.SERVING_FORECAST_FAILED, {"error": type(error).__name__})
            self._write_forecast_error(group, response, horizon, render(failure))
            return
        response.origins[group.sensor_id] = forecast.path.origin
        note = FORECAST_FROM_MEMORY if response.notes else None
        write_forecasts(response, group.forecast_rows, forecast, note)
        if horizon:
            append_steps_ahead(response, group.sensor_id, forecast, horizon, note)

    @staticmethod
    def _write_forecast_error(
        group: SensorRequest, response: PredictionResponse, horizon: int, error: str
    ) -> None:
        write_errors(response, group.forecast_rows, error)
        if horizon:
            append_error(response, group.sensor_id, error)
