"""Floods: many alerts on one platform at once are one message, with the likely first cause.

Knows when there are too many, who belongs to them, and which came first. A flood is an alert itself, with the
life of any other; what is critical is told all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert import Alert, AlertEvidence, AlertTopic, Condition, PendingAlert, recency_weight
from monitoring.alerts.kinds import AlertState
from monitoring.alerts.life_cycle import AlertTiming, LifecycleResult, advance
from monitoring.alerts.store import FLOOD_SUBJECT
from training.common.formatting import format_duration

NO_HOLD = timedelta(0)


@dataclass(frozen=True)
class FloodUpdate:
    """What became of a platform's flood, and the alerts that are now part of it."""

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
    """Whether a platform's fresh alerts are a flood, or part of the one that stands.

    `members` are the alerts of the flood that stands, `fresh` those told of late that belong to none.
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
    # Many that opened at once and are all over again by now are no flood any more.
    return FloodUpdate(lifecycle, new_members) if lifecycle.transitions else None


def flood_timing(timing: AlertTiming) -> AlertTiming:
    """A flood is told at once."""
    return AlertTiming(
        hold=dict.fromkeys(timing.hold, NO_HOLD),
        return_after=timing.return_after,
        close_after=timing.close_after,
        forget_after=timing.forget_after,
        escalate_after=timing.escalate_after,
        escalations=timing.escalations,
    )


def _flood_topic(first: Alert, platform: str) -> AlertTopic:
    """A flood is about what came first."""
    return AlertTopic(first.topic.type, first.topic.sensor_id, FLOOD_SUBJECT, platform)


def _flood_evidence(flood_alerts: Sequence[Alert], settings: BudgetSettings, now: datetime) -> AlertEvidence:
    first = flood_alerts[0]
    reason = (
        f"{len(flood_alerts)} alerts at once (a flood is {settings.flood_alerts} in "
        f"{format_duration(settings.flood_within)}); the first was {first.topic.sensor_id} at "
        f"{first.began_at:%Y-%m-%d %H:%M} UTC: {first.evidence.reason}"
    )
    return AlertEvidence(weight=recency_weight(now), value=first.evidence.value, reason=reason)
