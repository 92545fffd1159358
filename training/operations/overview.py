"""What a person asks first: which sensors there are, what they are worth, which models serve them.

Knows how readings, grades, versions and aliases are put side by side. Changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from training.common.times import read_iso
from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import Outcome
from training.quality.assessment import assess_readings
from training.quality.fault_checks import QualitySettings
from training.quality.windows import WindowSettings
from training.reasons import Reason, ReasonCode
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Listing
from training.registry.version_cache import VersionCache, VersionKey, VersionRecord
from training.settings import load_settings
from training.workspace import Workspace

Listings = Mapping[tuple[str, Kind], Listing]

DAY = timedelta(days=1)
MAX_NAMED_SENSORS = 1_000  # sensors that a query is asked for by name; for more it looks at all
MAX_GRADED_READINGS = 100_000  # readings a grade looks at


@dataclass(frozen=True)
class SensorRowSettings:
    """What a sensor is judged by."""

    window: WindowSettings
    quality: QualitySettings


def describe_sensors(workspace: Workspace, sensors: Sequence[Sensor]) -> list[dict[str, Any]]:
    """One row a sensor: what it is, what it sent, its grade with the reasons, and what it can train."""
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
    """One outcome a sensor and kind: the version that serves, or waits, or that there is none.

    `listings` that were just asked for are not asked for again, nor is what a `book` knows already.
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
    """The kinds of model that so many good readings suffice for."""
    return [kind for kind in Kind if good >= window.minimum(kind)]


def _sensor_row(
    workspace: Workspace, sensor: Sensor, spans: pd.DataFrame, settings: SensorRowSettings
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sensor_id": sensor.id,
        "name": sensor.name,
        "platform": sensor.platform,
        "type": sensor.type,
        "unit": sensor.unit,
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
    """The version that serves, else the one that waits, else the one to return to."""
    alias = _relevant_alias(listing)
    return None if listing is None or alias is None else (listing.name, listing.aliases[alias])


def _relevant_alias(listing: Listing | None) -> str | None:
    aliases = listing.aliases if listing else {}
    return next((alias for alias in (CHAMPION, CHALLENGER, PREVIOUS) if alias in aliases), None)


def _waiting_version(listing: Listing) -> int | None:
    """The version that waits; one that was made champion by hand may still carry both aliases."""
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
        return Outcome(sensor_id=sensor.id, kind=kind, status="no model")
    version = record.version
    metrics: dict[str, Any] = dict(record.run.metrics)
    if "train_end" in version.tags:
        # A clock that was set back makes nothing younger than new.
        metrics["age_days"] = max((now - read_iso(version.tags["train_end"])) / DAY, 0.0)
    return Outcome(
        sensor_id=sensor.id,
        kind=kind,
        status="serving" if alias == CHAMPION else "waiting",
        model=version.name,
        version=version.number,
        alias=alias,
        metrics=metrics,
        detail={
            "gate": version.tags.get("gate", ""),
            "gate_passed": version.gate_passed,
            "gate_reasons": version.tags.get("gate_reasons"),
            "grade": record.run.tags.get("grade"),
            "train_start": version.tags.get("train_start"),
            "train_end": version.tags.get("train_end"),
            "run_id": version.run_id,
            "challenger": _waiting_version(listing),
            "previous": listing.aliases.get(PREVIOUS),
        },
    )
