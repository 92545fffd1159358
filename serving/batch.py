"""Scoring and forecasting what is stored, for many sensors: what the commands and the scheduler run.

Knows which readings are new, how much of the past a score looks back on, and where the results are kept.
Leaves verdicts to `judging` and forecasts to `outlook`, as the endpoint does, and rows to `predictions`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from serving.models.champions import Champions, ServingDetector, ServingForecaster
from serving.predictions.store import PredictionStore
from serving.recent_readings import Tail, tail_of, times_of
from serving.scoring.forecasts import forecast_frame
from serving.vectorized.batch_scoring import Case, Unjudged, judge
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.calibration import episodes
from training.anomaly.detector import AnomalyDetector
from training.data.readings import GOOD, ReadingStore
from training.data.sensors import Sensor
from training.errors import DataError, NoChampion, SafePlanError
from training.kinds import Kind
from training.outcomes import FAILED, Outcome
from training.pipeline.plan import ForecasterSettings
from training.pipeline.recording import read_iso
from training.registry.model_registry import CHAMPION
from training.settings import load
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")

# The furthest that a detector or a forecaster looks back; both bound themselves to less.
CONTEXT = 4096
AT_ONCE = 50_000  # readings scored in one go
LATE = 200  # readings before the newest score that are looked through for some that came after it

Watcher = Callable[[Outcome], None]


def detect_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    since: datetime | None = None,
    watch: Watcher = lambda _: None,
) -> list[Outcome]:
    """Score each sensor's good readings since the last scoring, and keep the scores.

    Those that came late, or that a score kept by the endpoint overtook, are scored too, among the newest 200
    before. Without a scoring before, since the end of its detector's training; at least the newest reading is
    scored. `since` (naive UTC) goes back further or less far. Scoring again changes nothing.
    """
    service = BatchService(workspace)
    scored = service.predictions.last_scored()
    return _for_each(
        sensors,
        Kind.DETECTOR,
        watch,
        lambda sensor: service.detect(sensor, since=since, scored=scored.get(sensor.id)),
    )


def forecast_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    horizon: int | None = None,
    watch: Watcher = lambda _: None,
) -> list[Outcome]:
    """Forecast each sensor from its newest good readings, and keep the forecasts.

    A sensor whose forecaster was not worth promoting gets the naive forecast, under that name.
    """
    service = BatchService(workspace)
    steps = horizon or load(ForecasterSettings).horizon_steps
    return _for_each(sensors, Kind.FORECASTER, watch, lambda sensor: service.forecast(sensor, steps))


@dataclass(frozen=True)
class Foreseen:
    """One sensor's forecast, with what it was made from."""

    frame: pd.DataFrame  # the forecasters' columns; a naive forecast has no `trend`
    recent: pd.Series  # the newest readings, by time
    said_by: str  # the champion's version, or the name of the naive forecast
    champion: ServingForecaster | None

    @property
    def method(self) -> str:
        """What speaks: Prophet, or a naive forecast by its name."""
        return self.said_by if self.champion is None else self.champion.model.method


class BatchService:
    """What both commands share while they run."""

    def __init__(self, workspace: Workspace) -> None:
        self.readings = workspace.readings
        self.champions = Champions(workspace.registry, workspace.model_cache)
        self.predictions = PredictionStore(workspace.engine)

    def detect(self, sensor: Sensor, *, since: datetime | None, scored: datetime | None) -> Outcome:
        """Score one sensor's new readings.

        Raises:
            NoChampion: no detector serves it.
            DataError: it has no good reading.
        """
        champion = self.champions.detector(sensor.id)
        newest = self._newest(sensor)
        begin = since or scored or read_iso(champion.version.tags["train_end"])
        stored = self.readings.between(sensor.id, begin, quality=GOOD)
        fresh = tail_of(stored if since is not None else stored[stored["timestamp"] > begin], whole=False)
        if not len(fresh.seconds) and scored is None:
            fresh = newest
        scores = [] if since is not None else self._late_scores(sensor, champion, scored)
        scores += [
            score_stretch(self.readings, sensor.id, champion.model, fresh.part(first, first + AT_ONCE))
            for first in range(0, len(fresh.seconds), AT_ONCE)
        ]
        if not scores:
            return self._outcome(sensor, Kind.DETECTOR, "nothing new", champion.version.number)
        found = pd.concat(scores, ignore_index=True)
        found["threshold"] = champion.model.threshold
        found["model_version"] = str(champion.version.number)
        self.predictions.save_scores(found, made_at=_now())
        last = found.iloc[-1]
        return self._outcome(
            sensor,
            Kind.DETECTOR,
            "scored",
            champion.version.number,
            metrics={
                "readings": len(found),
                "anomalies": int(found["is_anomaly"].sum()),
                "episodes": episodes(found["is_anomaly"].to_numpy(bool)),
                "score": float(last["anomaly_score"]),
                "max_score": float(found["anomaly_score"].max()),
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

    def foresee(self, sensor: Sensor, steps: int) -> "Foreseen":
        """What comes after one sensor's newest reading; nothing is kept.

        Raises:
            DataError: it has no good reading.
        """
        recent = tail_of(self.readings.latest(sensor.id, CONTEXT, quality=GOOD), whole=False)
        if not len(recent.seconds):
            raise DataError(f"{sensor.id} has no good reading to forecast from. Run: safeplan load FILE")
        try:
            champion = self.champions.forecaster(sensor.id)
        except NoChampion:
            champion = None
        frame, said_by = forecast_frame(champion, recent, steps, sensor=sensor)
        return Foreseen(frame.iloc[:steps], recent.series, said_by, champion)

    def forecast(self, sensor: Sensor, steps: int) -> Outcome:
        """Forecast one sensor from its newest reading, and keep the forecast.

        Raises:
            DataError: it has no good reading.
        """
        found = self.foresee(sensor, steps)
        frame = found.frame.assign(
            sensor_id=sensor.id, origin=found.recent.index[-1], model_version=found.said_by
        )
        self.predictions.save_forecasts(frame, made_at=_now())
        first, last = frame.iloc[0], frame.iloc[-1]
        version = None if found.champion is None else found.champion.version.number
        return self._outcome(
            sensor,
            Kind.FORECASTER,
            "forecast" if version else "naive forecast",
            version,
            metrics={
                "steps": len(frame),
                "expected": float(last["forecasted_values"]),
                "lower": float(last["lower_bound"]),
                "upper": float(last["upper_bound"]),
            },
            detail={"method": found.method, "from": first["timestamps"], "to": last["timestamps"]},
        )

    def _late_scores(
        self, sensor: Sensor, champion: ServingDetector, scored: datetime | None
    ) -> list[pd.DataFrame]:
        """Scores of the readings before the newest score that have none, in one frame or none."""
        if scored is None:
            return []
        before = self.readings.latest(sensor.id, LATE, end=scored, quality=GOOD)
        if before.empty:
            return []
        learned = read_iso(champion.version.tags["train_end"])
        late = self.predictions.without_score(sensor.id, before["timestamp"], learned=learned)
        if late.empty:
            return []
        # All from the first of them on, for each is scored in the light of those before it.
        stretch = tail_of(before[before["timestamp"] >= late.iloc[0]], whole=False)
        found = score_stretch(self.readings, sensor.id, champion.model, stretch)
        return [found[found["timestamp"].isin(late)]]

    def _newest(self, sensor: Sensor) -> Tail:
        newest = self.readings.latest(sensor.id, 1, quality=GOOD)
        if not len(newest):
            raise DataError(f"{sensor.id} has no good reading to score. Run: safeplan load FILE")
        return tail_of(newest, whole=False)

    def _outcome(
        self,
        sensor: Sensor,
        kind: Kind,
        status: str,
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


def score_stretch(
    readings: ReadingStore, sensor_id: str, model: PackedDetector | AnomalyDetector, asked: Tail
) -> pd.DataFrame:
    """One sensor's readings scored by one model in the light of what is stored before them; nothing is kept.

    Raises:
        DataError: they cannot be scored.
    """
    times = times_of(asked.seconds)
    before = readings.latest(sensor_id, CONTEXT, end=times[0].to_pydatetime(), quality=GOOD)
    [found] = judge([Case(model, asked, tail_of(before, whole=False))])
    if isinstance(found, Unjudged):
        raise DataError(f"{sensor_id}: {found.why}")
    return pd.DataFrame(
        {
            "sensor_id": sensor_id,
            "timestamp": times,
            "value": asked.values,
            "anomaly_score": found.scores,
            "is_anomaly": found.anomalous,
            "severity": found.severities,
            "reason": found.reasons,
            "historical_average": found.averages,
            "historical_std": found.deviations,
        }
    )


def _for_each(
    sensors: Sequence[Sensor], kind: Kind, watch: Watcher, work: Callable[[Sensor], Outcome]
) -> list[Outcome]:
    outcomes = []
    for sensor in sensors:
        try:
            outcome = work(sensor)
        except SafePlanError as error:
            outcome = Outcome(sensor_id=sensor.id, kind=kind, status=FAILED, error=str(error))
        # One sensor's trouble must not cost the others theirs; it is named in the outcome and traced here.
        except Exception as error:
            log.exception("%s of %s failed", kind, sensor.id)
            words = f"{type(error).__name__}: {error}"
            outcome = Outcome(sensor_id=sensor.id, kind=kind, status=FAILED, error=words)
        outcomes.append(outcome)
        watch(outcome)
    return outcomes


def _now() -> datetime:
    return datetime.now(UTC)
