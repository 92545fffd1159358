"""Overview of the fleet: newest reading and score of each sensor, and the concerns that require action.

Reads in bulk, by three queries for any number of sensors. Alerts, anomalies, drift and gate decisions are
made elsewhere; here they are only collected and ranked. Layout is in `tabs.fleet`.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertState, Severity
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict
from serving.predictions.store import PredictionStore
from training.data.sensor_store import read_sensors_table
from training.data.sensors import Fleet, Sensor
from training.data.sensors_file import SensorsFile, read_sensors_file
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus
from training.reasons import Reason, load_reasons
from training.settings import conf_folder
from training.workspace import Workspace

ModelOutcomes = Mapping[tuple[str, Kind], Outcome]

READING_COLUMNS = ("timestamp", "value", "data_quality")
SCORE_COLUMNS = (
    "scored_at",
    "anomaly_score",
    "is_anomaly",
    "threshold",
    "reason",
    "reason_data",
    "historical_average",
    "historical_std",
    "model_version",
)


class ConcernTopic(StrEnum):
    """What a concern is about."""

    ALERT = "alert"
    ANOMALY = "anomaly"
    DRIFT = "drift"
    DECISION = "decision"  # a version awaits approval
    UNTRAINED = "untrained"


@dataclass(frozen=True)
class FleetView:
    """The enabled sensors, and a row for each: its newest reading and its newest score."""

    sensors: Mapping[str, Sensor]
    rows: pd.DataFrame  # by sensor_id: READING_COLUMNS, SCORE_COLUMNS

    @property
    def newest(self) -> datetime | None:
        """The time of the newest reading of all sensors."""
        last = self.rows["timestamp"].max()
        return None if pd.isna(last) else last.to_pydatetime()

    def newest_of(self, sensor_id: str) -> datetime | None:
        """The time of the newest reading of one sensor."""
        newest = self.rows["timestamp"].reindex([sensor_id]).iloc[0]
        return None if pd.isna(newest) else newest.to_pydatetime()

    @property
    def platforms(self) -> list[str]:
        """The names of the platforms, sorted."""
        return sorted({sensor.platform for sensor in self.sensors.values()})


@dataclass(frozen=True)
class Concern:
    """One thing that requires attention; `weight` is a severity from 1 (information) to 4 (critical)."""

    weight: int
    topic: ConcernTopic
    sensor_id: str
    text: str = ""  # English
    reasons: tuple[Reason, ...] = ()  # the same as data, where it is stored
    since: datetime | None = None
    kind: Kind | None = None
    alert: Alert | None = None

    @property
    def key(self) -> str:
        """Identifies the concern as long as it lasts."""
        alert_id = None if self.alert is None else self.alert.id
        return f"{self.topic}-{self.sensor_id}-{self.kind}-{alert_id}"

    @property
    def acknowledged_by(self) -> str | None:
        """Who has acknowledged its alert."""
        return None if self.alert is None else self.alert.acknowledged_by


def load_fleet_view(workspace: Workspace) -> FleetView:
    """All enabled sensors with their newest readings and scores."""
    fleet = Fleet.merge(_read_sensors_file(), read_sensors_table(workspace.engine))
    sensors = {sensor.id: sensor for sensor in fleet.match()} if fleet else {}
    scores = PredictionStore(workspace.engine).newest_scores().set_index("sensor_id")
    scores = scores.rename(columns={"timestamp": "scored_at"}).reindex(columns=list(SCORE_COLUMNS))
    rows = workspace.readings.newest()[list(READING_COLUMNS)].join(scores, how="outer")
    return FleetView(sensors, rows.reindex(pd.Index(list(sensors), name="sensor_id")))


def _read_sensors_file() -> SensorsFile:
    """The sensors file, parsed again only after a change: for 5,000 sensors that takes most of a refresh."""
    path = conf_folder(os.environ) / "sensors.yaml"
    if not path.exists():
        return read_sensors_file(path)
    stat = path.stat()
    return _parse_sensors_file(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)
def _parse_sensors_file(path: Path, _modified_ns: int, _size: int) -> SensorsFile:
    return read_sensors_file(path)


def alert_concerns(alerts: Collection[Alert], sensors: Collection[str]) -> list[Concern]:
    """The alerts that require action, in their order.

    Left out are shelved alerts, members of a flood unless critical, and acknowledged alerts that have
    returned to normal. An unacknowledged one that has returned has weight 1.
    """
    ids = {alert.id for alert in alerts}
    concerns = []
    for alert in alerts:
        returned = alert.state is AlertState.RETURNED
        covered_by_flood = alert.group_id in ids and alert.severity < Severity.CRITICAL
        returned_and_acknowledged = returned and alert.acknowledged_at is not None
        if (
            covered_by_flood
            or returned_and_acknowledged
            or alert.shelved_until
            or alert.topic.sensor_id not in sensors
        ):
            continue
        weight = 1 if returned else int(alert.severity)
        sensor_id, since = alert.topic.sensor_id, alert.began_at
        concerns.append(Concern(weight, ConcernTopic.ALERT, sensor_id, since=since, alert=alert))
    return concerns


def anomaly_concerns(view: FleetView, alerted_sensors: Collection[str]) -> list[Concern]:
    """The sensors whose newest scored reading is anomalous and that have no alert about it."""
    anomalies = view.rows[view.rows["is_anomaly"].fillna(value=False).astype(bool)]
    by_score = anomalies.sort_values("anomaly_score", ascending=False).reset_index()
    return [
        Concern(
            2,
            ConcernTopic.ANOMALY,
            row["sensor_id"],
            *stored_reason(row),
            since=row["scored_at"].to_pydatetime(),
        )
        for row in by_score.to_dict("records")
        if row["sensor_id"] not in alerted_sensors
    ]


def drift_concerns(checks: Iterable[DriftCheck], alerted_sensors: Collection[str]) -> list[Concern]:
    """The sensors whose readings have drifted and that have no alert about it, the most costly first.

    Of the checks of a sensor's two models, which read the same readings, the most costly one is shown.
    """
    drifted_checks = [
        check
        for check in checks
        if check.verdict is DriftVerdict.DRIFTED and check.sensor_id not in alerted_sensors
    ]
    by_sensor: dict[str, DriftCheck] = {}
    for check in sorted(drifted_checks, key=lambda check: -(check.cost or 0.0)):
        by_sensor.setdefault(check.sensor_id, check)
    return [
        Concern(2, ConcernTopic.DRIFT, sensor_id, check.reason, check.reasons, since=check.since)
        for sensor_id, check in by_sensor.items()
    ]


def decision_concerns(models: ModelOutcomes, sensors: Collection[str]) -> list[Concern]:
    """Versions that await approval: the gate refused them, or promotion is manual."""
    return [
        Concern(1, ConcernTopic.DECISION, sensor_id, *gate_reason(outcome), kind=kind)
        for (sensor_id, kind), outcome in models.items()
        if sensor_id in sensors and outcome.status == OutcomeStatus.WAITING
    ]


def untrained_concerns(models: ModelOutcomes, able: Mapping[Kind, Collection[str]]) -> list[Concern]:
    """Sensors with enough valid readings for a model that they lack; `kind` is None where they lack both."""
    missing: dict[str, list[Kind]] = {}
    for (sensor_id, kind), outcome in models.items():
        if outcome.status == OutcomeStatus.NO_MODEL and sensor_id in able[kind]:
            missing.setdefault(sensor_id, []).append(kind)
    return [
        Concern(1, ConcernTopic.UNTRAINED, sensor_id, kind=kinds[0] if len(kinds) == 1 else None)
        for sensor_id, kinds in missing.items()
    ]


def gate_reason(outcome: Outcome) -> tuple[str, tuple[Reason, ...]]:
    """The gate's decision on the version shown: English text, and its reasons."""
    return str(outcome.detail.get("gate") or ""), load_reasons(outcome.detail.get("gate_reasons"))


def stored_reason(row: Mapping[Any, Any]) -> tuple[str, tuple[Reason, ...]]:
    """The reason of a scored row of a frame: English text, and its reasons; missing values are empty."""
    text, data = row["reason"], row["reason_data"]
    return text if isinstance(text, str) else "", load_reasons(data if isinstance(data, str) else None)
