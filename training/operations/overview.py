"""What a person asks first: which sensors there are, what they are worth, which models serve them.

Knows how readings, grades, versions and aliases are put side by side. Changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import Outcome
from training.pipeline.recording import read_iso
from training.quality.assessment import inspect
from training.quality.fault_checks import QualitySettings
from training.quality.windows import WindowSettings
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Listing
from training.registry.version_cache import Entry, ModelBook, Page
from training.settings import load
from training.workspace import Workspace

Listings = Mapping[tuple[str, Kind], Listing]

DAY = timedelta(days=1)
NAMED = 1_000  # sensors that a query is asked for by name; for more it looks at all
MOST = 100_000  # readings a grade looks at


@dataclass(frozen=True)
class Judging:
    """What a sensor is judged by."""

    window: WindowSettings
    quality: QualitySettings


def describe_sensors(workspace: Workspace, sensors: Sequence[Sensor]) -> list[dict[str, Any]]:
    """One row a sensor: what it is, what it sent, its grade with the reasons, and what it can train."""
    few = [sensor.id for sensor in sensors] if len(sensors) <= NAMED else None
    spans = workspace.readings.spans(few)
    settings = Judging(load(WindowSettings), load(QualitySettings))
    return [_described(workspace, sensor, spans, settings) for sensor in sensors]


def describe_models(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    now: datetime,
    listings: Listings | None = None,
    book: ModelBook | None = None,
) -> list[Outcome]:
    """One outcome a sensor and kind: the version that serves, or waits, or that there is none.

    `listings` that were just asked for are not asked for again, nor is what a `book` knows already.
    """
    listings = workspace.registry.listings() if listings is None else listings
    asked = [(sensor, kind, listings.get((sensor.id, kind))) for sensor in sensors for kind in Kind]
    book = book or ModelBook(workspace.registry, workspace.tracker)
    pages = book.read(
        (entry for _, _, listing in asked if (entry := _first(listing)) is not None),
        (listing.newest for _, _, listing in asked if listing is not None and listing.newest is not None),
    )
    return [_model(sensor, kind, listing, pages, now) for sensor, kind, listing in asked]


def trainable(good: int, window: WindowSettings) -> list[Kind]:
    """The kinds of model that so many good readings suffice for."""
    return [kind for kind in Kind if good >= window.minimum(kind)]


def _described(
    workspace: Workspace, sensor: Sensor, spans: pd.DataFrame, settings: Judging
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
            "reasons": ["no readings yet; run: safeplan load FILE"],
        }
    span = spans.loc[sensor.id].to_dict()
    start = span["last"] - settings.window.history(Kind.DETECTOR)
    quality = inspect(workspace.readings.latest(sensor.id, MOST, start=start), sensor, settings.quality)
    return {
        **row,
        "readings": int(span["readings"]),
        "good": int(span["good"]),
        "first": span["first"],
        "last": span["last"],
        "step": str(quality.step) if quality.step else None,
        "grade": quality.grade,
        "trains": [kind.value for kind in trainable(span["good"], settings.window)],
        "reasons": list(quality.reasons),
    }


def _first(listing: Listing | None) -> tuple[str, int] | None:
    """The version that serves, else the one that waits, else the one to return to."""
    alias = _alias(listing)
    return None if listing is None or alias is None else (listing.name, listing.aliases[alias])


def _alias(listing: Listing | None) -> str | None:
    aliases = listing.aliases if listing else {}
    return next((alias for alias in (CHAMPION, CHALLENGER, PREVIOUS) if alias in aliases), None)


def _challenger(listing: Listing) -> int | None:
    """The version that waits; one that was made champion by hand may still carry both aliases."""
    number = listing.aliases.get(CHALLENGER)
    return None if number == listing.aliases.get(CHAMPION) else number


def _model(
    sensor: Sensor, kind: Kind, listing: Listing | None, pages: Mapping[Entry, Page], now: datetime
) -> Outcome:
    entry, alias = _first(listing), _alias(listing)
    page = None if entry is None else pages.get(entry)
    if listing is None or page is None:
        return Outcome(sensor_id=sensor.id, kind=kind, status="no model")
    version = page.version
    metrics: dict[str, Any] = dict(page.run.metrics)
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
            "grade": page.run.tags.get("grade"),
            "train_start": version.tags.get("train_start"),
            "train_end": version.tags.get("train_end"),
            "run_id": version.run_id,
            "challenger": _challenger(listing),
            "previous": listing.aliases.get(PREVIOUS),
        },
    )
