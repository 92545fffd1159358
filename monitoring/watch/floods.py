"""Alarm floods: many alerts on one platform at once are one alert, with the alert that came first.

Decides when there is a flood and which alerts belong to it. A flood has the life cycle of any other alert.
Critical alerts in a flood are notified nevertheless (`monitoring.notify.outbox_writer`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert import Alert, AlertEvidence, AlertTopic, Condition, PendingAlert, recency_weight
from monitoring.alerts.kinds import AlertState
from monitoring.alerts.life_cycle import AlertTiming, LifecycleResult, advance
from monitoring.alerts.store import FLOOD_SUBJECT
from training.reasons import Reason, ReasonCode

NO_HOLD = timedelta(0)


@dataclass(frozen=True)
class FloodUpdate:
    """A platform's flood after an evaluation, and the alerts that it now includes."""

    lifecycle: LifecycleResult
    new_members: tuple[Alert, ...]


def find_flood(
    flood_alert: Alert | None,
    members: Sequence[Alert],
    new_alerts: Sequence[Alert],
    pending: PendingAlert,
    settings: BudgetSettings,
    timing: AlertTiming,
    *,
    platform: str,
    now: datetime,
) -> FloodUpdate | None:
    """The flood that a platform's new alerts make or extend; None where there is none.

    `members` are the alerts of the current flood, `new_alerts` recent ones that belong to none.
    """
    is_open = flood_alert is not None and flood_alert.state is AlertState.OPEN
    new_members = tuple(new_alerts) if is_open or len(new_alerts) >= settings.flood_alerts else ()
    if flood_alert is None and not new_members:
        return None
    flood_alerts = sorted((*members, *new_members), key=lambda alert: (alert.began_at, alert.id or 0))
    worst = max((alert.severity for alert in flood_alerts if alert.state is AlertState.OPEN), default=0)
    topic = flood_alert.topic if flood_alert else _flood_topic(flood_alerts[0], platform)
    condition = Condition(now, worst, worst, _flood_evidence(flood_alerts, settings, now))
    lifecycle = advance(topic, pending, flood_alert, [condition], timing, now=now)
    # Alerts that opened at once but have all returned by now make no flood.
    return FloodUpdate(lifecycle, new_members) if lifecycle.transitions else None


def flood_timing(timing: AlertTiming) -> AlertTiming:
    """The same time limits without a hold time."""
    return replace(timing, hold=dict.fromkeys(timing.hold, NO_HOLD))


def _flood_topic(first: Alert, platform: str) -> AlertTopic:
    """The topic of a flood is that of its first alert."""
    return AlertTopic(first.topic.type, first.topic.sensor_id, FLOOD_SUBJECT, platform)


def _flood_evidence(flood_alerts: Sequence[Alert], settings: BudgetSettings, now: datetime) -> AlertEvidence:
    first = flood_alerts[0]
    values = {
        "alerts": len(flood_alerts),
        "threshold": settings.flood_alerts,
        "duration": settings.flood_within.total_seconds(),
        "sensor": first.topic.sensor_id,
        "time": first.began_at.isoformat(),
        "first": first.evidence.reasons or (Reason(ReasonCode.TEXT, {"text": first.evidence.reason}),),
    }
    return AlertEvidence(
        weight=recency_weight(now), value=first.evidence.value, reasons=(Reason(ReasonCode.FLOOD, values),)
    )
