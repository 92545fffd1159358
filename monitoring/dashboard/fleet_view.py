"""The fleet at a glance: what each sensor sent and what was said of it last, and what needs a human now.

Knows the bulk queries that a large fleet needs, and how urgent one thing is beside another. Decides nothing:
what is odd, drifted or refused was decided where it was found.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import pandas as pd

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertState, Severity
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict
from serving.predictions.store import PredictionStore
from training.data.sensors import Fleet, Sensor
from training.kinds import Kind
from training.outcomes import Outcome
from training.workspace import Workspace

ModelOutcomes = Mapping[tuple[str, Kind], Outcome]

READING_COLUMNS = ("timestamp", "value", "data_quality")
SCORE_COLUMNS = (
    "scored_at",
    "anomaly_score",
    "is_anomaly",
    "threshold",
    "reason",
    "historical_average",
    "historical_std",
    "model_version",
)


class ConcernTopic(StrEnum):
    """What a concern is about, and so where it is looked at."""

    ALERT = "alert"
    ANOMALY = "odd"
    DRIFT = "drift"
    DECISION = "decision"  # a version waits for a human
    UNTRAINED = "untrained"


@dataclass(frozen=True)
class FleetView:
    """The enabled sensors, and a row for each of them: what it sent and what was said of it last."""

    sensors: Mapping[str, Sensor]
    rows: pd.DataFrame  # by sensor_id: READ, then SAID

    @property
    def newest(self) -> datetime | None:
        """The newest reading of all."""
        last = self.rows["timestamp"].max()
        return None if pd.isna(last) else last.to_pydatetime()

    def newest_of(self, sensor_id: str) -> datetime | None:
        """The newest reading of one sensor."""
        newest = self.rows["timestamp"].reindex([sensor_id]).iloc[0]
        return None if pd.isna(newest) else newest.to_pydatetime()

    @property
    def platforms(self) -> list[str]:
        """Their names, in order."""
        return sorted({sensor.platform for sensor in self.sensors.values()})


@dataclass(frozen=True)
class Concern:
    """One thing that a human should look at. `weight` is 1 for your information to 4 critical."""

    weight: int
    topic: ConcernTopic
    sensor_id: str
    text: str
    since: datetime | None = None
    kind: Kind | None = None
    alert: Alert | None = None

    @property
    def seen_by(self) -> str | None:
        """Who has acknowledged it."""
        return None if self.alert is None else self.alert.acknowledged_by


def load_fleet_view(workspace: Workspace) -> FleetView:
    """All enabled sensors, by three queries whatever their number."""
    fleet = Fleet.of(workspace.engine)
    sensors = {sensor.id: sensor for sensor in fleet.match()} if fleet else {}
    scores = PredictionStore(workspace.engine).newest_scores().set_index("sensor_id")
    scores = scores.rename(columns={"timestamp": "scored_at"})[list(SCORE_COLUMNS)]
    rows = workspace.readings.newest()[list(READING_COLUMNS)].join(scores, how="outer")
    return FleetView(sensors, rows.reindex(pd.Index(list(sensors), name="sensor_id")))


def alert_concerns(alerts: Collection[Alert], sensors: Collection[str]) -> list[Concern]:
    """The alerts that somebody should look at, in their order.

    Not those on the shelf, those that a flood stands for unless they are critical, and those that are back to
    normal and were seen. One that is back and was not seen weighs little.
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
        reason, sensor_id = alert.evidence.reason, alert.topic.sensor_id
        concerns.append(Concern(weight, ConcernTopic.ALERT, sensor_id, reason, alert.began_at, alert=alert))
    return concerns


def anomaly_concerns(view: FleetView, alerted_sensors: Collection[str]) -> list[Concern]:
    """The sensors whose newest scored reading is odd, but for those that are `known` by an alert."""
    anomalies = view.rows[view.rows["is_anomaly"].fillna(value=False).astype(bool)]
    by_score = anomalies.sort_values("anomaly_score", ascending=False).reset_index()
    return [
        Concern(
            2, ConcernTopic.ANOMALY, row["sensor_id"], row["reason"] or "", row["scored_at"].to_pydatetime()
        )
        for row in by_score.to_dict("records")
        if row["sensor_id"] not in alerted_sensors
    ]


def drift_concerns(checks: Iterable[DriftCheck], alerted_sensors: Collection[str]) -> list[Concern]:
    """The sensors whose readings are no longer what a model learned from, the costliest first."""
    drifted_checks = [
        check
        for check in checks
        if check.verdict is DriftVerdict.DRIFTED and check.sensor_id not in alerted_sensors
    ]
    return [
        Concern(2, ConcernTopic.DRIFT, check.sensor_id, check.reason, check.since)
        for check in sorted(drifted_checks, key=lambda check: -(check.cost or 0.0))
    ]


def decision_concerns(models: ModelOutcomes, sensors: Collection[str]) -> list[Concern]:
    """Versions that wait for a human: the gate refused them, or was not asked."""
    return [
        Concern(1, ConcernTopic.DECISION, sensor_id, str(outcome.detail.get("gate", "")), kind=kind)
        for (sensor_id, kind), outcome in models.items()
        if sensor_id in sensors and outcome.status == "waiting"
    ]


def untrained_concerns(models: ModelOutcomes, able: Mapping[Kind, Collection[str]]) -> list[Concern]:
    """Sensors without a model that they have enough good readings for; without a kind where it is both."""
    missing: dict[str, list[Kind]] = {}
    for (sensor_id, kind), outcome in models.items():
        if outcome.status == "no model" and sensor_id in able[kind]:
            missing.setdefault(sensor_id, []).append(kind)
    return [
        Concern(1, ConcernTopic.UNTRAINED, sensor_id, "", kind=kinds[0] if len(kinds) == 1 else None)
        for sensor_id, kinds in missing.items()
    ]
