"""What MLEngine gives back: outcomes and frames in the original's dictionaries.

Knows the original's keys and units. Decides nothing and looks nothing up.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from serving.batch import Foreseen
from training.data.sensors import Sensor
from training.forecasting.summary import summary_of
from training.forecasting.time_grid import grid_of
from training.kinds import Kind
from training.outcomes import Outcome

Answer = dict[str, Any]

FORECAST = ("forecasted_values", "lower_bound", "upper_bound", "trend")
MEASURES = ("mape", "rmse", "mae", "mase", "coverage", "skill")
SLOTS_A_READING = 4  # of the grid, at most, however long the gaps
# What the original called parts of the summary.
SUMMARY = {
    "trend_direction": "direction",
    "last_historical_value": "current_value",
    "average_forecast": "mean",
    "min_forecast": "min",
    "max_forecast": "max",
}


def anomaly_of(found: Outcome, newest: pd.Series) -> Answer:
    """A detection: what the newest reading is, and what was usual before it."""
    detail = found.detail
    mean = float(newest.mean())
    return {
        "sensor_id": found.sensor_id,
        "timestamp": pd.Timestamp(detail["timestamp"]).to_pydatetime(),
        "value": detail["value"],
        "is_anomaly": detail["is_anomaly"],
        "anomaly_score": found.metrics["score"],
        "historical_average": detail["historical_average"],
        "historical_std": detail["historical_std"],
        "recent_trend": "increasing" if detail["value"] > mean else "decreasing",
        "threshold": found.metrics["threshold"],
        "severity": detail["severity"],
        "reason": detail["reason"],
        "model_version": found.version,
    }


def forecast_of(sensor: Sensor, found: Foreseen, metrics: Mapping[str, float], *, now: datetime) -> Answer:
    """A forecast: lists of equal length, how good its forecaster was on held-out readings, and a summary.

    MAPE is in percent. A naive forecast has no grades: its measures are None.
    """
    measured = {name: metrics.get(name) for name in MEASURES}
    return {
        "sensor_id": sensor.id,
        "forecast": lists_of(found.frame),
        "metrics": measured,
        "summary": summary(sensor, found) | {"metrics": measured},
        "timestamp": now,
        "model_version": found.said_by,
    }


def lists_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """A forecast's columns as lists; a naive forecast's trend is the forecast itself."""
    whole = frame if "trend" in frame else frame.assign(trend=frame["forecasted_values"])
    times = whole["timestamps"].dt.to_pydatetime().tolist()
    return {"timestamps": times, **{name: whole[name].tolist() for name in FORECAST}}


def summary(sensor: Sensor, found: Foreseen) -> Answer:
    """Direction, volatility, extremes and change of a forecast, under our names and the original's."""
    frame = (
        found.frame if "trend" in found.frame else found.frame.assign(trend=found.frame["forecasted_values"])
    )
    state = grid_of(
        pd.DatetimeIndex(found.recent.index),
        found.recent.to_numpy(),
        step=sensor.step,
        slots=max(2, SLOTS_A_READING * len(found.recent)),
    )
    skill = 0.0 if found.champion is None else found.champion.model.skill
    said = summary_of(frame, state, method=found.method, skill=skill)
    return said | {theirs: said[ours] for theirs, ours in SUMMARY.items()}


def retrained(outcomes: Sequence[Outcome], sensors: int, *, now: datetime) -> Answer:
    """A retraining: how many sensors have a new or an unchanged version, and why others have none."""
    good = [outcome for outcome in outcomes if not outcome.failed]
    return {
        "anomaly_trained": sum(outcome.kind is Kind.DETECTOR for outcome in good),
        "forecaster_trained": sum(outcome.kind is Kind.FORECASTER for outcome in good),
        "total_sensors": sensors,
        "timestamp": now,
        "failed": [f"{o.sensor_id} {o.kind}: {o.error}" for o in outcomes if o.failed],
    }


def status_of(serving: Iterable[tuple[str, Kind]], sensors: int, *, now: datetime) -> Answer:
    """How many sensors are served by how many models."""
    kinds = [kind for _, kind in serving]
    detectors, forecasters = kinds.count(Kind.DETECTOR), kinds.count(Kind.FORECASTER)
    return {
        "anomaly_detectors_trained": detectors,
        "forecasters_trained": forecasters,
        "total_sensors": sensors,
        "coverage_anomaly": _coverage(detectors, sensors),
        "coverage_forecaster": _coverage(forecasters, sensors),
        "timestamp": now,
    }


def _coverage(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "0%"
