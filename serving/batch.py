"""Scoring and forecasting what is stored, for many sensors: what the commands and the scheduler run.

Knows which readings are new, how much of the past a score looks back on, and where the results are kept.
Leaves models to `champions` and rows to `predictions`.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from serving.champions import Champions
from serving.naive_service import naive_forecast
from serving.predictions import PredictionStore
from training.calibration import episodes
from training.errors import DataError, NoChampion, SafePlanError
from training.kinds import Kind
from training.outcomes import FAILED, Outcome
from training.plan import ForecasterSettings
from training.readings import GOOD
from training.recording import read_iso
from training.registry import CHAMPION
from training.sensors import Sensor
from training.settings import load
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")

# The furthest that a detector or a forecaster looks back; both bound themselves to less.
CONTEXT = 4096
AT_ONCE = 50_000  # readings scored in one go

Watcher = Callable[[Outcome], None]


def detect_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    since: datetime | None = None,
    watch: Watcher = lambda _: None,
) -> list[Outcome]:
    """Score each sensor's good readings since the last scoring, and keep the scores.

    Without a scoring before, since the end of its detector's training; at least the newest reading is
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
        fresh = series_of(self.readings.between(sensor.id, begin, quality=GOOD))
        if since is None:
            fresh = fresh[fresh.index > begin]
        if not len(fresh) and scored is None:
            fresh = newest
        scores = [
            self._score(sensor, champion.model.detect, fresh.iloc[first : first + AT_ONCE])
            for first in range(0, len(fresh), AT_ONCE)
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
            },
        )

    def forecast(self, sensor: Sensor, steps: int) -> Outcome:
        """Forecast one sensor from its newest reading.

        Raises:
            DataError: it has no good reading.
        """
        recent = series_of(self.readings.latest(sensor.id, CONTEXT, quality=GOOD))
        if not len(recent):
            raise DataError(f"{sensor.id} has no good reading to forecast from. Run: safeplan load FILE")
        try:
            champion = self.champions.forecaster(sensor.id)
        except NoChampion:
            frame, version = naive_forecast(recent, steps, step=sensor.step), None
            method = str(frame.pop("method").iloc[0])
        else:
            frame = champion.model.forecast(steps, history=recent)
            version, method = champion.version.number, champion.model.method
        frame = frame.assign(
            sensor_id=sensor.id, origin=recent.index[-1], model_version=str(version or method)
        )
        self.predictions.save_forecasts(frame, made_at=_now())
        first, last = frame.iloc[0], frame.iloc[-1]
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
            detail={"method": method, "from": first["timestamps"], "to": last["timestamps"]},
        )

    def _newest(self, sensor: Sensor) -> pd.Series:
        newest = series_of(self.readings.latest(sensor.id, 1, quality=GOOD))
        if not len(newest):
            raise DataError(f"{sensor.id} has no good reading to score. Run: safeplan load FILE")
        return newest

    def _score(self, sensor: Sensor, detect: Callable[..., pd.DataFrame], fresh: pd.Series) -> pd.DataFrame:
        before = self.readings.latest(sensor.id, CONTEXT, end=fresh.index[0], quality=GOOD)
        return detect(fresh, history=series_of(before)).assign(sensor_id=sensor.id)

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


def series_of(readings: pd.DataFrame) -> pd.Series:
    """Values by time."""
    return pd.Series(readings["value"].to_numpy(float), index=pd.DatetimeIndex(readings["timestamp"]))


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
