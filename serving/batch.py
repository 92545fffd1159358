"""Score and forecast stored readings of many sensors, for the commands and the scheduler.

Finds the new readings and stores the results. Like the endpoint, it scores by
`serving.vectorized.batch_scoring` and forecasts by `serving.scoring.forecasts`; predictions are stored by
`serving.predictions.store`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import pandas as pd

from serving.models.champions import Champions, ServingDetector, ServingForecaster
from serving.predictions.store import PredictionStore
from serving.recent_readings import Tail, to_tail
from serving.scoring.forecasts import forecast_frame
from serving.vectorized.bad_samples import raw_history
from serving.vectorized.batch_scoring import ScoringCase, ScoringFailure, score_cases
from serving.vectorized.packed_detector import PackedDetector
from serving.vectorized.runtime import ScoringRuntime
from training.anomaly.calibration import count_episodes
from training.anomaly.profile_detector import ProfileDetector
from training.common.clock import utc_now
from training.common.times import read_iso, to_times
from training.data.readings import GOOD_QUALITY, ReadingStore
from training.data.sensors import Sensor
from training.errors import DataError, NoChampion, SafePlanError
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus, failed_outcome
from training.pipeline.plan import ForecasterSettings
from training.reasons import dump_reasons, render
from training.registry.model_registry import CHAMPION
from training.settings import load_settings
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")

MAX_CONTEXT_READINGS = 4096  # history of a score or a forecast; detectors and forecasters use less
SCORING_BATCH = 50_000  # readings scored at once
ROWS_PER_WRITE = 10_000  # scores stored at once
LATE_CHECK_READINGS = 200  # readings before the newest score among which late ones are searched


class BatchStatus(StrEnum):
    """The status of an outcome of batch scoring; a failed one has `OutcomeStatus.FAILED`."""

    SCORED = "scored"
    NOTHING_NEW = "nothing new"
    FORECAST = "forecast"
    NAIVE_FORECAST = "naive forecast"


OutcomeCallback = Callable[[Outcome], None]


def detect_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    since: datetime | None = None,
    watch: OutcomeCallback = lambda _: None,
) -> list[Outcome]:
    """Score each sensor's good readings since its newest score, and store the scores.

    Readings without a score among the 200 before that one are scored too: they arrived late, or the endpoint
    stored a newer score first. A sensor without scores is scored from the end of its detector's training on,
    at least its newest reading. `since` (naive UTC) replaces the start. Scoring again changes nothing.
    """
    service = BatchService(workspace)
    scored = service.predictions.last_scored()
    writer = ScoreWriter(service.predictions, watch)

    def score(sensor: Sensor) -> Outcome:
        return service.detect(sensor, since=since, scored=scored.get(sensor.id), save=writer.stage)

    _run_for_each(sensors, Kind.DETECTOR, writer.add, score)
    return writer.finish()


def forecast_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    horizon: int | None = None,
    watch: OutcomeCallback = lambda _: None,
) -> list[Outcome]:
    """Forecast each sensor from its newest good readings, and store the forecasts.

    A sensor without a forecaster champion gets the naive forecast, under its name.
    """
    service = BatchService(workspace)
    steps = horizon or load_settings(ForecasterSettings).horizon_steps
    return _run_for_each(sensors, Kind.FORECASTER, watch, lambda sensor: service.forecast(sensor, steps))


@dataclass(frozen=True)
class SensorForecast:
    """One sensor's forecast, with the readings and the model it was made from."""

    frame: pd.DataFrame  # a forecaster's columns; a naive forecast has no `trend`
    recent: pd.Series  # the newest readings, by time
    model_version: str  # the champion's version, or the name of the naive forecast
    champion: ServingForecaster | None

    @property
    def method(self) -> str:
        """The method: Prophet, or the name of a naive forecast."""
        return self.model_version if self.champion is None else self.champion.model.method


class ScoreWriter:
    """Stores the scores of many sensors together, because a write costs much for one row and little for more.

    An outcome is passed to `watch` once its scores are stored.
    """

    def __init__(self, predictions: PredictionStore, watch: OutcomeCallback) -> None:
        self.predictions = predictions
        self.watch = watch
        self._frames: list[pd.DataFrame] = []
        self._waiting: list[Outcome] = []
        self._written: list[Outcome] = []

    def stage(self, scores: pd.DataFrame) -> None:
        """Keep scores until the next write; the outcome of their sensor is added after them."""
        self._frames.append(scores)

    def add(self, outcome: Outcome) -> None:
        """Add one sensor's outcome."""
        self._waiting.append(outcome)
        if sum(map(len, self._frames)) >= ROWS_PER_WRITE:
            self._write()

    def finish(self) -> list[Outcome]:
        """Store what remains; returns the outcomes in the order in which they were added."""
        self._write()
        return self._written

    def _write(self) -> None:
        error = self._save_frames()
        for scored in self._waiting:
            is_lost = error is not None and scored.status == BatchStatus.SCORED
            outcome = replace(scored, status=OutcomeStatus.FAILED, error=error) if is_lost else scored
            self._written.append(outcome)
            self.watch(outcome)
        self._frames, self._waiting = [], []

    def _save_frames(self) -> str | None:
        """Store the staged scores; returns the error, which becomes the outcome of each of their sensors."""
        if not self._frames:
            return None
        try:
            self.predictions.save_scores(pd.concat(self._frames, ignore_index=True), made_at=utc_now())
        except SafePlanError as error:
            return str(error)
        # As for one sensor: each must have its outcome, whatever failed.
        except Exception as error:
            log.exception("scores could not be stored")
            return f"{type(error).__name__}: {error}"
        return None


class BatchService:
    """Scores and forecasts single sensors; opened once per command."""

    def __init__(self, workspace: Workspace) -> None:
        self.readings = workspace.readings
        self.champions = Champions(workspace.registry, workspace.model_cache, runtime=ScoringRuntime())
        self.predictions = PredictionStore(workspace.engine)

    def detect(
        self,
        sensor: Sensor,
        *,
        since: datetime | None,
        scored: datetime | None,
        save: Callable[[pd.DataFrame], None] | None = None,
    ) -> Outcome:
        """Score one sensor's new readings and store the scores, or pass them to `save`.

        Raises:
            NoChampion: it has no detector champion.
            DataError: it has no good reading.
        """
        champion = self.champions.detector(sensor.id)
        begin = since or scored or read_iso(champion.version.tags["train_end"])
        stored = self.readings.between(sensor.id, begin, quality=GOOD_QUALITY)
        new_readings = to_tail(
            stored if since is not None else stored[stored["timestamp"] > begin], whole=False
        )
        if not len(new_readings.seconds):
            newest = self._newest_reading(sensor)
            new_readings = newest if scored is None else new_readings
        scores = [] if since is not None else self._score_late_readings(sensor, champion, scored)
        scores += [
            score_readings(
                self.readings, sensor, champion.model, new_readings.part(first, first + SCORING_BATCH)
            )
            for first in range(0, len(new_readings.seconds), SCORING_BATCH)
        ]
        if not scores:
            return self._outcome(sensor, Kind.DETECTOR, BatchStatus.NOTHING_NEW, champion.version.number)
        scored_frame = pd.concat(scores, ignore_index=True)
        scored_frame["threshold"] = champion.model.threshold
        scored_frame["model_version"] = str(champion.version.number)
        if save is None:
            self.predictions.save_scores(scored_frame, made_at=utc_now())
        else:
            save(scored_frame)
        last = scored_frame.iloc[-1]
        return self._outcome(
            sensor,
            Kind.DETECTOR,
            BatchStatus.SCORED,
            champion.version.number,
            metrics={
                "readings": len(scored_frame),
                "anomalies": int(scored_frame["is_anomaly"].sum()),
                "episodes": count_episodes(scored_frame["is_anomaly"].to_numpy(bool)),
                "score": float(last["anomaly_score"]),
                "max_score": float(scored_frame["anomaly_score"].max()),
                "threshold": champion.model.threshold,
            },
            detail={
                "timestamp": last["timestamp"],
                "value": float(last["value"]),
                "is_anomaly": bool(last["is_anomaly"]),
                "severity": last["severity"],
                "reason": last["reason"],
                "historical_average": float(last["historical_average"]),
                "historical_std": float(last["historical_std"]),
            },
        )

    def compute_forecast(self, sensor: Sensor, steps: int) -> "SensorForecast":
        """The forecast from one sensor's newest reading, without storing it.

        Raises:
            DataError: it has no good reading.
        """
        recent = to_tail(
            self.readings.latest(sensor.id, MAX_CONTEXT_READINGS, quality=GOOD_QUALITY), whole=False
        )
        if not len(recent.seconds):
            raise DataError(f"{sensor.id} has no good reading to forecast from. Run: safeplan load FILE")
        try:
            champion = self.champions.forecaster(sensor.id)
        except NoChampion:
            champion = None
        frame, model_version = forecast_frame(champion, recent, steps, sensor=sensor)
        return SensorForecast(frame.iloc[:steps], recent.series, model_version, champion)

    def forecast(self, sensor: Sensor, steps: int) -> Outcome:
        """Forecast one sensor from its newest reading, and store the forecast.

        Raises:
            DataError: it has no good reading.
        """
        prediction = self.compute_forecast(sensor, steps)
        frame = prediction.frame.assign(
            sensor_id=sensor.id, origin=prediction.recent.index[-1], model_version=prediction.model_version
        )
        self.predictions.save_forecasts(frame, made_at=utc_now())
        first, last = frame.iloc[0], frame.iloc[-1]
        version = None if prediction.champion is None else prediction.champion.version.number
        return self._outcome(
            sensor,
            Kind.FORECASTER,
            BatchStatus.FORECAST if version else BatchStatus.NAIVE_FORECAST,
            version,
            metrics={
                "steps": len(frame),
                "expected": float(last["forecasted_values"]),
                "lower": float(last["lower_bound"]),
                "upper": float(last["upper_bound"]),
            },
            detail={"method": prediction.method, "from": first["timestamps"], "to": last["timestamps"]},
        )

    def _score_late_readings(
        self, sensor: Sensor, champion: ServingDetector, scored: datetime | None
    ) -> list[pd.DataFrame]:
        """Scores of readings before the newest score that have none, as a list of at most one frame."""
        if scored is None:
            return []
        before = self.readings.latest(sensor.id, LATE_CHECK_READINGS, end=scored, quality=GOOD_QUALITY)
        if before.empty:
            return []
        train_end = read_iso(champion.version.tags["train_end"])
        late = self.predictions.without_score(sensor.id, before["timestamp"], trained_until=train_end)
        if late.empty:
            return []
        # Score all from the first late one on, because each score depends on the readings before it.
        readings = to_tail(before[before["timestamp"] >= late.iloc[0]], whole=False)
        scored_frame = score_readings(self.readings, sensor, champion.model, readings)
        return [scored_frame[scored_frame["timestamp"].isin(late)]]

    def _newest_reading(self, sensor: Sensor) -> Tail:
        newest = self.readings.latest(sensor.id, 1, quality=GOOD_QUALITY)
        if not len(newest):
            raise DataError(f"{sensor.id} has no good reading to score. Run: safeplan load FILE")
        return to_tail(newest, whole=False)

    def _outcome(
        self,
        sensor: Sensor,
        kind: Kind,
        status: BatchStatus,
        version: int | None,
        metrics: dict[str, Any] | None = None,
        detail: dict[str, Any] | None = None,
    ) -> Outcome:
        return Outcome(
            sensor_id=sensor.id,
            kind=kind,
            status=status,
            model=self.champions.name(sensor.id, kind) if version else None,
            version=version,
            alias=CHAMPION if version else None,
            metrics=metrics or {},
            detail=detail or {},
        )


def score_readings(
    readings: ReadingStore, sensor: Sensor, model: PackedDetector | ProfileDetector, scored: Tail
) -> pd.DataFrame:
    """One sensor's readings scored by one model, with the stored readings before them as history.

    Raises:
        DataError: they cannot be scored.
    """
    times = to_times(scored.seconds)
    context = raw_history(model.context) if isinstance(model, PackedDetector) else MAX_CONTEXT_READINGS
    before = readings.latest(sensor.id, context, end=times[0].to_pydatetime(), quality=GOOD_QUALITY)
    case = ScoringCase(model, scored, to_tail(before, whole=False), sensor.physical_range)
    [result] = score_cases([case])
    if isinstance(result, ScoringFailure):
        raise DataError(f"{sensor.id}: {render(result.reason)}")
    return pd.DataFrame(
        {
            "sensor_id": sensor.id,
            "timestamp": times,
            "value": scored.values,
            "anomaly_score": result.scores,
            "is_anomaly": result.anomalous,
            "severity": result.severities,
            "reason": result.texts,
            "reason_data": [dump_reasons([reason]) if reason else None for reason in result.reasons],
            "historical_average": result.averages,
            "historical_std": result.deviations,
        }
    )


def _run_for_each(
    sensors: Sequence[Sensor], kind: Kind, watch: OutcomeCallback, work: Callable[[Sensor], Outcome]
) -> list[Outcome]:
    outcomes = []
    for sensor in sensors:
        try:
            outcome = work(sensor)
        # Any error of one sensor: the others must be processed.
        except Exception as error:  # noqa: BLE001
            outcome = failed_outcome(sensor.id, kind, error, task="prediction", log=log)
        outcomes.append(outcome)
        watch(outcome)
    return outcomes
