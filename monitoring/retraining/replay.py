"""The past told again by any version: what it would have said, which alerts raised, which events caught.

Knows how stored readings become scores and alerts as if they came in now, by the code that does it live.
Nothing is kept. What is made of the comparison of two versions is `succession`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from monitoring.alerts.alert import Alert, Chapter, Pending, Sign, Topic
from monitoring.alerts.kinds import AlertType, Change
from monitoring.alerts.life_cycle import advance
from monitoring.alerts.maintenance import windows_of
from monitoring.alerts.rules import RuleBook
from monitoring.watch.anomaly_conditions import Scored, Thresholds
from monitoring.watch.conditions import first_memory, signs_of
from monitoring.watch.instrument_conditions import Reading
from monitoring.watch.new_data import News
from monitoring.watch.thresholds import thresholds_of
from monitoring.watch.watcher import UNKNOWN_STEP
from serving.batch import score_readings
from serving.models.acceptance import ModelLoader
from serving.predictions.store import PredictionStore
from serving.recent_readings import to_tail
from serving.vectorized.packed_detector import PackedDetector
from training.anomaly.detector import AnomalyDetector
from training.data.readings import GOOD_QUALITY
from training.data.sensors import Sensor
from training.errors import ConfigurationError, DataError
from training.kinds import Kind
from training.pipeline.plan import ForecasterSettings
from training.registry.model_registry import CHALLENGER, Version
from training.settings import load_settings
from training.storage.database import reading
from training.storage.labels import Label
from training.workspace import Workspace

Stretch = tuple[datetime, datetime]


@dataclass(frozen=True)
class Replay:
    """What one version says of a stretch of the past."""

    version: int
    aliases: tuple[str, ...]
    scores: pd.DataFrame  # timestamp, value, anomaly_score, is_anomaly, reason
    alerts: tuple[Alert, ...]  # of anomalies, in order of time
    calls: int  # how often they opened or repeated
    confirmed: tuple[Label, ...]  # what people confirmed in that time
    caught: tuple[Label, ...]  # of these, those during which one of its alerts lived
    dismissed: tuple[Label, ...]  # what people called false
    raised: tuple[Label, ...]  # of these, those that it would have raised
    stored: int  # readings that this version had scored live
    apart: float | None  # how far those scores are from these, at most

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
        found = self.scores["anomaly_score"]
        return {
            "version": self.version,
            "aliases": ", ".join(self.aliases),
            "readings": len(found),
            "anomalies": int(self.scores["is_anomaly"].sum()),
            "max_score": float(found.max()) if len(found) else None,
            "alarms": len(self.alerts),
            "calls": self.calls,
            "confirmed": len(self.confirmed),
            "caught": len(self.caught),
            "judged_false": len(self.dismissed),
            "raised_again": len(self.raised),
            "scored_live": self.stored,
            "apart": self.apart,
        }


def replay(
    workspace: Workspace, sensor: Sensor, versions: Sequence[Version], start: datetime, end: datetime
) -> list[Replay]:
    """What each version of a sensor's detector says of its readings from start until end (excluded, UTC).

    Instrument faults, maintenance and the alarm budget's thresholds as they are known now.

    Raises:
        ConfigurationError: a version is no detector.
        DataError: there is no good reading in that time.
    """
    past = _Past.of(workspace, sensor, start, end)
    return [past.told_by(version) for version in versions]


def versions_named(workspace: Workspace, sensor: Sensor, numbers: Sequence[int] = ()) -> list[Version]:
    """A sensor's detectors by number; champion and challenger where none is named.

    Raises:
        NoChampion: nothing serves it, and no number is named.
        RegistryError: there is no such version.
    """
    registry = workspace.registry
    if numbers:
        name = registry.name(sensor.id, Kind.DETECTOR)
        return [registry.version(name, number) for number in dict.fromkeys(numbers)]
    challenger = registry.find(sensor.id, Kind.DETECTOR, CHALLENGER)
    return [registry.champion(sensor.id, Kind.DETECTOR), *([] if challenger is None else [challenger])]


@dataclass(frozen=True)
class _Past:
    """What is the same for every version."""

    workspace: Workspace
    sensor: Sensor
    start: datetime
    end: datetime
    readings: pd.DataFrame
    labels: tuple[Label, ...]
    thresholds: Thresholds
    quiet: Sequence[tuple[datetime, datetime]]

    @classmethod
    def of(cls, workspace: Workspace, sensor: Sensor, start: datetime, end: datetime) -> "_Past":
        readings = workspace.readings.between(sensor.id, start, end)
        if not (readings["data_quality"] == GOOD_QUALITY).any():
            raise DataError(
                f"{sensor.id} has no good reading from {start:%Y-%m-%d %H:%M} until {end:%Y-%m-%d %H:%M}."
            )
        labels = tuple(
            label for label in workspace.labels.of(sensor.id) if label.start < end and label.end >= start
        )
        with reading(workspace.engine) as connection:
            thresholds = thresholds_of(connection).get(sensor.id, Thresholds())
            quiet = windows_of(connection, sensor.platform, [sensor.id]).get(sensor.id, ())
        return cls(workspace, sensor, start, end, readings, labels, thresholds, quiet)

    def told_by(self, version: Version) -> Replay:
        """What one version says of it."""
        model = ModelLoader(self.workspace.registry, self.workspace.model_cache).open(version)
        if not isinstance(model, PackedDetector | AnomalyDetector):
            raise ConfigurationError(f"{version.uri} is a {version.kind}; detectors can be replayed.")
        good = self.readings[self.readings["data_quality"] == GOOD_QUALITY]
        scores = score_readings(self.workspace.readings, self.sensor.id, model, to_tail(good, whole=False))
        scores["threshold"] = model.threshold
        chapters = self._chapters(scores, str(version.number))
        open_at = [stretch for chapter in chapters for stretch in _open(chapter, self.end)]
        confirmed, dismissed = (
            tuple(label for label in self.labels if label.anomalous is said) for said in (True, False)
        )
        stored, apart = self._beside_what_was_said(scores, str(version.number))
        return Replay(
            version=version.number,
            aliases=tuple(self.workspace.registry.aliases_of(version)),
            scores=scores[["timestamp", "value", "anomaly_score", "is_anomaly", "reason"]],
            alerts=tuple(chapter.alert for chapter in chapters),
            calls=len(open_at),
            confirmed=confirmed,
            caught=tuple(label for label in confirmed if _during(label, open_at)),
            dismissed=dismissed,
            raised=tuple(label for label in dismissed if _during(label, open_at)),
            stored=stored,
            apart=apart,
        )

    def _chapters(self, scores: pd.DataFrame, number: str) -> tuple[Chapter, ...]:
        rules = RuleBook.from_conf().of(self.sensor)
        scored = [
            Scored(
                at=row["timestamp"].to_pydatetime(),
                value=row["value"],
                score=row["anomaly_score"],
                threshold=row["threshold"],
                usual=row["historical_average"],
                reason=row["reason"],
                model_version=number,
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

        memory = first_memory(self.sensor, past, self.start, rules)
        watched = signs_of(
            self.sensor,
            News(readings=read, scored=scored),
            memory,
            past,
            rules,
            begin=self.start,
            now=self.end,
            thresholds=self.thresholds,
            width=load_settings(ForecasterSettings).interval_width,
        )
        topic = Topic(AlertType.ANOMALY, self.sensor.id, "", self.sensor.platform)
        signs: list[Sign] = watched.signs.get(topic, [])
        step = watched.memory.habit.step if watched.memory else self.sensor.step
        pace = rules.pace(AlertType.ANOMALY, step or UNKNOWN_STEP)
        course = advance(topic, Pending(), None, signs, pace, now=self.end, maintenance=self.quiet)
        return course.chapters

    def _beside_what_was_said(self, scores: pd.DataFrame, number: str) -> tuple[int, float | None]:
        """How many of these readings the version had scored before, and how far from now at most."""
        kept = PredictionStore(self.workspace.engine).between(
            self.sensor.id, self.start, self.end, model_type=Kind.DETECTOR.model_type
        )
        before = kept[kept["model_version"] == number].set_index("timestamp")["anomaly_score"]
        both = scores.set_index("timestamp")["anomaly_score"].to_frame("now").join(before, how="inner")
        if both.empty:
            return 0, None
        return len(both), float(np.abs(both["now"] - both["anomaly_score"]).max())


def _open(chapter: Chapter, end: datetime) -> list[Stretch]:
    """From when until when an alert was open; between two excursions it was not."""
    found: list[Stretch] = []
    since: datetime | None = None
    for event in chapter.events:
        if event.change in (Change.OPENED, Change.REPEATED):
            since = chapter.alert.began_at if event.change is Change.OPENED else event.at
        elif event.change is Change.RETURNED and since is not None:
            found.append((since, event.at))
            since = None
    return found if since is None else [*found, (since, end)]


def _during(label: Label, stretches: Sequence[Stretch]) -> bool:
    return any(since <= label.end and until >= label.start for since, until in stretches)
