"""A fleet with readings, scores and forecasts written by tests, minute by minute, and the real watch over it.

Scores and forecasts are stored without a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sqlalchemy import Row, select

from monitoring.alerts.alert import Alert
from monitoring.alerts.life_cycle import AlertTiming
from monitoring.watch.operator_actions import alert_history, list_alerts
from monitoring.watch.watcher import watch_fleet
from serving.predictions.store import PredictionStore
from tests.support.workspaces import parse_time
from training.data.sensor_store import add_missing_sensors
from training.outcomes import Outcome
from training.storage.alert_tables import alert_changes, alerts, outbox
from training.storage.database import labels, reading
from training.workspace import Workspace

NOON = parse_time("2026-03-01T12:00")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ALERT_TIMING = AlertTiming(
    hold={2: 5 * MINUTE, 3: 5 * MINUTE, 4: timedelta(0)},
    return_after=5 * MINUTE,
    close_after=HOUR,
    forget_after=24 * HOUR,
    escalate_after={2: 8 * HOUR, 3: HOUR, 4: 15 * MINUTE},
    escalations=2,
)


@dataclass
class MonitoredFleet:
    """One workspace with sensors that send a reading per minute."""

    workspace: Workspace
    home: Path

    def describe(self, sensors: Mapping[str, Mapping[str, Any]]) -> None:
        """Write sensors.yaml, and a day of readings before noon."""
        (self.home / "conf").mkdir(exist_ok=True)
        content = yaml.safe_dump({"sensors": {name: dict(fields) for name, fields in sensors.items()}})
        (self.home / "conf" / "sensors.yaml").write_text(content, encoding="utf-8")
        self.reload_sensors()
        for name in sensors:
            self.read(name, -1440, noisy_values(1440, seed=len(name)))

    def write_rules(self, **sections: Mapping[str, Any]) -> None:
        """Write sections of conf/monitoring.yaml."""
        (self.home / "conf").mkdir(exist_ok=True)
        path = self.home / "conf" / "monitoring.yaml"
        path.write_text(yaml.safe_dump({name: dict(fields) for name, fields in sections.items()}), "utf-8")

    def reload_sensors(self) -> None:
        """Read sensors.yaml and the table of sensors again."""
        vars(self.workspace).pop("fleet", None)

    def read(self, name: str, start: float, values: Sequence[float], *, quality: int = 0) -> None:
        """Store readings, one per minute; `start` in minutes after noon."""
        times = [minutes_after_noon(start + place) for place in range(len(values))]
        frame = pd.DataFrame({"sensor_id": name, "timestamp": times, "value": np.asarray(values, float)})
        self.workspace.readings.ingest(frame.assign(data_quality=quality))
        add_missing_sensors(self.workspace.engine, [name])
        self.reload_sensors()

    def score(self, name: str, start: float, scores: Sequence[float], **more: Any) -> None:
        """Store scores of readings, one per minute; `start` in minutes after noon."""
        values = {
            "sensor_id": name,
            "timestamp": [minutes_after_noon(start + place) for place in range(len(scores))],
            "value": 20.0,
            "anomaly_score": np.asarray(scores, float),
            "is_anomaly": np.asarray(scores, float) >= 0.5,
            "threshold": 0.5,
            "historical_average": 10.0,
            "reason": "unusual",
            "model_version": "1",
        }
        frame = pd.DataFrame({**values, **more})
        PredictionStore(self.workspace.engine).save_scores(
            frame, made_at=minutes_after_noon(start + len(scores))
        )

    def forecast(self, name: str, origin: float, expected: Sequence[float], *, band: float = 1.0) -> None:
        """Store a forecast with a step of an hour; `origin` in minutes after noon."""
        middle = np.asarray(expected, float)
        frame = pd.DataFrame(
            {
                "sensor_id": name,
                "origin": minutes_after_noon(origin),
                "timestamp": [minutes_after_noon(origin) + (step + 1) * HOUR for step in range(len(middle))],
                "predicted_value": middle,
                "lower_bound": middle - band,
                "upper_bound": middle + band,
                "model_version": "1",
            }
        )
        PredictionStore(self.workspace.engine).save_forecasts(frame, made_at=minutes_after_noon(origin))

    def watch(self, until: float, *names: str) -> list[Outcome]:
        """Watch the fleet; `until` in minutes after noon."""
        return watch_fleet(self.workspace, self.workspace.fleet.match(names), now=minutes_after_noon(until))

    def watch_each(self, start: int, until: int, every: int = 1) -> None:
        """Watch the fleet repeatedly, every few minutes."""
        for minute in range(start, until + 1, every):
            self.watch(minute)

    def alerts(self, name: str | None = None, *, alive: bool | None = None) -> list[Alert]:
        """The alerts in the order they were opened."""
        matches = list_alerts(self.workspace, None if name is None else [name], alive=alive)
        return sorted(matches, key=lambda alert: alert.id or 0)

    def alert_history(self, alert: Alert) -> list[tuple[str, float]]:
        """The changes of an alert with their minutes after noon."""
        assert alert.id is not None
        return [(e.change.value, (e.at - NOON) / MINUTE) for e in alert_history(self.workspace, alert.id)]


def minutes_after_noon(minutes: float) -> datetime:
    """The time this many minutes after noon."""
    return NOON + minutes * MINUTE


def noisy_values(count: int, *, seed: int = 0) -> np.ndarray:
    """Readings around ten in steps of 0.1, so that some repeat."""
    return np.random.default_rng(seed).normal(10, 1, count).round(1)


def stored_state(workspace: Workspace) -> list[Sequence[Row[Any]]]:
    """The rows of alerts, changes, messages and labels."""
    label_columns = (labels.c.sensor_id, labels.c.start, labels.c.end)
    tables = (alerts, alert_changes, outbox)
    queries = [select(table).order_by(*table.primary_key.columns) for table in tables]
    with reading(workspace.engine) as connection:
        return [connection.execute(query).all() for query in (*queries, select(*label_columns))]


def waiting_messages(workspace: Workspace) -> Sequence[Row[Any]]:
    """The messages that were not sent."""
    with reading(workspace.engine) as connection:
        return connection.execute(select(outbox.c.id).where(outbox.c.sent_at.is_(None))).all()
