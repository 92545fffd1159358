"""Describe sensors and their models: readings, grades, versions and aliases side by side.

Changes nothing. Grades come from `training.quality.assessment`, versions from `training.registry`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from training.common.times import read_iso
from training.data.sensors import LIMITS_IN_ORDER, Sensor
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus
from training.quality.assessment import assess_readings
from training.quality.fault_checks import QualitySettings
from training.quality.windows import WindowSettings
from training.reasons import Reason, ReasonCode
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Listing, gate_detail
from training.registry.version_cache import VersionCache, VersionKey, VersionRecord
from training.settings import load_settings
from training.workspace import Workspace

Listings = Mapping[tuple[str, Kind], Listing]

DAY = timedelta(days=1)
MAX_NAMED_SENSORS = 1_000  # sensors that a query lists by id; for more it reads all
MAX_GRADED_READINGS = 100_000  # newest readings of a sensor that its grade is computed from


@dataclass(frozen=True)
class SensorRowSettings:
    """The settings that a sensor's row depends on."""

    window: WindowSettings
    quality: QualitySettings


def describe_sensors(workspace: Workspace, sensors: Sequence[Sensor]) -> list[dict[str, Any]]:
    """One row per sensor: its fields, readings, grade with reasons, and the kinds it can train."""
    queried_ids = [sensor.id for sensor in sensors] if len(sensors) <= MAX_NAMED_SENSORS else None
    spans = workspace.readings.spans(queried_ids)
    settings = SensorRowSettings(load_settings(WindowSettings), load_settings(QualitySettings))
    return [_sensor_row(workspace, sensor, spans, settings) for sensor in sensors]


def describe_models(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    now: datetime,
    listings: Listings | None = None,
    cache: VersionCache | None = None,
) -> list[Outcome]:
    """One outcome per sensor and kind: the version that serves or waits, or that there is no model.

    `listings` and `cache` save queries if the caller has them.
    """
    listings = workspace.registry.listings() if listings is None else listings
    requested = [(sensor, kind, listings.get((sensor.id, kind))) for sensor in sensors for kind in Kind]
    cache = cache or VersionCache(workspace.registry, workspace.tracker)
    records = cache.read(
        (entry for _, _, listing in requested if (entry := _relevant_version(listing)) is not None),
        (listing.newest for _, _, listing in requested if listing is not None and listing.newest is not None),
    )
    return [_model_outcome(sensor, kind, listing, records, now) for sensor, kind, listing in requested]


def trainable_kinds(good: int, window: WindowSettings) -> list[Kind]:
    """The kinds of model for which this number of good readings is enough."""
    return [kind for kind in Kind if good >= window.minimum(kind)]


def _limits_of(sensor: Sensor) -> dict[str, float]:
    """The limits that a sensor has, from the lowest to the highest; then the permitted rate of change."""
    limits = {name: getattr(sensor, name) for name in (*LIMITS_IN_ORDER, "max_rate")}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _sensor_row(
    workspace: Workspace, sensor: Sensor, spans: pd.DataFrame, settings: SensorRowSettings
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sensor_id": sensor.id,
        "name": sensor.name,
        "platform": sensor.platform,
        "type": sensor.type,
        "unit": sensor.unit,
        "limits": _limits_of(sensor),
        "enabled": sensor.enabled,
    }
    if sensor.id not in spans.index:
        return {
            **row,
            "readings": 0,
            "good": 0,
            "grade": "F",
            "reasons": (Reason(ReasonCode.QUALITY_NOT_LOADED),),
        }
    span = spans.loc[sensor.id].to_dict()
    start = span["last"] - settings.window.history(Kind.DETECTOR)
    quality = assess_readings(
        workspace.readings.latest(sensor.id, MAX_GRADED_READINGS, start=start), sensor, settings.quality
    )
    return {
        **row,
        "readings": int(span["readings"]),
        "good": int(span["good"]),
        "first": span["first"],
        "last": span["last"],
        "step": str(quality.step) if quality.step else None,
        "grade": quality.grade,
        "trains": [kind.value for kind in trainable_kinds(span["good"], settings.window)],
        "reasons": quality.reasons,
    }


def _relevant_version(listing: Listing | None) -> tuple[str, int] | None:
    """The champion, else the challenger, else the previous champion."""
    alias = _relevant_alias(listing)
    return None if listing is None or alias is None else (listing.name, listing.aliases[alias])


def _relevant_alias(listing: Listing | None) -> str | None:
    aliases = listing.aliases if listing else {}
    return next((alias for alias in (CHAMPION, CHALLENGER, PREVIOUS) if alias in aliases), None)


def _waiting_version(listing: Listing) -> int | None:
    """The challenger; a version that was made champion in the MLflow UI may have both aliases."""
    number = listing.aliases.get(CHALLENGER)
    return None if number == listing.aliases.get(CHAMPION) else number


def _model_outcome(
    sensor: Sensor,
    kind: Kind,
    listing: Listing | None,
    records: Mapping[VersionKey, VersionRecord],
    now: datetime,
) -> Outcome:
    entry, alias = _relevant_version(listing), _relevant_alias(listing)
    record = None if entry is None else records.get(entry)
    if listing is None or record is None:
        return Outcome(sensor_id=sensor.id, kind=kind, status=OutcomeStatus.NO_MODEL)
    # A version that has not been read yet, or whose tags were edited, names another sensor or none.
    version = replace(record.version, sensor_id=sensor.id, kind=kind)
    metrics: dict[str, Any] = dict(record.run.metrics)
    if "train_end" in version.tags:
        # Not negative, even if the clock was set back.
        metrics["age_days"] = max((now - read_iso(version.tags["train_end"])) / DAY, 0.0)
    return version.outcome(
        OutcomeStatus.SERVING if alias == CHAMPION else OutcomeStatus.WAITING,
        alias,
        metrics=metrics,
        detail={
            **gate_detail(version),
            "grade": record.run.tags.get("grade"),
            "train_start": version.tags.get("train_start"),
            "train_end": version.tags.get("train_end"),
            "run_id": version.run_id,
            "challenger": _waiting_version(listing),
            "previous": listing.aliases.get(PREVIOUS),
        },
    )
