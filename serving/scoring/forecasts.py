"""Forecast one sensor from its newest reading, by its forecaster or by the best naive forecast.

Handles steps ahead and times between them, limits forecasts to the instrument's physical range, and caches
each sensor's last path until a newer reading or version arrives. The forecasts themselves come from
`training.forecasting.forecaster` and `naive_fallback`.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serving.models.champions import ServingForecaster
from serving.recent_readings import Tail
from serving.scoring.naive_fallback import naive_forecast
from training.common.arrays import Floats
from training.common.times import epoch_seconds, to_times
from training.data.sensors import Sensor
from training.errors import DataError
from training.forecasting.fitted_forecaster import MAX_STEPS_AHEAD
from training.reasons import Reason, ReasonCode

MIN_PATH_STEPS = 48  # steps of a cached path
FORECAST_COLUMNS = ("forecasted_values", "lower_bound", "upper_bound")
MAX_CACHED_PATHS = 4_096
FORECAST_PAST = Reason(ReasonCode.SERVING_FORECAST_PAST)


@dataclass(frozen=True)
class ForecastPath:
    """One sensor's forecast, a row per step: expected, lower, upper; times in seconds since 1970."""

    origin: float  # the newest reading used
    first: float
    step: float
    steps: Floats
    version: str

    @property
    def seconds(self) -> Floats:
        """The time of each step."""
        return self.first + self.step * np.arange(len(self.steps), dtype=np.float64)


@dataclass(frozen=True)
class RequestedForecast:
    """Forecasts at the requested times, and for the steps ahead."""

    at: Floats  # a row per time: expected, lower, upper; NaN where there is none
    errors: tuple[Reason, ...]  # for each time, the reason where there is none
    path: ForecastPath
    version: str


class ForecastCache:
    """The last forecast path of each sensor; safe for several threads."""

    def __init__(self) -> None:
        self._paths: OrderedDict[str, tuple[object, ForecastPath]] = OrderedDict()
        self._lock = threading.Lock()

    def of(
        self,
        sensor_id: str,
        forecaster: ServingForecaster | None,
        tail: Tail,
        times: Floats,
        *,
        horizon: int = 0,
        sensor: Sensor | None = None,
    ) -> RequestedForecast:
        """Forecasts at these times (seconds since 1970) and for the next `horizon` steps.

        Raises:
            DataError: there is neither a forecaster nor a reading.
        """
        path = self._path(sensor_id, forecaster, tail, MIN_PATH_STEPS, sensor)
        positions = (times - path.first) / path.step
        in_reach = positions < MAX_STEPS_AHEAD - 1
        needed = int(np.ceil(positions[in_reach].max(initial=-1.0))) + 1
        if max(needed, horizon) > len(path.steps):
            path = self._path(sensor_id, forecaster, tail, max(needed, horizon), sensor)
        forecasts = np.full((len(times), len(FORECAST_COLUMNS)), np.nan)
        forecasts[in_reach] = clip_to_range(
            _forecast_at(path, positions[in_reach], forecaster, tail, times[in_reach]), sensor
        )
        errors = tuple(
            FORECAST_PAST if close else _too_far(int(position) + 1)
            for close, position in zip(in_reach.tolist(), positions.tolist(), strict=True)
        )
        return RequestedForecast(forecasts, errors, path, path.version)

    def _path(
        self,
        sensor_id: str,
        forecaster: ServingForecaster | None,
        tail: Tail,
        steps: int,
        sensor: Sensor | None,
    ) -> ForecastPath:
        sensor_key = sensor and (sensor.step, sensor.low, sensor.high)
        cache_key = (
            forecaster,
            sensor_key,
            len(tail.seconds),
            *tail.seconds[-1:].tolist(),
            *tail.values[-1:].tolist(),
        )
        with self._lock:
            cached = self._paths.get(sensor_id)
        if cached is not None and cached[0] == cache_key and len(cached[1].steps) >= steps:
            return cached[1]
        path = compute_path(forecaster, tail, steps, sensor=sensor)
        with self._lock:
            self._paths[sensor_id] = (cache_key, path)
            self._paths.move_to_end(sensor_id)
            while len(self._paths) > MAX_CACHED_PATHS:
                self._paths.popitem(last=False)
        return path


def _too_far(steps: int) -> Reason:
    return Reason(ReasonCode.SERVING_FORECAST_TOO_FAR, {"steps": steps, "limit": MAX_STEPS_AHEAD})


def compute_path(
    forecaster: ServingForecaster | None, tail: Tail, steps: int, *, sensor: Sensor | None = None
) -> ForecastPath:
    """The next steps after the newest reading.

    Raises:
        DataError: there is neither a forecaster nor a reading.
    """
    frame, version = forecast_frame(forecaster, tail, steps, sensor=sensor)
    seconds = epoch_seconds(frame["timestamps"])
    width = float(seconds[1] - seconds[0])
    origin = float(tail.seconds[-1]) if len(tail.seconds) else float(seconds[0]) - width
    return ForecastPath(
        origin, float(seconds[0]), width, frame[list(FORECAST_COLUMNS)].to_numpy(np.float64), version
    )


def forecast_frame(
    forecaster: ServingForecaster | None, tail: Tail, steps: int, *, sensor: Sensor | None = None
) -> tuple[pd.DataFrame, str]:
    """The next steps as a forecaster's frame, and its version or the name of the naive forecast.

    Forecasts and bounds are limited to the instrument's physical range.

    Raises:
        DataError: there is neither a forecaster nor a reading.
    """
    steps = max(steps, 2)
    if forecaster is not None:
        frame = forecaster.model.forecast(steps, history=tail.series if len(tail.seconds) else None)
        model_version = str(forecaster.version.number)
    elif len(tail.seconds):
        frame = naive_forecast(tail.series, steps, step=sensor.step if sensor else None)
        model_version = str(frame.pop("method").iloc[0])
    else:
        raise DataError(
            "no forecaster champion, and no good reading to forecast from. Run: safeplan load FILE"
        )
    frame[list(FORECAST_COLUMNS)] = clip_to_range(frame[list(FORECAST_COLUMNS)].to_numpy(np.float64), sensor)
    return frame, model_version


def clip_to_range(steps: Floats, sensor: Sensor | None) -> Floats:
    """Forecasts and bounds, clipped to the instrument's physical range."""
    if sensor is None or (sensor.low is None and sensor.high is None):
        return steps
    return np.clip(steps, sensor.low, sensor.high)


def _forecast_at(
    path: ForecastPath, positions: Floats, forecaster: ServingForecaster | None, tail: Tail, times: Floats
) -> Floats:
    """A row per time: taken from the path at its steps, computed between and before them."""
    forecasts = np.full((len(times), 3), np.nan)
    nearest = np.rint(positions)
    on_step = (np.abs(positions - nearest) < 1e-6) & (nearest >= 0)
    forecasts[on_step] = path.steps[nearest[on_step].astype(np.int64)]
    rest = ~on_step
    if not rest.any():
        return forecasts
    if forecaster is None:
        between = rest & (positions > 0)
        for column in range(3):
            forecasts[between, column] = np.interp(
                positions[between], np.arange(len(path.steps)), path.steps[:, column]
            )
        return forecasts
    history = tail.series if len(tail.seconds) else None
    frame = forecaster.model.predict(to_times(times[rest]), history=history)
    forecasts[rest] = frame[list(FORECAST_COLUMNS)].to_numpy(np.float64)
    return forecasts
