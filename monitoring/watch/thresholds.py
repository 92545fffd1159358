"""The score from which an anomaly is an alert, sensor by sensor: the alarm budget's part of each.

Knows the table, and what of the past it is made from: stored scores, verdicts, and what alerts of other types
took of the budget. How it is shared out is `budget`'s.
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

from monitoring.alerts.alarm_budget import ITS_OWN, Claim, Share, share_out
from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert_rate import DAY, ScoredPast
from monitoring.alerts.kinds import AlertType, Change, Severity
from monitoring.alerts.rules import RuleBook
from monitoring.alerts.store import FLOOD
from monitoring.watch.anomaly_conditions import Thresholds
from serving.predictions.store import PredictionStore
from training.settings import load_settings
from training.storage.alert_tables import alert_changes, alert_thresholds, alerts
from training.storage.alert_verdicts import VerdictCounts, count_verdicts
from training.storage.database import reading, writing
from training.storage.leases import lease
from training.workspace import Workspace

NEVER = 1.0  # no score is above it: what would be a danger stays a warning


@dataclass(frozen=True)
class Sharing:
    """The budget and what became of it; rates are alerts a day of the whole fleet, by its past."""

    per_day: float  # for anomalies: what the other types leave
    others: float  # what the other types took
    asked: float
    calls: float
    dangers: float
    warnings: tuple[Share, ...]
    raised: tuple[Share, ...]  # the parts of severity 3

    @property
    def changed(self) -> int:
        """Sensors that are heard from a higher score on than their detector says."""
        return sum(share.threshold > ITS_OWN for share in self.warnings)

    def __str__(self) -> str:
        told = (
            f"{len(self.warnings)} sensors ask for {self.asked:.3g} alerts a day of {self.per_day:.3g}; "
            f"{self.changed} have their threshold raised, which leaves {self.calls:.3g}"
        )
        over = self.calls > self.per_day
        return f"{told}: more than the budget, for what is certain is always told" if over else told


def thresholds_of(connection: Connection) -> dict[str, Thresholds]:
    """Each sensor's thresholds; those without one have the detector's."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in connection.execute(select(alert_thresholds)):
        found[row.sensor_id][row.severity] = row.threshold
    return {
        sensor_id: Thresholds(said.get(Severity.WARNING, 0.0), said.get(Severity.DANGER, 0.0))
        for sensor_id, said in found.items()
    }


def threshold_rows(workspace: Workspace, sensor_ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """What the table says, the highest thresholds first.

    `sensor_id, severity, threshold, per_day, reason, made_at`; no threshold where the detector's own counts.
    """
    kept = alert_thresholds.c
    order = (kept.threshold.desc(), kept.sensor_id, kept.severity)
    query = select(alert_thresholds).order_by(*order)
    if sensor_ids is not None:
        query = query.where(kept.sensor_id.in_(list(sensor_ids)))
    with reading(workspace.engine) as connection:
        rows = connection.execute(query).mappings().all()
    return [{**row, "threshold": row["threshold"] or None} for row in rows]


def share_budget(workspace: Workspace, *, now: datetime) -> Sharing:
    """Share the control room's budget out by the scores of the past weeks, and keep each sensor's part.

    A sensor with less than a day of scores keeps its detector's threshold.

    Raises:
        LeaseTaken: another process is sharing it out at this moment.
    """
    with lease(workspace.engine, "share budget"):
        sharing = _sharing(workspace, now)
        rows = [
            {
                "sensor_id": share.sensor_id,
                "severity": int(severity),
                "threshold": share.threshold,
                "per_day": share.per_day,
                "reason": share.reason,
                "made_at": now,
            }
            for severity, shares in (
                (Severity.WARNING, sharing.warnings),
                (Severity.DANGER, sharing.raised),
            )
            for share in shares
        ]
        with writing(workspace.engine) as connection:
            connection.execute(delete(alert_thresholds))
            if rows:
                connection.execute(insert(alert_thresholds), rows)
    return sharing


def _sharing(workspace: Workspace, now: datetime) -> Sharing:
    settings, book = load_settings(BudgetSettings), RuleBook.from_conf()
    start = now - settings.learn_from
    with reading(workspace.engine) as connection:
        verdicts = count_verdicts(connection)
        others = _calls_of_others(connection, start, now) / (settings.learn_from / DAY)
    warnings: list[Claim] = []
    dangers: list[Claim] = []
    store = PredictionStore(workspace.engine)
    for sensor in workspace.fleet.match(()):
        rules = book.of(sensor)
        scores = store.scores(sensor.id, start, now)
        if not rules.anomaly.enabled or scores.empty:
            continue
        past = _past(scores, rules.anomaly.hysteresis, now)
        if past.days < 1:
            continue
        judged = VerdictCounts.total(verdicts.get(sensor.id, {}).values())
        warned, endangered = (
            partial(rate, rules=rules.anomaly, return_after=rules.life.return_after)
            for rate in (past.warnings_per_day, past.dangers_per_day)
        )
        warnings.append(Claim(sensor.id, judged, warned))
        dangers.append(Claim(sensor.id, judged, endangered, lowest=rules.anomaly.danger_score))
    total = settings.per_day * (1 - settings.critical_share)
    per_day = max(total - others, total / 2)
    told_from = share_out(warnings, per_day, highest=settings.certain)
    raised = share_out(dangers, settings.per_day * settings.danger_share, highest=NEVER, certain=False)
    return Sharing(
        per_day=per_day,
        others=others,
        asked=sum(claim.rate(ITS_OWN) for claim in warnings),
        calls=sum(share.calls for share in told_from),
        dangers=sum(share.calls for share in raised),
        warnings=tuple(told_from),
        raised=tuple(raised),
    )


def _past(scores: pd.DataFrame, hysteresis: float, now: datetime) -> ScoredPast:
    scores = scores[np.isfinite(scores["anomaly_score"])]
    seconds = scores["timestamp"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    return ScoredPast.of(
        seconds,
        scores["anomaly_score"].to_numpy(float),
        scores["threshold"].fillna(0.0).to_numpy(float),
        hysteresis=hysteresis,
        until=now,
        days=float(np.ptp(seconds)) / DAY.total_seconds() if len(seconds) else 0.0,
    )


def _calls_of_others(connection: Connection, start: datetime, end: datetime) -> int:
    """How often drift and instruments called; what is critical has a share of its own."""
    query = (
        select(func.count())
        .select_from(alert_changes.join(alerts, alerts.c.id == alert_changes.c.alert_id))
        .where(
            alerts.c.type.in_([AlertType.DRIFT.value, AlertType.INSTRUMENT.value]),
            alerts.c.subject != FLOOD,
            alert_changes.c.change.in_([Change.OPENED.value, Change.REPEATED.value]),
            alert_changes.c.at >= start,
            alert_changes.c.at < end,
        )
    )
    return int(connection.execute(query).scalar_one())
