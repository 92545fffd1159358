"""Floods: many alerts on one platform at once are one message, with the likely first cause.

Knows when there are too many, who belongs to them, and which came first. A flood is an alert itself, with the
life of any other; what is critical is told all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert import Alert, Evidence, Pending, Sign, Topic, heft
from monitoring.alerts.kinds import State
from monitoring.alerts.life_cycle import Course, Pace, advance
from monitoring.alerts.store import FLOOD
from training.common.formatting import format_duration

AT_ONCE = timedelta(0)


@dataclass(frozen=True)
class Flood:
    """What became of a platform's flood, and the alerts that are now part of it."""

    course: Course
    joining: tuple[Alert, ...]


def find_flood(
    standing: Alert | None,
    members: Sequence[Alert],
    fresh: Sequence[Alert],
    pending: Pending,
    settings: BudgetSettings,
    pace: Pace,
    *,
    platform: str,
    now: datetime,
) -> Flood | None:
    """Whether a platform's fresh alerts are a flood, or part of the one that stands.

    `members` are the alerts of the flood that stands, `fresh` those told of late that belong to none.
    """
    lively = standing is not None and standing.state is State.OPEN
    joining = tuple(fresh) if lively or len(fresh) >= settings.flood_alerts else ()
    if standing is None and not joining:
        return None
    together = sorted((*members, *joining), key=lambda alert: (alert.began_at, alert.id or 0))
    worst = max((alert.severity for alert in together if alert.state is State.OPEN), default=0)
    topic = standing.topic if standing else _topic(together[0], platform)
    sign = Sign(now, worst, worst, _evidence(together, settings, now))
    course = advance(topic, pending, standing, [sign], pace, now=now)
    # Many that opened at once and are all over again by now are no flood any more.
    return Flood(course, joining) if course.chapters else None


def pace_of_floods(pace: Pace) -> Pace:
    """A flood is told at once."""
    return Pace(
        hold=dict.fromkeys(pace.hold, AT_ONCE),
        return_after=pace.return_after,
        close_after=pace.close_after,
        forget_after=pace.forget_after,
        escalate_after=pace.escalate_after,
        escalations=pace.escalations,
    )


def _topic(first: Alert, platform: str) -> Topic:
    """A flood is about what came first."""
    return Topic(first.topic.type, first.topic.sensor_id, FLOOD, platform)


def _evidence(together: Sequence[Alert], settings: BudgetSettings, now: datetime) -> Evidence:
    first = together[0]
    told = (
        f"{len(together)} alerts at once (a flood is {settings.flood_alerts} in "
        f"{format_duration(settings.flood_within)}); the first was {first.topic.sensor_id} at "
        f"{first.began_at:%Y-%m-%d %H:%M} UTC: {first.evidence.reason}"
    )
    return Evidence(weight=heft(now), value=first.evidence.value, reason=told)
