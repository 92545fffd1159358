"""Retraining by need: whose models are to be learned anew tonight, and how many a night affords.

Knows drift, forecast error, age and verdicts as reasons, and a budget of processor time. Learning, gate and
aliases are `training`'s; the replay of a challenger beside the champion is `succession`'s.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import Field
from sqlalchemy import func, select

from monitoring.drift.store import DriftCheck, DriftCheckStore, Origin, Verdict
from monitoring.retraining.forecast_error import forecast_error
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.kinds import Kind, Promotion
from training.outcomes import FAILED, Outcome
from training.pipeline.plan import Plan
from training.pipeline.recording import read_iso
from training.registry.model_registry import CHAMPION, Version
from training.settings import Settings, load_settings
from training.storage.database import labels, reading
from training.workspace import Workspace

# What each reason weighs: a model known to be wrong comes before one that is only old.
DRIFTED, AGED, A_VERDICT, A_YEAR_OLD = 10.0, 4.0, 2.0, 12.0
ERROR = 4.0  # times how far the forecast error has grown beyond what is tolerated
SETTLING = "settling"  # of a registered model: a challenger is learned, and what becomes of it is not decided


class RetrainingSettings(Settings, file="monitoring", section="retraining"):
    """What a night may cost, and who promotes."""

    max_age: timedelta = Field(timedelta(days=7), gt=timedelta(0), description="then age alone is a reason")
    cpu_budget: timedelta = Field(timedelta(hours=4), gt=timedelta(0), description="of a night")
    promotion: Promotion = Promotion.MANAGED
    replay: timedelta = Field(
        timedelta(days=14), gt=timedelta(0), description="past that a challenger is replayed over"
    )
    error_growth: float = Field(
        1.5, gt=1, description="forecast error beside that of its training, from which it is a reason"
    )


@dataclass(frozen=True)
class Need:
    """Why one model is to be learned anew; the larger the weight, the sooner."""

    sensor_id: str
    kind: Kind
    weight: float
    reasons: tuple[str, ...]


def need_of(
    sensor_id: str,
    kind: Kind,
    *,
    trained_until: datetime | None,
    drift: DriftCheck | None,
    new_labels: int,
    max_age: timedelta,
    now: datetime,
    error_growth: float = 1.0,
    tolerated: float = 1.5,
) -> Need | None:
    """Why this model is to be learned anew; None where nothing speaks for it.

    `error_growth` is the forecast error since training beside that of its training.
    """
    if trained_until is None:
        return Need(sensor_id, kind, DRIFTED, ("no model serves it",))
    weight, reasons = 0.0, []
    if drift is not None and drift.checked_at > trained_until:
        # What an instrument gets wrong is nothing to learn; it is to be put right.
        if drift.verdict is Verdict.DRIFTED and drift.origin != Origin.INSTRUMENT:
            weight += DRIFTED + min(drift.cost or 0.0, DRIFTED)
            reasons.append(f"drift: {drift.reason}")
        elif drift.verdict is Verdict.AGED:
            weight += AGED
            reasons.append("its window has aged")
    if new_labels and kind is Kind.DETECTOR:
        weight += A_VERDICT * new_labels
        reasons.append(f"{new_labels} new verdicts")
    if error_growth > tolerated:
        weight += ERROR * (error_growth - tolerated + 1)
        reasons.append(f"forecast error {error_growth:.1f} times that of its training")
    age = now - trained_until
    if age > max_age:
        weight += A_YEAR_OLD * (age / timedelta(days=365))
        reasons.append(f"{age.days} days old")
    return Need(sensor_id, kind, weight, tuple(reasons)) if reasons else None


def needs_of(workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime) -> list[Need]:
    """The queue: every model that is to be learned anew, the neediest first."""
    settings = load_settings(RetrainingSettings)
    checks = {(c.sensor_id, c.model_type): c for c in DriftCheckStore(workspace.engine).latest()}
    speaking = set(workspace.readings.last_times().index)
    found = []
    for sensor in sensors:
        if sensor.id not in speaking:
            continue
        for kind in Kind:
            champion = workspace.registry.find(sensor.id, kind, CHAMPION)
            newest = next(iter(workspace.registry.versions(sensor.id, kind)), None)
            # Where the gate refuses, a challenger as young says that there was no better to learn.
            last = newest or champion
            need = need_of(
                sensor.id,
                kind,
                trained_until=None if last is None else read_iso(last.tags["train_end"]),
                drift=checks.get((sensor.id, kind.model_type)),
                new_labels=0 if last is None else _labels_since(workspace, sensor.id, last),
                max_age=settings.max_age,
                now=now,
                error_growth=_error_growth(workspace, champion, last, now),
                tolerated=settings.error_growth,
            )
            if need is not None:
                found.append(need)
    return sorted(found, key=lambda need: (-need.weight, need.sensor_id, need.kind))


def retrain(workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime) -> list[Outcome]:
    """Learn anew in the order of need until the night's budget is spent; what is left waits.

    A detector that is to follow a champion is replayed beside it before anything is promoted; one whose
    replay was cut off is replayed first.
    """
    from training.pipeline.fleet import train_fleet  # noqa: PLC0415 (MLflow and the learners take seconds)

    settings = load_settings(RetrainingSettings)
    plan = Plan.from_conf(promotion=settings.promotion)
    by_id: Mapping[str, Sensor] = {sensor.id: sensor for sensor in sensors}
    outcomes = _settled(workspace, by_id, settings, now)
    queue = needs_of(workspace, sensors, now=now)
    at_once = os.cpu_count() or 1
    while queue and _spent() < settings.cpu_budget.total_seconds():
        kind, listings = queue[0].kind, workspace.registry.listings()
        some = [need for need in queue if need.kind is kind][: 4 * at_once]
        queue = [need for need in queue if need not in some]
        following: list[Sensor] = []
        first: list[Sensor] = []
        for need in some:
            listing = listings.get((need.sensor_id, kind))
            follows = kind is Kind.DETECTOR and listing is not None and CHAMPION in listing.aliases
            (following if follows else first).append(by_id[need.sensor_id])
            if follows and listing is not None:
                workspace.registry.set_model_tag(listing.name, SETTLING, "yes")
        if first:
            outcomes += train_fleet(workspace, first, [kind], plan, as_of=now)
        if following:
            waiting = replace(plan, promotion=Promotion.MANUAL)
            trained = train_fleet(workspace, following, [kind], waiting, as_of=now)
            settled = {one.sensor_id: one for one in _settled(workspace, by_id, settings, now)}
            outcomes += [settled.get(one.sensor_id, one) for one in trained]
    outcomes += [Outcome(need.sensor_id, need.kind, "waits for the next night") for need in queue]
    return outcomes


def _settled(
    workspace: Workspace, sensors: Mapping[str, Sensor], settings: RetrainingSettings, now: datetime
) -> list[Outcome]:
    """What became of challengers that were learned to follow a champion."""
    from monitoring.retraining.challenger_promotion import settle  # noqa: PLC0415

    found = []
    for listing in workspace.registry.models_with_tag(SETTLING):
        sensor = sensors.get(listing.sensor_id)
        if sensor is None:
            continue
        try:
            outcome = settle(workspace, sensor, mode=settings.promotion, past=settings.replay, now=now)
        except SafePlanError as error:
            outcome = Outcome(sensor.id, listing.kind, FAILED, error=str(error))
        workspace.registry.set_model_tag(listing.name, SETTLING, None)
        if outcome is not None:
            found.append(outcome)
    return found


def _spent() -> float:
    """Seconds of processor time of this process and of the workers that ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _error_growth(
    workspace: Workspace, champion: Version | None, last: Version | None, now: datetime
) -> float:
    """The champion's forecast error since anybody last learned, beside what it was graded with."""
    if champion is None or last is None or champion.kind is not Kind.FORECASTER:
        return 1.0
    learned = read_iso(last.tags["train_end"])
    missed = forecast_error(workspace.engine, champion.sensor_id, champion.number, start=learned, end=now)
    promised = 0.0 if missed is None else workspace.tracker.metrics(champion.run_id).get("mae", 0.0)
    return missed.error / promised if missed is not None and promised > 0 else 1.0


def _labels_since(workspace: Workspace, sensor_id: str, version: Version) -> int:
    created = version.created.replace(tzinfo=None)
    query = select(func.count()).where(labels.c.sensor_id == sensor_id, labels.c.made_at > created)
    with reading(workspace.engine) as connection:
        return int(connection.execute(query).scalar_one())
