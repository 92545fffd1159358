"""MLEngine: the Python API of the original system, for scripts written against it.

Every method runs the functions that the commands run; state is in the registry and the database. Results are
converted by `engine_shapes`, stored data is read by `engine_records`.
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
from serving.models.poller import PollSettings
from training.common.times import to_naive_utc
from training.data.sensor_store import load_fleet
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
    """Training, detection and forecasts by sensor; results of failed calls have the key `error`.

    Ids may be the original's integers. Times are naive UTC. Hours are counted back from a sensor's newest
    reading. Promotions by other processes take effect within seconds.
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
        """The times and values of the good readings in a sensor's newest hours, oldest first."""
        readings = self.records.readings(sensor_id, hours)
        return readings["timestamp"].dt.to_pydatetime().tolist(), readings["value"].tolist()

    def train_anomaly_detector(
        self, sensor_id: SensorId, hours: float = 168, contamination: float = 0.1
    ) -> bool:
        """Tune, fit, evaluate and register a detector from a sensor's newest hours; True on success.

        The gate decides whether it serves. `contamination` changes the labels of the base detectors only.
        """
        plan = self.plan()
        detector = plan.detector.model_validate(
            {**plan.detector.model_dump(), "contamination": contamination}
        )
        return self._train_from_hours(sensor_id, Kind.DETECTOR, replace(plan, detector=detector), hours)

    def train_forecaster(self, sensor_id: SensorId, hours: float = 72) -> bool:
        """Tune, fit, evaluate and register a forecaster from a sensor's newest hours; True on success."""
        return self._train_from_hours(sensor_id, Kind.FORECASTER, self.plan(), hours)

    def detect_anomalies(self, sensor_id: SensorId) -> ResultDict:
        """Score the readings since the last score, store the scores, and return the newest reading's.

        `is_anomaly, anomaly_score, value, historical_average, historical_std, timestamp, reason` and others.
        A sensor without a registered detector is trained first.
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
        """The next steps after a sensor's newest reading: `forecast, metrics, summary`; stores nothing.

        A sensor without a registered forecaster is trained first; if the gate refuses, the naive forecast is
        returned.
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
        """Store one prediction under the serving version and return its number.

        Values of an already stored prediction that are None here stay.

        Raises:
            DataError: the model type is unknown.
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
        """A sensor's predictions of one kind, newest first."""
        return self.records.predictions_of(sensor_id, model_type, limit)

    def retrain_all_models(self, *, jobs: int = 1) -> ResultDict:
        """Train every enabled sensor as `safeplan train` does, skipping sensors whose data has not changed.

        With several jobs (0 for one per core) worker processes are spawned: the calling script must guard the
        call by `if __name__ == "__main__":`.
        """
        try:
            sensors = self._current_fleet().match()
            outcomes = train_fleet(self.workspace, sensors, list(Kind), self.plan(), jobs=jobs)
            self._batch.champions.refresh()
        except SafePlanError as error:
            return {"error": str(error)}
        return retraining_result(outcomes, len(sensors), now=self._now())

    def get_ml_status(self) -> ResultDict:
        """The numbers of enabled sensors with a serving detector and forecaster."""
        enabled = {sensor_id for sensor_id, sensor in self._current_fleet().items() if sensor.enabled}
        serving = [key for key in self._refreshed_batch().champions.keys_with_champion() if key[0] in enabled]
        return status_result(serving, len(enabled), now=self._now())

    @cached_property
    def _batch(self) -> BatchService:
        return BatchService(self.workspace)

    def _refreshed_batch(self) -> BatchService:
        """The batch service with aliases and sensors read within the poll interval."""
        champions = self._batch.champions
        last_contact = champions.last_contact
        if (
            last_contact is None
            or (self.clock() - last_contact).total_seconds() >= load_settings(PollSettings).every
        ):
            self._fleet = load_fleet(self.workspace.engine)
            try:
                champions.refresh()
            except RegistryError as error:
                log.warning("the loaded models keep serving: %s", error)
        return self._batch

    def _current_fleet(self) -> Fleet:
        self._refreshed_batch()
        self._fleet = self._fleet or load_fleet(self.workspace.engine)
        return self._fleet

    def _sensor(self, sensor_id: SensorId) -> Sensor:
        sensor = self._current_fleet().get(str(sensor_id))
        # A sensor loaded a moment ago is not in the cached fleet yet.
        return sensor or load_fleet(self.workspace.engine).sensor(str(sensor_id))

    def _last_scored(self, sensor: Sensor) -> datetime | None:
        newest = self.records.latest_prediction(sensor.id, Kind.DETECTOR.model_type)
        return None if newest is None else newest["timestamp"]

    def _train_if_new(self, sensor: Sensor, kind: Kind) -> None:
        """Train a sensor that has no registered version of this kind.

        Raises:
            NoChampion: training failed.
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
        return to_naive_utc(self.clock())


def create_ml_engine() -> MLEngine:
    """The engine of the installation in `SAFEPLAN_HOME` or the working folder."""
    return MLEngine(Workspace.here())


def _error_result(sensor_id: SensorId, error: SafePlanError) -> ResultDict:
    log.warning("%s: %s", sensor_id, error)
    return {"sensor_id": str(sensor_id), "error": str(error)}
