"""Retraining by need: which models to retrain, in which order, within one night's CPU budget.

A model needs retraining because of drift, forecast error, new verdicts or age. Training, gate and aliases are
in `training`; the replay of a challenger is in `challenger_promotion`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import Field
from sqlalchemy import func, select

from monitoring.drift.store import DriftCheck, DriftCheckStore
from monitoring.drift.verdict import DriftOrigin, DriftVerdict
from monitoring.retraining.forecast_error import observed_forecast_error
from training.common.times import read_iso
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.kinds import Kind, Promotion
from training.outcomes import Outcome, OutcomeStatus
from training.pipeline.plan import Plan
from training.reasons import Reason, ReasonCode
from training.registry.model_registry import CHAMPION, Version
from training.settings import Settings, load_settings
from training.storage.database import labels, reading
from training.workspace import Workspace

# A model known to be wrong is retrained before one that is only old.
DRIFT_WEIGHT, AGED_WEIGHT, LABEL_WEIGHT, AGE_WEIGHT_PER_YEAR = 10.0, 4.0, 2.0, 12.0
ERROR_WEIGHT = 4.0  # per multiple of the training's error above the tolerated one
PENDING_PROMOTION_TAG = "settling"  # of a registered model whose challenger is neither promoted nor refused


class RetrainingSettings(Settings, file="monitoring", section="retraining"):
    """When a model needs retraining, the CPU time of a night, and who promotes."""

    max_age: timedelta = Field(
        timedelta(days=7), gt=timedelta(0), description="age above which a model is retrained"
    )
    cpu_budget: timedelta = Field(
        timedelta(hours=4), gt=timedelta(0), description="CPU time of one night; the rest waits for the next"
    )
    promotion: Promotion = Field(
        Promotion.MANAGED, description="managed: by gate and replay; manual: by an engineer"
    )
    replay: timedelta = Field(
        timedelta(days=14), gt=timedelta(0), description="length of the past that a challenger replays"
    )
    error_growth: float = Field(
        1.5, gt=1, description="forecast error, as a multiple of the training's, above which to retrain"
    )


@dataclass(frozen=True)
class RetrainingNeed:
    """Why one model needs retraining; the largest weight comes first."""

    sensor_id: str
    kind: Kind
    weight: float
    reasons: tuple[Reason, ...]


def assess_need(
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
) -> RetrainingNeed | None:
    """Why this model needs retraining; None if it does not.

    `error_growth` is the forecast error since training as a multiple of the training's own.
    """
    if trained_until is None:
        return RetrainingNeed(sensor_id, kind, DRIFT_WEIGHT, (Reason(ReasonCode.RETRAIN_NO_MODEL),))
    weight, reasons = 0.0, []
    if drift is not None and drift.checked_at > trained_until:
        # Instrument faults must not be learned; the instrument has to be repaired.
        if drift.verdict is DriftVerdict.DRIFTED and drift.origin != DriftOrigin.INSTRUMENT:
            weight += DRIFT_WEIGHT + min(drift.cost or 0.0, DRIFT_WEIGHT)
            drift_reasons = drift.reasons or (Reason(ReasonCode.TEXT, {"text": drift.reason}),)
            reasons.append(Reason(ReasonCode.RETRAIN_DRIFT, {"reasons": drift_reasons}))
        elif drift.verdict is DriftVerdict.AGED:
            weight += AGED_WEIGHT
            reasons.append(Reason(ReasonCode.RETRAIN_AGED))
    if new_labels and kind is Kind.DETECTOR:
        weight += LABEL_WEIGHT * new_labels
        reasons.append(Reason(ReasonCode.RETRAIN_VERDICTS, {"count": new_labels}))
    if error_growth > tolerated:
        weight += ERROR_WEIGHT * (error_growth - tolerated + 1)
        reasons.append(Reason(ReasonCode.RETRAIN_ERROR, {"factor": error_growth}))
    age = now - trained_until
    if age > max_age:
        weight += AGE_WEIGHT_PER_YEAR * (age / timedelta(days=365))
        reasons.append(Reason(ReasonCode.RETRAIN_AGE, {"age": age.total_seconds()}))
    return RetrainingNeed(sensor_id, kind, weight, tuple(reasons)) if reasons else None


def rank_needs(workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime) -> list[RetrainingNeed]:
    """Every model that needs retraining, the largest weight first."""
    settings = load_settings(RetrainingSettings)
    checks = {(c.sensor_id, c.model_type): c for c in DriftCheckStore(workspace.engine).latest()}
    sensors_with_readings = set(workspace.readings.last_times().index)
    needs = []
    for sensor in sensors:
        if sensor.id not in sensors_with_readings:
            continue
        for kind in Kind:
            champion = workspace.registry.find(sensor.id, kind, CHAMPION)
            newest = next(iter(workspace.registry.versions(sensor.id, kind)), None)
            # A challenger that the gate refused shows that newer readings give no better model.
            newest_trained = newest or champion
            need = assess_need(
                sensor.id,
                kind,
                trained_until=None if newest_trained is None else read_iso(newest_trained.tags["train_end"]),
                drift=checks.get((sensor.id, kind.model_type)),
                new_labels=0
                if newest_trained is None
                else _count_labels_since(workspace, sensor.id, newest_trained),
                max_age=settings.max_age,
                now=now,
                error_growth=_error_growth(workspace, champion, newest_trained, now),
                tolerated=settings.error_growth,
            )
            if need is not None:
                needs.append(need)
    return sorted(needs, key=lambda need: (-need.weight, need.sensor_id, need.kind))


def retrain(workspace: Workspace, sensors: Sequence[Sensor], *, now: datetime) -> list[Outcome]:
    """Retrain in the order of need until the night's CPU budget is spent; the rest waits.

    A detector with a champion is replayed against it before it is promoted; replays that an earlier night
    did not finish come first.
    """
    from training.pipeline.fleet import train_fleet  # noqa: PLC0415 (MLflow and scikit-learn take seconds)

    settings = load_settings(RetrainingSettings)
    plan = Plan.from_conf(promotion=settings.promotion)
    by_id: Mapping[str, Sensor] = {sensor.id: sensor for sensor in sensors}
    outcomes = _decide_pending_promotions(workspace, by_id, settings, now)
    queue = rank_needs(workspace, sensors, now=now)
    cpu_count = os.cpu_count() or 1
    while queue and _cpu_seconds_used() < settings.cpu_budget.total_seconds():
        kind, listings = queue[0].kind, workspace.registry.listings()
        batch = [need for need in queue if need.kind is kind][: 4 * cpu_count]
        queue = [need for need in queue if need not in batch]
        with_champion: list[Sensor] = []
        without_champion: list[Sensor] = []
        for need in batch:
            listing = listings.get((need.sensor_id, kind))
            has_champion = kind is Kind.DETECTOR and listing is not None and CHAMPION in listing.aliases
            (with_champion if has_champion else without_champion).append(by_id[need.sensor_id])
            if has_champion and listing is not None:
                workspace.registry.set_model_tag(listing.name, PENDING_PROMOTION_TAG, "yes")
        if without_champion:
            outcomes += train_fleet(workspace, without_champion, [kind], plan, as_of=now)
        if with_champion:
            manual_plan = replace(plan, promotion=Promotion.MANUAL)
            trained = train_fleet(workspace, with_champion, [kind], manual_plan, as_of=now)
            decided = {
                one.sensor_id: one for one in _decide_pending_promotions(workspace, by_id, settings, now)
            }
            outcomes += [decided.get(one.sensor_id, one) for one in trained]
    outcomes += [Outcome(need.sensor_id, need.kind, OutcomeStatus.POSTPONED) for need in queue]
    return outcomes


def _decide_pending_promotions(
    workspace: Workspace, sensors: Mapping[str, Sensor], settings: RetrainingSettings, now: datetime
) -> list[Outcome]:
    """Decide about the challengers that still wait for their replay."""
    from monitoring.retraining.challenger_promotion import decide_promotion  # noqa: PLC0415

    outcomes = []
    for listing in workspace.registry.models_with_tag(PENDING_PROMOTION_TAG):
        sensor = sensors.get(listing.sensor_id)
        if sensor is None:
            continue
        try:
            outcome = decide_promotion(
                workspace, sensor, mode=settings.promotion, past=settings.replay, now=now
            )
        except SafePlanError as error:
            outcome = Outcome(sensor.id, listing.kind, OutcomeStatus.FAILED, error=str(error))
        workspace.registry.set_model_tag(listing.name, PENDING_PROMOTION_TAG, None)
        if outcome is not None:
            outcomes.append(outcome)
    return outcomes


def _cpu_seconds_used() -> float:
    """CPU time of this process and of its finished workers."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _error_growth(
    workspace: Workspace, champion: Version | None, newest_trained: Version | None, now: datetime
) -> float:
    """The champion's forecast error since the newest training, as a multiple of its own at training."""
    if champion is None or newest_trained is None or champion.kind is not Kind.FORECASTER:
        return 1.0
    trained_until = read_iso(newest_trained.tags["train_end"])
    observed = observed_forecast_error(
        workspace.engine, champion.sensor_id, champion.number, start=trained_until, end=now
    )
    if observed is None:
        return 1.0
    error_at_training = workspace.tracker.metrics(champion.run_id).get("mae", 0.0)
    return observed.error / error_at_training if error_at_training > 0 else 1.0


def _count_labels_since(workspace: Workspace, sensor_id: str, version: Version) -> int:
    created = version.created.replace(tzinfo=None)
    query = select(func.count()).where(labels.c.sensor_id == sensor_id, labels.c.made_at > created)
    with reading(workspace.engine) as connection:
        return int(connection.execute(query).scalar_one())
