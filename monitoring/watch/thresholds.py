"""Alert thresholds of all sensors: computed from the alarm budget and past scores, stored in a table.

Reads stored scores, verdicts and the number of alerts of other types; holds the SQL of `alert_thresholds`.
The budget is shared in `monitoring.alerts.alarm_budget`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, delete, func, insert, select

from monitoring.alerts.alarm_budget import DETECTOR_THRESHOLD, BudgetClaim, BudgetShare, allocate_shares
from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert_rate import DAY, ScoreHistory
from monitoring.alerts.kinds import AlertChange, AlertType, Severity
from monitoring.alerts.rules import AlertRules
from monitoring.alerts.store import FLOOD_SUBJECT
from monitoring.watch.anomaly_conditions import SeverityThresholds
from serving.predictions.store import PredictionStore
from training.common.times import epoch_seconds
from training.reasons import dump_reasons, load_reasons
from training.settings import load_settings
from training.storage.alert_tables import alert_changes, alert_thresholds, alerts
from training.storage.alert_verdicts import VerdictCounts, count_verdicts
from training.storage.database import reading, writing
from training.storage.leases import lease
from training.workspace import Workspace

STORED_COLUMNS = ("sensor_id", "severity", "threshold", "per_day", "reason", "made_at")
UNREACHABLE_SCORE = 1.0  # no score is above it, so a danger stays a warning


@dataclass(frozen=True)
class BudgetAllocation:
    """The shared budget; rates are alerts a day of the whole fleet, from past scores."""

    per_day: float  # for anomalies: the budget less the alerts of other types
    other_alerts_per_day: float
    requested_per_day: float
    alerts_per_day: float
    dangers_per_day: float
    warnings: tuple[BudgetShare, ...]
    raised: tuple[BudgetShare, ...]  # the shares of severity 3

    @property
    def changed(self) -> int:
        """The number of sensors with a higher threshold than that of their detector."""
        return sum(share.threshold > DETECTOR_THRESHOLD for share in self.warnings)

    def __str__(self) -> str:
        text = (
            f"budget {self.per_day:.3g} alerts a day; {len(self.warnings)} sensors would raise "
            f"{self.requested_per_day:.3g}; {self.changed} thresholds were raised, which leaves "
            f"{self.alerts_per_day:.3g}"
        )
        exceeds_budget = self.alerts_per_day > self.per_day
        return (
            f"{text}, more than the budget: certain anomalies always raise alerts" if exceeds_budget else text
        )


def load_thresholds(connection: Connection) -> dict[str, SeverityThresholds]:
    """The thresholds of each sensor; sensors without them use their detector's."""
    by_sensor: dict[str, dict[int, float]] = defaultdict(dict)
    for row in connection.execute(select(alert_thresholds)):
        by_sensor[row.sensor_id][row.severity] = row.threshold
    return {
        sensor_id: SeverityThresholds(stored.get(Severity.WARNING, 0.0), stored.get(Severity.DANGER, 0.0))
        for sensor_id, stored in by_sensor.items()
    }


def threshold_rows(workspace: Workspace, sensor_ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The stored thresholds, highest first.

    `sensor_id, severity, threshold, per_day, reason, made_at, reasons`; the threshold is None where the
    detector's own is used; `reasons` is empty in rows of 0.1.0.
    """
    columns = alert_thresholds.c
    order = (columns.threshold.desc(), columns.sensor_id, columns.severity)
    query = select(alert_thresholds).order_by(*order)
    if sensor_ids is not None:
        query = query.where(columns.sensor_id.in_(list(sensor_ids)))
    with reading(workspace.engine) as connection:
        rows = connection.execute(query).mappings().all()
    return [
        {
            **{name: row[name] for name in STORED_COLUMNS},
            "threshold": row["threshold"] or None,
            "reasons": load_reasons(row["reason_data"]),
        }
        for row in rows
    ]


def allocate_budget(workspace: Workspace, *, now: datetime) -> BudgetAllocation:
    """Share the alarm budget by the scores of the past weeks, and store the threshold of each sensor.

    A sensor with less than a day of scores keeps its detector's threshold.

    Raises:
        LeaseTaken: another process is doing so now.
    """
    with lease(workspace.engine, "share budget"):
        allocation = _compute_allocation(workspace, now)
        rows = [
            {
                "sensor_id": share.sensor_id,
                "severity": int(severity),
                "threshold": share.threshold,
                "per_day": share.per_day,
                "reason": share.reason,
                "reason_data": dump_reasons(share.reasons),
                "made_at": now,
            }
            for severity, shares in (
                (Severity.WARNING, allocation.warnings),
                (Severity.DANGER, allocation.raised),
            )
            for share in shares
        ]
        with writing(workspace.engine) as connection:
            connection.execute(delete(alert_thresholds))
            if rows:
                connection.execute(insert(alert_thresholds), rows)
    return allocation


def _compute_allocation(workspace: Workspace, now: datetime) -> BudgetAllocation:
    settings, alert_rules = load_settings(BudgetSettings), AlertRules.from_conf()
    start = now - settings.learn_from
    with reading(workspace.engine) as connection:
        verdicts = count_verdicts(connection)
        other_alerts_per_day = _count_other_alerts(connection, start, now) / (settings.learn_from / DAY)
    warning_claims: list[BudgetClaim] = []
    danger_claims: list[BudgetClaim] = []
    store = PredictionStore(workspace.engine)
    for sensor in workspace.fleet.match(()):
        rules = alert_rules.of(sensor)
        scores = store.scores(sensor.id, start, now)
        if not rules.anomaly.enabled or scores.empty:
            continue
        past = _score_history(scores, rules.anomaly.hysteresis, now)
        if past.days < 1:
            continue
        verdict_counts = VerdictCounts.total(verdicts.get(sensor.id, {}).values())
        warning_rate, danger_rate = (
            partial(rate, rules=rules.anomaly, return_after=rules.life.return_after)
            for rate in (past.warnings_per_day, past.dangers_per_day)
        )
        warning_claims.append(BudgetClaim(sensor.id, verdict_counts, warning_rate))
        danger_claims.append(
            BudgetClaim(sensor.id, verdict_counts, danger_rate, lowest=rules.anomaly.danger_score)
        )
    total = settings.per_day * (1 - settings.critical_share)
    per_day = max(total - other_alerts_per_day, total / 2)
    warning_shares = allocate_shares(warning_claims, per_day, highest=settings.certain)
    danger_shares = allocate_shares(
        danger_claims, settings.per_day * settings.danger_share, highest=UNREACHABLE_SCORE, certain=False
    )
    return BudgetAllocation(
        per_day=per_day,
        other_alerts_per_day=other_alerts_per_day,
        requested_per_day=sum(claim.rate(DETECTOR_THRESHOLD) for claim in warning_claims),
        alerts_per_day=sum(share.alerts_per_day for share in warning_shares),
        dangers_per_day=sum(share.alerts_per_day for share in danger_shares),
        warnings=tuple(warning_shares),
        raised=tuple(danger_shares),
    )


def _score_history(scores: pd.DataFrame, hysteresis: float, now: datetime) -> ScoreHistory:
    scores = scores[np.isfinite(scores["anomaly_score"])]
    seconds = epoch_seconds(scores["timestamp"])
    return ScoreHistory.of(
        seconds,
        scores["anomaly_score"].to_numpy(float),
        scores["threshold"].fillna(0.0).to_numpy(float),
        hysteresis=hysteresis,
        until=now,
        days=float(np.ptp(seconds)) / DAY.total_seconds() if len(seconds) else 0.0,
    )


def _count_other_alerts(connection: Connection, start: datetime, end: datetime) -> int:
    """The number of alerts that no threshold changes; critical alerts have their own share of the budget."""
    query = (
        select(func.count())
        .select_from(alert_changes.join(alerts, alerts.c.id == alert_changes.c.alert_id))
        .where(
            alerts.c.type.in_([AlertType.LIMIT.value, AlertType.DRIFT.value, AlertType.INSTRUMENT.value]),
            alerts.c.severity < Severity.CRITICAL,
            alerts.c.subject != FLOOD_SUBJECT,
            alert_changes.c.change.in_([AlertChange.OPENED.value, AlertChange.REPEATED.value]),
            alert_changes.c.at >= start,
            alert_changes.c.at < end,
        )
    )
    return int(connection.execute(query).scalar_one())
