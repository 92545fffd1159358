"""What is stored, asked in the original's way: readings, predictions and trainable sensors.

Knows hours counted back from a sensor's newest reading and the original's keys. Leaves SQL to the stores.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from serving.predictions.store import PredictionStore
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
MAX_PREDICTION_NUMBER = 2**53  # of predictions; what a JSON reader keeps exactly


class Records:
    """Readings and predictions of one installation."""

    def __init__(self, workspace: Workspace, clock: Callable[[], datetime]) -> None:
        self.workspace = workspace
        self.clock = clock

    @property
    def store(self) -> PredictionStore:
        """The predictions."""
        return PredictionStore(self.workspace.engine)

    def readings(
        self, sensor_id: SensorId, hours: float | None = 72, *, quality: int | None = GOOD_QUALITY
    ) -> pd.DataFrame:
        """`timestamp, value, data_quality` of a sensor's newest hours; `quality` None for those of any."""
        start = self._start(str(sensor_id), hours)
        return self.workspace.readings.between(str(sensor_id), start, quality=quality)

    def reading_statistics(self, sensor_id: SensorId, hours: float | None = 72) -> ResultDict:
        """A sensor's newest hours in numbers, of good readings; `error` where there is none."""
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
        """Keep one prediction and answer its number; what is known of it already and not said here stays."""
        moment = pd.Timestamp(timestamp)
        moment = moment if moment.tz is None else moment.tz_convert("UTC").tz_localize(None)
        row: ResultDict = {"sensor_id": sensor_id, "timestamp": moment, "model_version": version}
        if kind is Kind.FORECASTER:
            row["origin"] = self._origin(sensor_id, moment.to_pydatetime())
        merged = (
            self._stored_prediction(kind, row)
            | row
            | {name: one for name, one in values.items() if one is not None}
        )
        save = self.store.save_scores if kind is Kind.DETECTOR else self.store.save_forecasts
        save(pd.DataFrame([merged]), made_at=self.clock())
        return prediction_number(sensor_id, kind.model_type, moment, row.get("origin", moment), version)

    def predictions_of(
        self, sensor_id: SensorId, model_type: str | None = None, limit: int | None = 100
    ) -> list[ResultDict]:
        """A sensor's predictions, the newest first."""
        return to_original_records(self.store.by_sensor(str(sensor_id), model_type, limit))

    def recent_predictions(
        self, sensor_id: SensorId, model_type: str | None = None, hours: float = 24
    ) -> list[ResultDict]:
        """A sensor's predictions for the time from so many hours before its newest reading on."""
        start = self._start(str(sensor_id), hours)
        predictions = self.store.between(str(sensor_id), start, model_type=model_type)
        return to_original_records(predictions.iloc[::-1])

    def anomalies(self, sensor_id: SensorId | None = None, limit: int | None = 50) -> list[ResultDict]:
        """The readings called anomalous, of one sensor or of all, the newest first."""
        selected_id = None if sensor_id is None else str(sensor_id)
        return to_original_records(self.store.anomalies(sensor_id=selected_id, limit=limit))

    def latest_prediction(self, sensor_id: SensorId, model_type: str) -> ResultDict | None:
        """A sensor's newest prediction of one kind, or None."""
        return next(iter(self.predictions_of(sensor_id, model_type, 1)), None)

    def prediction_statistics(self, sensor_id: SensorId) -> ResultDict:
        """How many forecasts and anomalies of a sensor are kept, and how many anomalies in its last day."""
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
        """Forget the predictions for times more than so many days ago; how many they were."""
        return self.store.delete_before(self.clock().astimezone(UTC).replace(tzinfo=None) - days * 24 * HOUR)

    def _start(self, sensor_id: str, hours: float | None) -> datetime | None:
        last = self.workspace.readings.last_time(sensor_id)
        return None if hours is None or last is None else last - hours * HOUR

    def _origin(self, sensor_id: str, moment: datetime) -> datetime:
        """The newest reading before the time forecast; the time itself where there is none."""
        before = self.workspace.readings.latest(sensor_id, 1, end=moment, quality=GOOD_QUALITY)
        return moment if before.empty else before["timestamp"].iloc[0].to_pydatetime()

    def _stored_prediction(self, kind: Kind, row: ResultDict) -> ResultDict:
        moment = row["timestamp"].to_pydatetime()
        stored = self.store.between(
            row["sensor_id"], moment, moment + timedelta.resolution, model_type=kind.model_type
        )
        same = stored[stored["model_version"] == row["model_version"]]
        if "origin" in row:
            same = same[same["origin"] == row["origin"]]
        columns = [name for name in same.columns if name not in {"model_type", "made_at"}]
        return {} if same.empty else dict(same[columns].iloc[-1].dropna())


def parse_model_type(model_type: str) -> Kind:
    """The kind that a table's word names.

    >>> kind_of("FORECASTER")
    <Kind.FORECASTER: 'forecaster'>
    """
    for kind in Kind:
        if kind.model_type == model_type:
            return kind
    type_names = " or ".join(kind.model_type for kind in Kind)
    raise DataError(f"{model_type!r} is no type of model; say {type_names}.")


def to_original_records(frame: pd.DataFrame) -> list[ResultDict]:
    """Predictions under the original's keys; what was not said is None."""
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
    """A prediction's number: the same whenever and wherever it is asked for, as the table has none."""
    key = "\0".join(
        [sensor_id, model_type, *(pd.Timestamp(t).isoformat() for t in (timestamp, origin)), model_version]
    )
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % MAX_PREDICTION_NUMBER
