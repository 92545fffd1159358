"""What a view of one sensor is drawn from, kept for a while and renewed when a reading or a version arrives.

Knows what each answer depends on: that is what it is kept by. Leaves the fleet to `plant`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from monitoring.dashboard.url_state import shared_state
from serving.compat.engine_shapes import summary_result
from training.common.downsampling import MAX_BUCKETS, downsample, downsample_indices
from training.common.sampling import infer_step
from training.data.readings import GOOD_QUALITY
from training.kinds import Kind
from training.operations.overview import describe_sensors
from training.outcomes import Outcome
from training.registry.model_registry import Version

CACHE_TTL = timedelta(hours=1)
SPARKLINE_READINGS = 72  # readings in a small picture
RANGE_READINGS = 10_000  # newest readings that tell in which range a sensor moves
MAX_ANOMALIES_SHOWN = 500  # anomalies marked in one chart, the newest


@dataclass(frozen=True)
class ReadingHistory:
    """A stretch of one sensor's readings, thinned out for the eye."""

    good: pd.DataFrame  # timestamp, value
    bad: pd.DataFrame  # what the instrument or the loading marked
    count: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.good.empty


@dataclass(frozen=True)
class ForecastView:
    """A forecast with its summary and the forecaster's parts."""

    frame: pd.DataFrame
    served_by: str
    method: str
    summary: dict[str, Any]
    parts: dict[str, pd.DataFrame]
    fitted_version: int | None


@st.cache_data(ttl=CACHE_TTL, max_entries=200, show_spinner=False)
def load_history(sensor_id: str, hours: float | None, newest: datetime) -> ReadingHistory:
    """The readings of the hours up to the newest one; all of them without hours."""
    start = None if hours is None else newest - timedelta(hours=hours)
    readings = shared_state().workspace.readings.between(sensor_id, start)
    good = readings[readings["data_quality"] == GOOD_QUALITY].reset_index(drop=True)
    bad = readings[readings["data_quality"] != GOOD_QUALITY].reset_index(drop=True)
    return ReadingHistory(downsample(good), downsample(bad, buckets=100), len(readings))


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def sampling_step(sensor_id: str, _newest: datetime) -> timedelta | None:
    """The usual time between two of a sensor's readings."""
    declared = shared_state().fleet.get().sensors[sensor_id].step
    if declared is not None:
        return declared
    return infer_step(pd.DatetimeIndex(shared_state().workspace.readings.latest(sensor_id, 100)["timestamp"]))


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def load_newest_values(sensor_id: str, newest: datetime) -> list[float]:  # noqa: ARG001
    """A sensor's newest good readings, as many as a small picture shows."""
    values: list[float] = (
        shared_state()
        .workspace.readings.latest(sensor_id, SPARKLINE_READINGS, quality=GOOD_QUALITY)["value"]
        .tolist()
    )
    return values


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def load_usual_range(sensor_id: str, newest: datetime) -> float:  # noqa: ARG001
    """How far apart the 5th and the 95th percentile of a sensor's newest readings are."""
    values = shared_state().workspace.readings.latest(sensor_id, RANGE_READINGS, quality=GOOD_QUALITY)[
        "value"
    ]
    low, high = np.percentile(values, [5, 95]) if len(values) else (0.0, 0.0)
    return float(high - low)


@st.cache_data(ttl=CACHE_TTL, max_entries=200, show_spinner=False)
def load_forecast(sensor_id: str, steps: int, newest: datetime, version: int | None) -> ForecastView:  # noqa: ARG001
    """What comes next; kept by the newest reading and by the version that serves.

    Raises:
        DataError: there is no good reading to forecast from.
    """
    sensor = shared_state().fleet.get().sensors[sensor_id]
    computed = shared_state().batch.compute_forecast(sensor, steps)
    champion = computed.champion
    return ForecastView(
        frame=computed.frame.reset_index(drop=True),
        served_by=computed.model_version,
        method=computed.method,
        summary=summary_result(sensor, computed),
        parts={} if champion is None else champion.model.get_components(),
        fitted_version=None if champion is None else champion.version.number,
    )


@st.cache_data(ttl=CACHE_TTL, max_entries=100, show_spinner=False)
def load_scores(sensor_id: str, hours: float, newest: datetime, scored_at: datetime) -> pd.DataFrame:  # noqa: ARG001
    """The scores of the hours up to the newest reading, thinned out, every recent anomaly among them."""
    start = newest - timedelta(hours=hours)
    scored = shared_state().predictions.scores(sensor_id, start)
    if scored.empty:
        return scored.assign(reason="")
    times = scored["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
    anomaly_indices = np.flatnonzero(scored["is_anomaly"].to_numpy(bool))[-MAX_ANOMALIES_SHOWN:]
    shown_indices = np.union1d(
        downsample_indices(times, scored["anomaly_score"].to_numpy(float), MAX_BUCKETS), anomaly_indices
    )
    anomalies = shared_state().predictions.anomalies(start, sensor_id, limit=MAX_ANOMALIES_SHOWN)
    reasons = anomalies.drop_duplicates("timestamp").set_index("timestamp")["reason"]
    return (
        scored.iloc[shown_indices]
        .assign(reason=lambda rows: rows["timestamp"].map(reasons))
        .reset_index(drop=True)
    )


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def load_quality(sensor_id: str, newest: datetime | None) -> dict[str, Any]:  # noqa: ARG001
    """A sensor's readings, grade and reasons, as `safeplan sensors` tells them."""
    workspace = shared_state().workspace
    return describe_sensors(workspace, [shared_state().fleet.get().sensors[sensor_id]])[0]


@st.cache_data(ttl=timedelta(seconds=20), max_entries=200, show_spinner=False)
def load_versions(sensor_id: str, kind: Kind, aliases: str) -> list[Version]:  # noqa: ARG001
    """All versions of one model, newest first; kept by where its aliases point."""
    return shared_state().workspace.registry.versions(sensor_id, kind)


def get_model(sensor_id: str, kind: Kind) -> Outcome | None:
    """What is known of one model; None while the registry is asked for the first time, or is away."""
    models = shared_state().models.get_if_loaded()
    return None if models is None else models.get((sensor_id, kind))


def get_serving_version(sensor_id: str, kind: Kind) -> int | None:
    """The version that serves, or None."""
    model = get_model(sensor_id, kind)
    return model.version if model is not None and model.status == "serving" else None
