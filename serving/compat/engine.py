"""MLEngine: the original system's Python API, on top of all this.

Knows the original's methods and what each gave back: scripts written for it run here with another import.
What it kept in memory is in the registry and the database now, and everything is done by the functions that
the commands call. Leaves the shapes of answers to `engine_shapes`, what is stored to `engine_records`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from serving.batch import BatchService
from serving.compat.engine_records import Records, SensorId, parse_model_type
from serving.compat.engine_shapes import detection_result, forecast_result, retraining_result, status_result
from serving.models.alias_poller import PollSettings
from training.data.sensors import Fleet, Sensor
from training.errors import NoChampion, RegistryError, SafePlanError
from training.kinds import Kind
from training.outcomes import Outcome
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.settings import load_settings
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")

ResultDict = dict[str, Any]


class MLEngine:
    """Training, detection and forecasts by sensor; what cannot be done is said under `error`.

    Ids may be the original's integers. Times are naive UTC. Hours are counted back from a sensor's newest
    reading. Promotions made elsewhere are followed.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        plan: Callable[[], Plan] = Plan.from_conf,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.workspace = workspace
        self.plan = plan
        self.clock = clock
        self.records = Records(workspace, clock)
        self._fleet = Fleet()

    def get_sensor_history(
        self, sensor_id: SensorId, hours: float = 72
    ) -> tuple[list[datetime], list[float]]:
        """The times and values of the good readings in a sensor's newest hours, the oldest first."""
        readings = self.records.readings(sensor_id, hours)
        return readings["timestamp"].dt.to_pydatetime().tolist(), readings["value"].tolist()

    def train_anomaly_detector(
        self, sensor_id: SensorId, hours: float = 168, contamination: float = 0.1
    ) -> bool:
        """Tune, fit, grade and register a detector from a sensor's newest hours; whether there is one.

        The gate decides whether it serves. `contamination` moves the labels of each voice alone, not scores.
        """
        plan = self.plan()
        detector = plan.detector.model_validate(
            {**plan.detector.model_dump(), "contamination": contamination}
        )
        return self._train_from_hours(sensor_id, Kind.DETECTOR, replace(plan, detector=detector), hours)

    def train_forecaster(self, sensor_id: SensorId, hours: float = 72) -> bool:
        """Tune, fit, grade and register a forecaster from a sensor's newest hours; whether there is one."""
        return self._train_from_hours(sensor_id, Kind.FORECASTER, self.plan(), hours)

    def detect_anomalies(self, sensor_id: SensorId) -> ResultDict:
        """Score what came since the last scoring, keep the scores, and say what the newest reading is.

        `is_anomaly, anomaly_score, value, historical_average, historical_std, timestamp`, with the reason. A
        sensor without a detector gets one first.
        """
        try:
            sensor = self._sensor(sensor_id)
            self._train_if_new(sensor, Kind.DETECTOR)
            outcome = self._batch.detect(sensor, since=None, scored=self._last_scored(sensor))
            if not outcome.detail:
                newest = self.workspace.readings.last_time(sensor.id)
                outcome = self._batch.detect(sensor, since=newest, scored=None)
        except SafePlanError as error:
            return _error_result(sensor_id, error)
        return detection_result(outcome, self.records.newest(sensor.id, 10))

    def forecast_sensor(self, sensor_id: SensorId, periods: int = 24) -> ResultDict:
        """The next steps after a sensor's newest reading: `forecast, metrics, summary`; nothing is kept.

        A sensor without a forecaster gets one first, and the naive forecast where the gate refuses it.
        """
        try:
            sensor = self._sensor(sensor_id)
            self._train_if_new(sensor, Kind.FORECASTER)
            forecast = self._batch.compute_forecast(sensor, periods)
            metrics: Mapping[str, float] = {}
            if forecast.champion is not None:
                metrics = self.workspace.tracker.metrics(forecast.champion.version.run_id)
        except SafePlanError as error:
            return _error_result(sensor_id, error)
        return forecast_result(sensor, forecast, metrics, now=self._now())

    def save_prediction(
        self,
        sensor_id: SensorId,
        model_type: str,
        prediction_timestamp: datetime,
        forecasted_value: float | None = None,
        confidence_low: float | None = None,
        confidence_high: float | None = None,
        anomaly_score: float | None = None,
        is_anomaly: bool | None = None,
    ) -> int:
        """Keep one prediction as the serving version's; its number.

        Of a prediction that is kept already, what is not said here stays.

        Raises:
            DataError: there is no such type of model.
        """
        kind = parse_model_type(model_type)
        version = self._refreshed_batch().champions.champion_versions().get((str(sensor_id), kind))
        values = {
            "predicted_value": forecasted_value,
            "lower_bound": confidence_low,
            "upper_bound": confidence_high,
            "anomaly_score": anomaly_score,
            "is_anomaly": is_anomaly,
        }
        return self.records.save(
            str(sensor_id),
            kind,
            prediction_timestamp,
            values,
            version="" if version is None else str(version),
        )

    def get_predictions(
        self, sensor_id: SensorId, model_type: str | None = "FORECASTER", limit: int | None = 100
    ) -> list[ResultDict]:
        """A sensor's predictions of one kind, the newest first."""
        return self.records.predictions_of(sensor_id, model_type, limit)

    def retrain_all_models(self, *, jobs: int = 1) -> ResultDict:
        """Train every enabled sensor as `safeplan train` does; what has not changed is not trained again.

        With more than one job, or 0 for one a core, workers are started anew: the script that calls this must
        do so under `if __name__ == "__main__":`.
        """
        try:
            sensors = self._current_fleet().match()
            outcomes = train_fleet(self.workspace, sensors, list(Kind), self.plan(), jobs=jobs)
            self._batch.champions.refresh()
        except SafePlanError as error:
            return {"error": str(error)}
        return retraining_result(outcomes, len(sensors), now=self._now())

    def get_ml_status(self) -> ResultDict:
        """How many enabled sensors have a detector and a forecaster that serve."""
        enabled = {sensor_id for sensor_id, sensor in self._current_fleet().items() if sensor.enabled}
        serving = [key for key in self._refreshed_batch().champions.keys_with_champion() if key[0] in enabled]
        return status_result(serving, len(enabled), now=self._now())

    @cached_property
    def _batch(self) -> BatchService:
        return BatchService(self.workspace)

    def _refreshed_batch(self) -> BatchService:
        """The batch service with the aliases and sensors as they were a moment ago."""
        champions = self._batch.champions
        last_contact = champions.last_contact
        if (
            last_contact is None
            or (self.clock() - last_contact).total_seconds() >= load_settings(PollSettings).every
        ):
            self._fleet = Fleet.of(self.workspace.engine)
            try:
                champions.refresh()
            except RegistryError as error:
                log.warning("what served before goes on serving: %s", error)
        return self._batch

    def _current_fleet(self) -> Fleet:
        self._refreshed_batch()
        self._fleet = self._fleet or Fleet.of(self.workspace.engine)
        return self._fleet

    def _sensor(self, sensor_id: SensorId) -> Sensor:
        sensor = self._current_fleet().get(str(sensor_id))
        # One that was loaded this moment is not unknown.
        return sensor or Fleet.of(self.workspace.engine).sensor(str(sensor_id))

    def _last_scored(self, sensor: Sensor) -> datetime | None:
        newest = self.records.latest_prediction(sensor.id, Kind.DETECTOR.model_type)
        return None if newest is None else newest["timestamp"]

    def _train_if_new(self, sensor: Sensor, kind: Kind) -> None:
        """Give a sensor that no version was ever registered for its first one.

        Raises:
            NoChampion: it cannot be trained, with the reason.
        """
        if self._batch.champions.name(sensor.id, kind) is None:
            outcome = self._train(sensor, kind, self.plan())
            if outcome.failed and kind is Kind.DETECTOR:
                raise NoChampion(outcome.error)

    def _train_from_hours(self, sensor_id: SensorId, kind: Kind, plan: Plan, hours: float) -> bool:
        try:
            sensor = self._sensor(sensor_id)
            window = plan.window.model_validate({**plan.window.model_dump(), f"{kind}_days": hours / 24})
            outcome = self._train(sensor, kind, replace(plan, window=window))
        except SafePlanError as error:
            log.warning("the %s of %s was not trained: %s", kind, sensor_id, error)
            return False
        return not outcome.failed

    def _train(self, sensor: Sensor, kind: Kind, plan: Plan) -> Outcome:
        [outcome] = train_fleet(self.workspace, [sensor], [kind], plan, jobs=1)
        if outcome.failed:
            log.warning("the %s of %s was not trained: %s", kind, sensor.id, outcome.error)
        self._batch.champions.refresh()
        return outcome

    def _now(self) -> datetime:
        return self.clock().astimezone(UTC).replace(tzinfo=None)


def create_ml_engine() -> MLEngine:
    """The engine of the installation that `SAFEPLAN_HOME` or the working folder names."""
    return MLEngine(Workspace.here())


def _error_result(sensor_id: SensorId, error: SafePlanError) -> ResultDict:
    log.warning("%s: %s", sensor_id, error)
    return {"sensor_id": str(sensor_id), "error": str(error)}
