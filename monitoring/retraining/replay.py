"""Replay the past with any detector version: its scores, the alerts it raises, the confirmed events it finds.

Runs the code that scores and alerts live, on stored readings, and stores nothing. Two versions are compared
by `challenger_promotion`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from monitoring.alerts.alert import Alert, AlertTopic, Condition, PendingAlert, Transition
from monitoring.alerts.kinds import AlertChange, AlertType
from monitoring.alerts.life_cycle import advance
from monitoring.alerts.maintenance import load_maintenance_windows
from monitoring.alerts.rules import AlertRules
from monitoring.watch.anomaly_conditions import ScoredReading, SeverityThresholds
from monitoring.watch.conditions import collect_conditions, initial_memory
from monitoring.watch.measurements import Reading
from monitoring.watch.new_data import NewData
from monitoring.watch.thresholds import load_thresholds
from monitoring.watch.watcher import UNKNOWN_STEP
from serving.batch import score_readings
from serving.models.acceptance import ModelLoader
from serving.predictions.store import PredictionStore
from serving.recent_readings import to_tail
from serving.vectorized.packed_detector import PackedDetector
from serving.vectorized.runtime import ScoringRuntime
from training.anomaly.profile_detector import ProfileDetector
from training.data.readings import GOOD_QUALITY
from training.data.sensors import Sensor
from training.errors import ConfigurationError, DataError
from training.kinds import Kind
from training.pipeline.plan import ForecasterSettings
from training.reasons import load_reasons
from training.registry.model_registry import CHALLENGER, Version
from training.settings import load_settings
from training.storage.database import reading
from training.storage.labels import Label
from training.workspace import Workspace

Interval = tuple[datetime, datetime]


@dataclass(frozen=True)
class VersionReplay:
    """Scores and alerts of one version over a period of the past."""

    version: int
    aliases: tuple[str, ...]
    scores: pd.DataFrame  # timestamp, value, anomaly_score, is_anomaly, reason
    alerts: tuple[Alert, ...]  # anomaly alerts in order of time
    alert_count: int  # how often they opened or repeated
    confirmed: tuple[Label, ...]  # confirmed events of the period
    caught: tuple[Label, ...]  # those during which one of its alerts was open
    dismissed: tuple[Label, ...]  # dismissed events of the period
    raised: tuple[Label, ...]  # those for which it raises an alert again
    scored_live: int  # readings that this version scored live
    max_score_difference: float | None  # between live and replayed scores

    def as_dict(self, *, scores: bool = True) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            **self.summary(),
            "alerts": [
                {
                    "began_at": alert.began_at,
                    "opened_at": alert.opened_at,
                    "last_at": alert.last_at,
                    "severity": int(alert.severity),
                    "repeats": alert.repeats,
                    "score": alert.evidence.score,
                    "reason": alert.evidence.reason,
                }
                for alert in self.alerts
            ],
            "missed": [
                {"start": label.start, "end": label.end}
                for label in self.confirmed
                if label not in self.caught
            ],
            **({"scores": self.scores.to_dict("records")} if scores else {}),
        }

    def summary(self) -> dict[str, Any]:
        """One row of a table."""
        anomaly_scores = self.scores["anomaly_score"]
        return {
            "version": self.version,
            "aliases": ", ".join(self.aliases),
            "readings": len(anomaly_scores),
            "anomalies": int(self.scores["is_anomaly"].sum()),
            "max_score": float(anomaly_scores.max()) if len(anomaly_scores) else None,
            "alarms": len(self.alerts),
            "calls": self.alert_count,
            "confirmed": len(self.confirmed),
            "caught": len(self.caught),
            "judged_false": len(self.dismissed),
            "raised_again": len(self.raised),
            "scored_live": self.scored_live,
            "apart": self.max_score_difference,
        }


def replay(
    workspace: Workspace, sensor: Sensor, versions: Sequence[Version], start: datetime, end: datetime
) -> list[VersionReplay]:
    """Replay a sensor's readings from `start` until before `end` (UTC) with each of its detector versions.

    Uses the instrument faults, maintenance windows and alarm budget thresholds as they are now.

    Raises:
        ConfigurationError: a version is not a detector.
        DataError: there is no good reading in the period.
    """
    past = _ReplayInput.of(workspace, sensor, start, end)
    return [past.replay_version(version) for version in versions]


def find_versions(workspace: Workspace, sensor: Sensor, numbers: Sequence[int] = ()) -> list[Version]:
    """A sensor's detector versions by number; champion and challenger if no number is given.

    Raises:
        NoChampion: no number is given and the sensor has no champion.
        RegistryError: a version does not exist.
    """
    registry = workspace.registry
    if numbers:
        name = registry.name(sensor.id, Kind.DETECTOR)
        return [registry.version(name, number) for number in dict.fromkeys(numbers)]
    challenger = registry.find(sensor.id, Kind.DETECTOR, CHALLENGER)
    return [registry.champion(sensor.id, Kind.DETECTOR), *([] if challenger is None else [challenger])]


@dataclass(frozen=True)
class _ReplayInput:
    """The input that all versions share."""

    workspace: Workspace
    sensor: Sensor
    start: datetime
    end: datetime
    readings: pd.DataFrame
    labels: tuple[Label, ...]
    thresholds: SeverityThresholds
    maintenance: Sequence[tuple[datetime, datetime]]

    @classmethod
    def of(cls, workspace: Workspace, sensor: Sensor, start: datetime, end: datetime) -> "_ReplayInput":
        readings = workspace.readings.between(sensor.id, start, end)
        if not (readings["data_quality"] == GOOD_QUALITY).any():
            raise DataError(
                f"{sensor.id} has no good reading from {start:%Y-%m-%d %H:%M} until {end:%Y-%m-%d %H:%M}. "
                "Choose another period."
            )
        labels = tuple(
            label for label in workspace.labels.of(sensor.id) if label.start < end and label.end >= start
        )
        with reading(workspace.engine) as connection:
            thresholds = load_thresholds(connection).get(sensor.id, SeverityThresholds())
            maintenance = load_maintenance_windows(connection, sensor.platform, [sensor.id]).get(
                sensor.id, ()
            )
        return cls(workspace, sensor, start, end, readings, labels, thresholds, maintenance)

    def replay_version(self, version: Version) -> VersionReplay:
        """Replay one version."""
        loader = ModelLoader(self.workspace.model_cache, ScoringRuntime())
        model = loader.open(version)
        if not isinstance(model, PackedDetector | ProfileDetector):
            raise ConfigurationError(f"{version.uri} is a {version.kind}; only detectors can be replayed.")
        good = self.readings[self.readings["data_quality"] == GOOD_QUALITY]
        scores = score_readings(self.workspace.readings, self.sensor, model, to_tail(good, whole=False))
        scores["threshold"] = model.threshold
        transitions = self._transitions(scores, str(version.number))
        open_intervals = [
            interval for transition in transitions for interval in _open_intervals(transition, self.end)
        ]
        confirmed, dismissed = (
            tuple(label for label in self.labels if label.anomalous is anomalous)
            for anomalous in (True, False)
        )
        stored, max_difference = self._compare_with_stored(scores, str(version.number))
        return VersionReplay(
            version=version.number,
            aliases=tuple(self.workspace.registry.aliases_of(version)),
            scores=scores[["timestamp", "value", "anomaly_score", "is_anomaly", "reason"]],
            alerts=tuple(transition.alert for transition in transitions),
            alert_count=len(open_intervals),
            confirmed=confirmed,
            caught=tuple(label for label in confirmed if _overlaps(label, open_intervals)),
            dismissed=dismissed,
            raised=tuple(label for label in dismissed if _overlaps(label, open_intervals)),
            scored_live=stored,
            max_score_difference=max_difference,
        )

    def _transitions(self, scores: pd.DataFrame, number: str) -> tuple[Transition, ...]:
        rules = AlertRules.from_conf().of(self.sensor)
        scored = [
            ScoredReading(
                at=row["timestamp"].to_pydatetime(),
                value=row["value"],
                score=row["anomaly_score"],
                threshold=row["threshold"],
                normal=row["historical_average"],
                deviation=row["historical_std"],
                reason=row["reason"],
                model_version=number,
                # Missing text of a data frame is NaN.
                reasons=load_reasons(row["reason_data"] if isinstance(row["reason_data"], str) else None),
            )
            for row in scores.to_dict("records")
        ]
        read = [
            Reading(row["timestamp"].to_pydatetime(), row["value"], row["data_quality"] == GOOD_QUALITY)
            for row in self.readings.to_dict("records")
        ]

        def past(moment: datetime) -> pd.DataFrame:
            rows = rules.instrument.window_readings
            return self.workspace.readings.latest(self.sensor.id, rows, end=moment, quality=GOOD_QUALITY)

        memory = initial_memory(self.sensor, past, self.start, rules)
        sensor_conditions = collect_conditions(
            self.sensor,
            NewData(readings=read, scored=scored),
            memory,
            past,
            rules,
            begin=self.start,
            now=self.end,
            thresholds=self.thresholds,
            width=load_settings(ForecasterSettings).interval_width,
        )
        topic = AlertTopic(AlertType.ANOMALY, self.sensor.id, "", self.sensor.platform)
        conditions: list[Condition] = sensor_conditions.conditions.get(topic, [])
        step = sensor_conditions.memory.habit.step if sensor_conditions.memory else self.sensor.step
        timing = rules.timing(AlertType.ANOMALY, step or UNKNOWN_STEP)
        lifecycle = advance(
            topic, PendingAlert(), None, conditions, timing, now=self.end, maintenance=self.maintenance
        )
        return lifecycle.transitions

    def _compare_with_stored(self, scores: pd.DataFrame, number: str) -> tuple[int, float | None]:
        """The number of readings that the version scored live, and the largest difference of the scores."""
        stored = PredictionStore(self.workspace.engine).between(
            self.sensor.id, self.start, self.end, model_type=Kind.DETECTOR.model_type
        )
        stored_scores = stored[stored["model_version"] == number].set_index("timestamp")["anomaly_score"]
        both = scores.set_index("timestamp")["anomaly_score"].to_frame("now").join(stored_scores, how="inner")
        if both.empty:
            return 0, None
        return len(both), float(np.abs(both["now"] - both["anomaly_score"]).max())


def _open_intervals(transition: Transition, end: datetime) -> list[Interval]:
    """The intervals in which an alert was open; between two excursions it was not."""
    intervals: list[Interval] = []
    since: datetime | None = None
    for event in transition.events:
        if event.change in (AlertChange.OPENED, AlertChange.REPEATED):
            since = transition.alert.began_at if event.change is AlertChange.OPENED else event.at
        elif event.change is AlertChange.RETURNED and since is not None:
            intervals.append((since, event.at))
            since = None
    return intervals if since is None else [*intervals, (since, end)]


def _overlaps(label: Label, intervals: Sequence[Interval]) -> bool:
    return any(since <= label.end and until >= label.start for since, until in intervals)
