"""A plant whose readings and scores are written down, minute by minute, and watched as if it were live.

Knows how scores and forecasts come into the tables without a model. What the watch makes of them is real.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from monitoring.alerts.alert import Alert
from monitoring.watch.operator_actions import alert_history, list_alerts
from monitoring.watch.watcher import watch_fleet
from serving.predictions.store import PredictionStore
from tests.support.workspaces import parse_time
from training.data.sensor_store import add_missing_sensors
from training.outcomes import Outcome
from training.workspace import Workspace

NOON = parse_time("2026-03-01T12:00")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass
class MonitoredFleet:
    """One workspace with sensors of a minute's step."""

    workspace: Workspace
    home: Path

    def describe(self, sensors: Mapping[str, Mapping[str, Any]]) -> None:
        """What is known about sensors; and they speak for a day before noon."""
        (self.home / "conf").mkdir(exist_ok=True)
        described = yaml.safe_dump({"sensors": {name: dict(known) for name, known in sensors.items()}})
        (self.home / "conf" / "sensors.yaml").write_text(described, encoding="utf-8")
        self.reload_sensors()
        for name in sensors:
            self.read(name, -1440, noisy_values(1440, seed=len(name)))

    def write_rules(self, **sections: Mapping[str, Any]) -> None:
        """Sections of conf/monitoring.yaml."""
        (self.home / "conf").mkdir(exist_ok=True)
        path = self.home / "conf" / "monitoring.yaml"
        path.write_text(yaml.safe_dump({name: dict(said) for name, said in sections.items()}), "utf-8")

    def reload_sensors(self) -> None:
        """Read again what is known about sensors."""
        vars(self.workspace).pop("fleet", None)

    def read(self, name: str, start: float, values: Sequence[float], *, quality: int = 0) -> None:
        """Readings arrive, one a minute from so many minutes after noon."""
        times = [minutes_after_noon(start + place) for place in range(len(values))]
        frame = pd.DataFrame({"sensor_id": name, "timestamp": times, "value": np.asarray(values, float)})
        self.workspace.readings.ingest(frame.assign(data_quality=quality))
        add_missing_sensors(self.workspace.engine, [name])
        self.reload_sensors()

    def score(self, name: str, start: float, scores: Sequence[float], **more: Any) -> None:
        """Scores of readings from so many minutes after noon, one a minute."""
        values = {
            "sensor_id": name,
            "timestamp": [minutes_after_noon(start + place) for place in range(len(scores))],
            "value": 20.0,
            "anomaly_score": np.asarray(scores, float),
            "is_anomaly": np.asarray(scores, float) >= 0.5,
            "threshold": 0.5,
            "historical_average": 10.0,
            "reason": "odd",
            "model_version": "1",
        }
        frame = pd.DataFrame({**values, **more})
        PredictionStore(self.workspace.engine).save_scores(
            frame, made_at=minutes_after_noon(start + len(scores))
        )

    def forecast(self, name: str, origin: float, expected: Sequence[float], *, band: float = 1.0) -> None:
        """A forecast from so many minutes after noon, a step an hour."""
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
        """Look at the fleet so many minutes after noon."""
        return watch_fleet(self.workspace, self.workspace.fleet.match(names), now=minutes_after_noon(until))

    def watch_each(self, start: int, until: int, every: int = 1) -> None:
        """Look at it again and again."""
        for minute in range(start, until + 1, every):
            self.watch(minute)

    def alerts(self, name: str | None = None, *, alive: bool | None = None) -> list[Alert]:
        """Its alerts, in the order they were opened."""
        matches = list_alerts(self.workspace, None if name is None else [name], alive=alive)
        return sorted(matches, key=lambda alert: alert.id or 0)

    def alert_history(self, alert: Alert) -> list[tuple[str, float]]:
        """What happened to an alert: the change and how many minutes after noon."""
        assert alert.id is not None
        return [(e.change.value, (e.at - NOON) / MINUTE) for e in alert_history(self.workspace, alert.id)]


def minutes_after_noon(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + minutes * MINUTE


def noisy_values(count: int, *, seed: int = 0) -> np.ndarray:
    """Readings around ten that now and then repeat themselves."""
    return np.random.default_rng(seed).normal(10, 1, count).round(1)
