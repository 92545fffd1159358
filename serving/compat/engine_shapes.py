"""Convert outcomes and frames to the dictionaries that the original MLEngine returned.

Contains the original's keys and units. Reads nothing from database or registry; that is `engine`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from serving.batch import SensorForecast
from serving.scoring.naive_fallback import MAX_SLOTS_PER_READING
from training.data.sensors import Sensor
from training.forecasting.summary import summarize_forecast
from training.forecasting.time_grid import build_grid
from training.kinds import Kind
from training.outcomes import Outcome

ResultDict = dict[str, Any]

FORECAST_COLUMNS = ("forecasted_values", "lower_bound", "upper_bound", "trend")
METRIC_NAMES = ("mape", "rmse", "mae", "mase", "coverage", "skill")
# The original's names of entries of the summary.
SUMMARY_NAMES = {
    "trend_direction": "direction",
    "last_historical_value": "current_value",
    "average_forecast": "mean",
    "min_forecast": "min",
    "max_forecast": "max",
}


def detection_result(outcome: Outcome, newest: pd.Series) -> ResultDict:
    """A detection: the newest reading, its score and its history."""
    detail = outcome.detail
    mean = float(newest.mean())
    return {
        "sensor_id": outcome.sensor_id,
        "timestamp": pd.Timestamp(detail["timestamp"]).to_pydatetime(),
        "value": detail["value"],
        "is_anomaly": detail["is_anomaly"],
        "anomaly_score": outcome.metrics["score"],
        "historical_average": detail["historical_average"],
        "historical_std": detail["historical_std"],
        "recent_trend": "increasing" if detail["value"] > mean else "decreasing",
        "threshold": outcome.metrics["threshold"],
        "severity": detail["severity"],
        "reason": detail["reason"],
        "model_version": outcome.version,
    }


def forecast_result(
    sensor: Sensor, forecast: SensorForecast, metrics: Mapping[str, float], *, now: datetime
) -> ResultDict:
    """A forecast: lists of equal length, the forecaster's holdout metrics, and a summary.

    MAPE is in percent. The metrics of a naive forecast are None.
    """
    measured = {name: metrics.get(name) for name in METRIC_NAMES}
    return {
        "sensor_id": sensor.id,
        "forecast": forecast_lists(forecast.frame),
        "metrics": measured,
        "summary": summary_result(sensor, forecast) | {"metrics": measured},
        "timestamp": now,
        "model_version": forecast.model_version,
    }


def forecast_lists(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """A forecast's columns as lists."""
    complete = _with_trend(frame)
    times = complete["timestamps"].dt.to_pydatetime().tolist()
    return {"timestamps": times, **{name: complete[name].tolist() for name in FORECAST_COLUMNS}}


def _with_trend(frame: pd.DataFrame) -> pd.DataFrame:
    """A forecast with its trend; that of a naive forecast is the forecast itself."""
    return frame if "trend" in frame else frame.assign(trend=frame["forecasted_values"])


def summary_result(sensor: Sensor, forecast: SensorForecast) -> ResultDict:
    """Direction, volatility, extremes and change of a forecast, under our names and the original's."""
    state = build_grid(
        pd.DatetimeIndex(forecast.recent.index),
        forecast.recent.to_numpy(),
        step=sensor.step,
        slots=max(2, MAX_SLOTS_PER_READING * len(forecast.recent)),
    )
    skill = 0.0 if forecast.champion is None else forecast.champion.model.skill
    summary = summarize_forecast(_with_trend(forecast.frame), state, method=forecast.method, skill=skill)
    return summary | {theirs: summary[ours] for theirs, ours in SUMMARY_NAMES.items()}


def retraining_result(outcomes: Sequence[Outcome], sensors: int, *, now: datetime) -> ResultDict:
    """A retraining: the numbers of sensors with a new or unchanged version, and the errors of the others."""
    succeeded = [outcome.kind for outcome in outcomes if not outcome.failed]
    return {
        "anomaly_trained": succeeded.count(Kind.DETECTOR),
        "forecaster_trained": succeeded.count(Kind.FORECASTER),
        "total_sensors": sensors,
        "timestamp": now,
        "failed": [f"{o.sensor_id} {o.kind}: {o.error}" for o in outcomes if o.failed],
    }


def status_result(serving: Iterable[tuple[str, Kind]], sensors: int, *, now: datetime) -> ResultDict:
    """The numbers of sensors and of champions of each kind."""
    kinds = [kind for _, kind in serving]
    detectors, forecasters = kinds.count(Kind.DETECTOR), kinds.count(Kind.FORECASTER)
    return {
        "anomaly_detectors_trained": detectors,
        "forecasters_trained": forecasters,
        "total_sensors": sensors,
        "coverage_anomaly": _format_coverage(detectors, sensors),
        "coverage_forecaster": _format_coverage(forecasters, sensors),
        "timestamp": now,
    }


def _format_coverage(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "0%"
