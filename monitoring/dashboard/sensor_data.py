"""What a view of one sensor is drawn from, kept for a while and renewed when a reading or a version arrives.

Knows what each answer depends on: that is what it is kept by. Leaves the fleet to `plant`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from monitoring.dashboard.url_state import plant
from serving.compat.engine_shapes import summary_result
from training.common.downsampling import STRETCHES, for_the_eye, kept_places
from training.data.readings import GOOD_QUALITY
from training.kinds import Kind
from training.operations.overview import describe_sensors
from training.outcomes import Outcome
from training.registry.model_registry import Version

LASTS = timedelta(hours=1)
SMALL = 72  # readings in a small picture
RANGED = 10_000  # newest readings that tell in which range a sensor moves
ODD_SHOWN = 500  # anomalies marked in one chart, the newest


@dataclass(frozen=True)
class History:
    """A stretch of one sensor's readings, thinned out for the eye."""

    good: pd.DataFrame  # timestamp, value
    bad: pd.DataFrame  # what the instrument or the loading marked
    count: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.good.empty


@dataclass(frozen=True)
class Outlook:
    """A forecast with its summary and the forecaster's parts."""

    frame: pd.DataFrame
    said_by: str
    method: str
    summary: dict[str, Any]
    parts: dict[str, pd.DataFrame]
    fitted_version: int | None


@st.cache_data(ttl=LASTS, max_entries=200, show_spinner=False)
def history(sensor_id: str, hours: float | None, newest: datetime) -> History:
    """The readings of the hours up to the newest one; all of them without hours."""
    start = None if hours is None else newest - timedelta(hours=hours)
    found = plant().workspace.readings.between(sensor_id, start)
    good = found[found["data_quality"] == GOOD_QUALITY].reset_index(drop=True)
    bad = found[found["data_quality"] != GOOD_QUALITY].reset_index(drop=True)
    return History(for_the_eye(good), for_the_eye(bad, stretches=100), len(found))


@st.cache_data(ttl=LASTS, max_entries=2_000, show_spinner=False)
def step_of(sensor_id: str, _newest: datetime) -> timedelta | None:
    """The usual time between two of a sensor's readings."""
    declared = plant().fleet.look().sensors[sensor_id].step
    if declared is not None:
        return declared
    times = plant().workspace.readings.latest(sensor_id, 100)["timestamp"]
    seconds = times.diff().dt.total_seconds().median()
    return timedelta(seconds=seconds) if seconds > 0 else None


@st.cache_data(ttl=LASTS, max_entries=2_000, show_spinner=False)
def newest_values(sensor_id: str, newest: datetime) -> list[float]:  # noqa: ARG001
    """A sensor's newest good readings, as many as a small picture shows."""
    values: list[float] = (
        plant().workspace.readings.latest(sensor_id, SMALL, quality=GOOD_QUALITY)["value"].tolist()
    )
    return values


@st.cache_data(ttl=LASTS, max_entries=2_000, show_spinner=False)
def usual_range(sensor_id: str, newest: datetime) -> float:  # noqa: ARG001
    """How far apart the 5th and the 95th percentile of a sensor's newest readings are."""
    values = plant().workspace.readings.latest(sensor_id, RANGED, quality=GOOD_QUALITY)["value"]
    low, high = np.percentile(values, [5, 95]) if len(values) else (0.0, 0.0)
    return float(high - low)


@st.cache_data(ttl=LASTS, max_entries=200, show_spinner=False)
def outlook(sensor_id: str, steps: int, newest: datetime, version: int | None) -> Outlook:  # noqa: ARG001
    """What comes next; kept by the newest reading and by the version that serves.

    Raises:
        DataError: there is no good reading to forecast from.
    """
    sensor = plant().fleet.look().sensors[sensor_id]
    found = plant().batch.compute_forecast(sensor, steps)
    champion = found.champion
    return Outlook(
        frame=found.frame.reset_index(drop=True),
        said_by=found.model_version,
        method=found.method,
        summary=summary_result(sensor, found),
        parts={} if champion is None else champion.model.get_components(),
        fitted_version=None if champion is None else champion.version.number,
    )


@st.cache_data(ttl=LASTS, max_entries=100, show_spinner=False)
def scores(sensor_id: str, hours: float, newest: datetime, scored_at: datetime) -> pd.DataFrame:  # noqa: ARG001
    """The scores of the hours up to the newest reading, thinned out, every recent anomaly among them."""
    start = newest - timedelta(hours=hours)
    found = plant().predictions.scores(sensor_id, start)
    if found.empty:
        return found.assign(reason="")
    times = found["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
    odd = np.flatnonzero(found["is_anomaly"].to_numpy(bool))[-ODD_SHOWN:]
    kept = np.union1d(kept_places(times, found["anomaly_score"].to_numpy(float), STRETCHES), odd)
    why = plant().predictions.anomalies(start, sensor_id, limit=ODD_SHOWN)
    reasons = why.drop_duplicates("timestamp").set_index("timestamp")["reason"]
    return found.iloc[kept].assign(reason=lambda rows: rows["timestamp"].map(reasons)).reset_index(drop=True)


@st.cache_data(ttl=LASTS, max_entries=2_000, show_spinner=False)
def quality(sensor_id: str, newest: datetime | None) -> dict[str, Any]:  # noqa: ARG001
    """A sensor's readings, grade and reasons, as `safeplan sensors` tells them."""
    workspace = plant().workspace
    return describe_sensors(workspace, [plant().fleet.look().sensors[sensor_id]])[0]


@st.cache_data(ttl=timedelta(seconds=20), max_entries=200, show_spinner=False)
def versions(sensor_id: str, kind: Kind, aliases: str) -> list[Version]:  # noqa: ARG001
    """All versions of one model, newest first; kept by where its aliases point."""
    return plant().workspace.registry.versions(sensor_id, kind)


def model_of(sensor_id: str, kind: Kind) -> Outcome | None:
    """What is known of one model; None while the registry is asked for the first time, or is away."""
    models = plant().models.peek()
    return None if models is None else models.get((sensor_id, kind))


def serving_version(sensor_id: str, kind: Kind) -> int | None:
    """The version that serves, or None."""
    found = model_of(sensor_id, kind)
    return found.version if found is not None and found.status == "serving" else None
