"""Retraining by need: whose models are to be learned anew tonight, and how many a night affords.

Knows drift, age and verdicts as reasons, and a budget of processor time. Learning, gate and aliases are
`training`'s; the new version is compared with the champion on the same newest readings there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field
from sqlalchemy import func, select

from monitoring.drift_checks import DriftCheck, DriftCheckStore, Origin, Verdict
from training.database import labels, reading
from training.kinds import Kind, Promotion
from training.outcomes import Outcome
from training.plan import Plan
from training.recording import read_iso
from training.registry import CHAMPION, Version
from training.sensors import Sensor
from training.settings import Settings, load
from training.workspace import Workspace

# What each reason weighs: a model known to be wrong comes before one that is only old.
DRIFTED, AGED, A_VERDICT, A_YEAR_OLD = 10.0, 4.0, 2.0, 12.0


class RetrainingSettings(Settings, file="monitoring", section="retraining"):
    """What a night may cost, and who promotes."""

    max_age: timedelta = Field(timedelta(days=30), gt=timedelta(0), description="then age alone is a reason")
    cpu_budget: timedelta = Field(timedelta(hours=4), gt=timedelta(0), description="of a night")
    promotion: Promotion = Promotion.MANAGED


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
) -> Need | None:
    """Why this model is to be learned anew; None where nothing speaks for it."""
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
    age = now - trained_until
    if age > max_age:
        weight += A_YEAR_OLD * (age / timedelta(days=365))
        reasons.append(f"{age.days} days old")
    return Need(sensor_id, kind, weight, tuple(reasons)) if reasons else None


def needs_of(workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime) -> list[Need]:
    """The queue: every model that is to be learned anew, the neediest first."""
    settings = load(RetrainingSettings)
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
            )
            if need is not None:
                found.append(need)
    return sorted(found, key=lambda need: (-need.weight, need.sensor_id, need.kind))


def retrain(workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime) -> list[Outcome]:
    """Learn anew in the order of need until the night's budget is spent; what is left waits."""
    from training.fleet import train_fleet  # noqa: PLC0415 (MLflow and the learners take seconds)

    settings = load(RetrainingSettings)
    plan = Plan.from_conf(promotion=settings.promotion)
    by_id: Mapping[str, Sensor] = {sensor.id: sensor for sensor in sensors}
    queue = needs_of(workspace, sensors, now=now)
    at_once = os.cpu_count() or 1
    outcomes: list[Outcome] = []
    while queue and _spent() < settings.cpu_budget.total_seconds():
        kind = queue[0].kind
        some = [need for need in queue if need.kind is kind][: 4 * at_once]
        queue = [need for need in queue if need not in some]
        outcomes += train_fleet(workspace, [by_id[need.sensor_id] for need in some], [kind], plan, as_of=now)
    outcomes += [Outcome(need.sensor_id, need.kind, "waits for the next night") for need in queue]
    return outcomes


def _spent() -> float:
    """Seconds of processor time of this process and of the workers that ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _labels_since(workspace: Workspace, sensor_id: str, version: Version) -> int:
    created = version.created.replace(tzinfo=None)
    query = select(func.count()).where(labels.c.sensor_id == sensor_id, labels.c.made_at > created)
    with reading(workspace.engine) as connection:
        return int(connection.execute(query).scalar_one())
