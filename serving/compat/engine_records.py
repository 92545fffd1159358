"""Read and write readings, predictions and trainable sensors as the original system did.

Hours are counted back from a sensor's newest reading. SQL is in the stores.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from serving.predictions.store import PredictionStore
from training.common.times import to_naive_utc
from training.data.readings import GOOD_QUALITY
from training.data.sensors import Sensor
from training.errors import DataError
from training.kinds import Kind
from training.operations.overview import trainable_kinds
from training.quality.windows import WindowSettings
from training.settings import load_settings
from training.workspace import Workspace

SensorId = str | int
ResultDict = dict[str, Any]

HOUR = timedelta(hours=1)
MAX_PREDICTION_NUMBER = 2**53  # the largest integer that every JSON parser reads exactly


class Records:
    """Readings and predictions of one installation."""

    def __init__(self, workspace: Workspace, clock: Callable[[], datetime]) -> None:
        self.workspace = workspace
        self.clock = clock

    @property
    def store(self) -> PredictionStore:
        """The store of predictions."""
        return PredictionStore(self.workspace.engine)

    def readings(
        self, sensor_id: SensorId, hours: float | None = 72, *, quality: int | None = GOOD_QUALITY
    ) -> pd.DataFrame:
        """`timestamp, value, data_quality` of a sensor's newest hours; `quality` None includes bad ones."""
        start = self._start(str(sensor_id), hours)
        return self.workspace.readings.between(str(sensor_id), start, quality=quality)

    def reading_statistics(self, sensor_id: SensorId, hours: float | None = 72) -> ResultDict:
        """Statistics of a sensor's good readings in its newest hours; `error` where there are none."""
        sensor_id = str(sensor_id)
        statistics = self.workspace.readings.statistics(sensor_id, self._start(sensor_id, hours))
        if not statistics.good:
            return {"error": f"{sensor_id} has no good readings. Run: safeplan load FILE"}
        last = self.workspace.readings.latest(sensor_id, 1, quality=GOOD_QUALITY).iloc[-1]
        return {
            "total_readings": statistics.good,
            "bad_readings": statistics.count - statistics.good,
            "min_value": statistics.low,
            "max_value": statistics.high,
            "mean_value": statistics.mean,
            "std_value": statistics.std,
            "last_reading": float(last["value"]),
            "last_timestamp": last["timestamp"].to_pydatetime(),
        }

    def newest(self, sensor_id: SensorId, count: int) -> pd.Series:
        """The values of a sensor's newest good readings."""
        return self.workspace.readings.latest(str(sensor_id), count, quality=GOOD_QUALITY)["value"]

    def trainable_sensors(self, kind: Kind | None = None) -> list[Sensor]:
        """The enabled sensors with enough good readings for a model of this kind, or of both."""
        good = self.workspace.readings.spans()["good"]
        window, kinds = load_settings(WindowSettings), {*Kind} if kind is None else {kind}
        return [
            sensor
            for sensor in self.workspace.fleet.match()
            if kinds <= {*trainable_kinds(int(good.get(sensor.id, 0)), window)}
        ]

    def save(
        self, sensor_id: str, kind: Kind, timestamp: datetime, values: Mapping[str, Any], *, version: str
    ) -> int:
        """Store one prediction and return its number; stored values that are None here stay."""
        time = pd.Timestamp(to_naive_utc(timestamp))
        row: ResultDict = {"sensor_id": sensor_id, "timestamp": time, "model_version": version}
        if kind is Kind.FORECASTER:
            row["origin"] = self._origin(sensor_id, time.to_pydatetime())
        merged = (
            self._stored_prediction(kind, row)
            | row
            | {name: value for name, value in values.items() if value is not None}
        )
        save = self.store.save_scores if kind is Kind.DETECTOR else self.store.save_forecasts
        save(pd.DataFrame([merged]), made_at=self.clock())
        return prediction_number(sensor_id, kind.model_type, time, row.get("origin", time), version)

    def predictions_of(
        self, sensor_id: SensorId, model_type: str | None = None, limit: int | None = 100
    ) -> list[ResultDict]:
        """A sensor's predictions, newest first."""
        return to_original_records(self.store.by_sensor(str(sensor_id), model_type, limit))

    def recent_predictions(
        self, sensor_id: SensorId, model_type: str | None = None, hours: float = 24
    ) -> list[ResultDict]:
        """A sensor's predictions from `hours` before its newest reading on, newest first."""
        start = self._start(str(sensor_id), hours)
        predictions = self.store.between(str(sensor_id), start, model_type=model_type)
        return to_original_records(predictions.iloc[::-1])

    def anomalies(self, sensor_id: SensorId | None = None, limit: int | None = 50) -> list[ResultDict]:
        """The anomalous readings of one sensor or of all, newest first."""
        selected_id = None if sensor_id is None else str(sensor_id)
        return to_original_records(self.store.anomalies(sensor_id=selected_id, limit=limit))

    def latest_prediction(self, sensor_id: SensorId, model_type: str) -> ResultDict | None:
        """A sensor's newest prediction of one kind, or None."""
        return next(iter(self.predictions_of(sensor_id, model_type, 1)), None)

    def prediction_statistics(self, sensor_id: SensorId) -> ResultDict:
        """The numbers of a sensor's stored forecasts and anomalies, and of anomalies in its last 24 hours."""
        sensor_id = str(sensor_id)
        statistics = self.store.statistics(sensor_id).set_index("model_type")
        counts = statistics.reindex([kind.model_type for kind in Kind], fill_value=0)
        recent = self.store.anomalies(self._start(sensor_id, 24), sensor_id)
        return {
            "sensor_id": sensor_id,
            "total_forecasts": int(counts["predictions"][Kind.FORECASTER.model_type]),
            "total_anomalies": int(counts["anomalies"][Kind.DETECTOR.model_type]),
            "recent_anomalies_24h": len(recent),
        }

    def delete_old_predictions(self, days: float = 30) -> int:
        """Delete the predictions for times more than `days` ago; returns their number."""
        return self.store.delete_before(to_naive_utc(self.clock()) - days * 24 * HOUR)

    def _start(self, sensor_id: str, hours: float | None) -> datetime | None:
        last = self.workspace.readings.last_time(sensor_id)
        return None if hours is None or last is None else last - hours * HOUR

    def _origin(self, sensor_id: str, time: datetime) -> datetime:
        """The time of the newest reading before the forecast time; that time where there is none."""
        before = self.workspace.readings.latest(sensor_id, 1, end=time, quality=GOOD_QUALITY)
        return time if before.empty else before["timestamp"].iloc[0].to_pydatetime()

    def _stored_prediction(self, kind: Kind, row: ResultDict) -> ResultDict:
        time = row["timestamp"].to_pydatetime()
        stored = self.store.between(
            row["sensor_id"], time, time + timedelta.resolution, model_type=kind.model_type
        )
        same = stored[stored["model_version"] == row["model_version"]]
        if "origin" in row:
            same = same[same["origin"] == row["origin"]]
        columns = [name for name in same.columns if name not in {"model_type", "made_at"}]
        return {} if same.empty else dict(same[columns].iloc[-1].dropna())


def parse_model_type(model_type: str) -> Kind:
    """The kind with this `model_type` in the table.

    >>> parse_model_type("FORECASTER")
    <Kind.FORECASTER: 'forecaster'>
    """
    for kind in Kind:
        if kind.model_type == model_type:
            return kind
    type_names = " or ".join(kind.model_type for kind in Kind)
    raise DataError(f"model type {model_type!r} is invalid: expected {type_names}.")


def to_original_records(frame: pd.DataFrame) -> list[ResultDict]:
    """Predictions under the original's keys; missing values are None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [
        {
            "prediction_id": prediction_number(
                row["sensor_id"], row["model_type"], row["timestamp"], row["origin"], row["model_version"]
            ),
            "sensor_id": row["sensor_id"],
            "model_type": row["model_type"],
            "timestamp": row["timestamp"].to_pydatetime(),
            "forecasted_value": row["predicted_value"],
            "confidence_low": row["lower_bound"],
            "confidence_high": row["upper_bound"],
            "anomaly_score": row["anomaly_score"],
            "is_anomaly": row["is_anomaly"],
            "reason": row["reason"],
            "model_version": row["model_version"],
            "created_at": row["made_at"].to_pydatetime(),
        }
        for row in plain.to_dict("records")
    ]


def prediction_number(
    sensor_id: str, model_type: str, timestamp: datetime, origin: datetime, model_version: str
) -> int:
    """A number computed from the prediction's key, because the table has none."""
    key = "\0".join(
        [sensor_id, model_type, *(pd.Timestamp(t).isoformat() for t in (timestamp, origin)), model_version]
    )
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % MAX_PREDICTION_NUMBER
