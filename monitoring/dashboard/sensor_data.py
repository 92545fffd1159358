"""Data of one sensor for the tabs, cached by what it depends on: its newest reading and version.

Loads readings, scores, forecasts and versions. Data of the whole fleet is in `dashboard_state`.
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
from training.outcomes import Outcome, OutcomeStatus
from training.registry.model_registry import Version

CACHE_TTL = timedelta(hours=1)
SPARKLINE_READINGS = 72
RANGE_READINGS = 10_000  # newest readings from which the range of a sensor is taken
MAX_ANOMALIES_SHOWN = 500  # in one chart, the newest


@dataclass(frozen=True)
class ReadingHistory:
    """One sensor's readings over a period, downsampled for display."""

    good: pd.DataFrame  # timestamp, value
    count: int  # before downsampling, bad readings included


@dataclass(frozen=True)
class ForecastView:
    """A forecast with its summary and the components of the forecaster."""

    frame: pd.DataFrame
    model_version: str
    summary: dict[str, Any]
    components: dict[str, pd.DataFrame]


@st.cache_data(ttl=CACHE_TTL, max_entries=200, show_spinner=False)
def load_history(sensor_id: str, hours: float | None, newest: datetime) -> ReadingHistory:
    """The readings of the last hours before the newest one; all for None."""
    start = None if hours is None else newest - timedelta(hours=hours)
    readings = shared_state().workspace.readings.between(sensor_id, start)
    good = readings[readings["data_quality"] == GOOD_QUALITY].reset_index(drop=True)
    return ReadingHistory(downsample(good), len(readings))


@st.cache_data(ttl=CACHE_TTL, max_entries=200, show_spinner=False)
def load_period(sensor_id: str, start: datetime, end: datetime, newest: datetime) -> pd.DataFrame:  # noqa: ARG001
    """The good readings of a period, both ends included, downsampled: `timestamp, value`."""
    readings = shared_state().workspace.readings.between(
        sensor_id, start, end + timedelta(microseconds=1), quality=GOOD_QUALITY
    )
    return downsample(readings.reset_index(drop=True))


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def sampling_step(sensor_id: str, _newest: datetime) -> timedelta | None:
    """The sampling step of a sensor, as declared or inferred from its newest readings."""
    declared = shared_state().fleet.get().sensors[sensor_id].step
    if declared is not None:
        return declared
    return infer_step(pd.DatetimeIndex(shared_state().workspace.readings.latest(sensor_id, 100)["timestamp"]))


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def load_newest_values(sensor_id: str, newest: datetime) -> list[float]:  # noqa: ARG001
    """The newest good values of a sensor, for a sparkline."""
    values: list[float] = (
        shared_state()
        .workspace.readings.latest(sensor_id, SPARKLINE_READINGS, quality=GOOD_QUALITY)["value"]
        .tolist()
    )
    return values


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def load_value_range(sensor_id: str, newest: datetime) -> float:  # noqa: ARG001
    """The range between the 5th and the 95th percentile of a sensor's newest readings."""
    values = shared_state().workspace.readings.latest(sensor_id, RANGE_READINGS, quality=GOOD_QUALITY)[
        "value"
    ]
    low, high = np.percentile(values, [5, 95]) if len(values) else (0.0, 0.0)
    return float(high - low)


@st.cache_data(ttl=CACHE_TTL, max_entries=200, show_spinner=False)
def load_forecast(sensor_id: str, steps: int, newest: datetime, version: int | None) -> ForecastView:  # noqa: ARG001
    """The forecast from the newest reading on by the serving version.

    Raises:
        DataError: there is no good reading to forecast from.
    """
    sensor = shared_state().fleet.get().sensors[sensor_id]
    computed = shared_state().batch.compute_forecast(sensor, steps)
    champion = computed.champion
    return ForecastView(
        frame=computed.frame.reset_index(drop=True),
        model_version=computed.model_version,
        summary=summary_result(sensor, computed),
        components={} if champion is None else champion.model.get_components(),
    )


@st.cache_data(ttl=CACHE_TTL, max_entries=100, show_spinner=False)
def load_scores(sensor_id: str, hours: float, newest: datetime, scored_at: datetime) -> pd.DataFrame:  # noqa: ARG001
    """The scores of the last hours, downsampled, with the newest anomalies and their stored reasons.

    Columns: `timestamp, value, anomaly_score, is_anomaly, threshold, reason, reason_data`.
    """
    start = newest - timedelta(hours=hours)
    scored = shared_state().predictions.scores(sensor_id, start)
    if scored.empty:
        return scored.assign(reason="", reason_data=None)
    times = scored["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
    anomaly_indices = np.flatnonzero(scored["is_anomaly"].to_numpy(bool))[-MAX_ANOMALIES_SHOWN:]
    shown_indices = np.union1d(
        downsample_indices(times, scored["anomaly_score"].to_numpy(float), MAX_BUCKETS), anomaly_indices
    )
    anomalies = shared_state().predictions.anomalies(start, sensor_id, limit=MAX_ANOMALIES_SHOWN)
    reasons = anomalies.drop_duplicates("timestamp")[["timestamp", "reason", "reason_data"]]
    return scored.iloc[shown_indices].merge(reasons, on="timestamp", how="left")


@st.cache_data(ttl=CACHE_TTL, max_entries=2_000, show_spinner=False)
def load_quality(sensor_id: str, newest: datetime | None) -> dict[str, Any]:  # noqa: ARG001
    """A sensor's number of readings, grade and reasons, as `safeplan sensors` shows them."""
    workspace = shared_state().workspace
    return describe_sensors(workspace, [shared_state().fleet.get().sensors[sensor_id]])[0]


@st.cache_data(ttl=timedelta(seconds=20), max_entries=200, show_spinner=False)
def load_versions(sensor_id: str, kind: Kind, aliases: str) -> list[Version]:  # noqa: ARG001
    """All versions of one model, newest first."""
    return shared_state().workspace.registry.versions(sensor_id, kind)


def get_model(sensor_id: str, kind: Kind) -> Outcome | None:
    """The state of one model; None while the registry is read for the first time, or is unreachable."""
    models = shared_state().model_outcomes()
    return None if models is None else models.get((sensor_id, kind))


def get_serving_version(sensor_id: str, kind: Kind) -> int | None:
    """The serving version, or None."""
    model = get_model(sensor_id, kind)
    return model.version if model is not None and model.status == OutcomeStatus.SERVING else None
