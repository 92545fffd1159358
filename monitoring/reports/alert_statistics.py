"""Alert statistics of a period: rates, floods, the sensors with most alerts, and the precision of versions.

Counts only; the accepted rates are in `monitoring.alerts.alarm_budget_settings`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.kinds import CALLING_CHANGES, AlertChange, AlertState, AlertVerdict
from monitoring.alerts.store import FLOOD_SUBJECT, AlertStore
from training.settings import load_settings
from training.storage.alert_verdicts import count_verdicts
from training.storage.database import reading
from training.workspace import Workspace

MAX_WORST_SENSORS = 10
ONE_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class AlertStatistics:
    """Figures of a period; rates are of all operators together.

    A call is what makes an operator look: an alert that opens, becomes worse or becomes active again.
    """

    alerts: int
    calls: int
    per_day: float  # calls
    budget_per_day: float
    changes: int  # of any kind: the messages of a channel that gets all
    most_in_ten_minutes: int
    floods: int
    worst: tuple[dict[str, Any], ...]
    stale: tuple[int, ...]
    chattering: tuple[int, ...]
    precision: tuple[dict[str, Any], ...] = ()  # of the whole history, by sensor and version

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(vars(self))


def compute_statistics(
    alerts: Sequence[Alert],
    changes: Sequence[tuple[int, AlertEvent]],
    settings: BudgetSettings,
    *,
    start: datetime,
    end: datetime,
) -> AlertStatistics:
    """Statistics from `start` until `end`, of the alerts active then and their changes."""
    by_id = {alert.id: alert for alert in alerts if alert.topic.subject != FLOOD_SUBJECT}
    notifications = sorted(
        (event.at, alert_id)
        for alert_id, event in changes
        if event.change in CALLING_CHANGES and alert_id in by_id
    )
    opened = [
        alert_id for alert_id, event in changes if event.change is AlertChange.OPENED and alert_id in by_id
    ]
    days = max((end - start) / timedelta(days=1), 1e-9)
    floods = {
        alert.id for alert in alerts if alert.topic.subject == FLOOD_SUBJECT and alert.opened_at >= start
    }
    return AlertStatistics(
        alerts=len(opened),
        calls=len(notifications),
        per_day=len(notifications) / days,
        budget_per_day=settings.per_day,
        changes=sum(alert_id in by_id for alert_id, _ in changes),
        most_in_ten_minutes=max_in_window([at for at, _ in notifications], settings.flood_within),
        floods=len(floods),
        worst=tuple(_worst_sensors(notifications, by_id, days)),
        stale=tuple(
            alert.id or 0
            for alert in by_id.values()
            if alert.state is AlertState.OPEN and end - alert.opened_at > settings.stale_after
        ),
        chattering=tuple(_chattering_alerts(notifications, settings.chatter_times)),
    )


def max_in_window(times: Sequence[datetime], length: timedelta) -> int:
    """The largest number of times within any window of this length; the times are sorted.

    >>> begin = datetime.fromisoformat("2026-01-01")
    >>> max_in_window([begin + timedelta(minutes=m) for m in (0, 9, 10, 11, 30)], timedelta(minutes=10))
    3
    """
    highest, first = 0, 0
    for last, moment in enumerate(times):
        while moment - times[first] >= length:
            first += 1
        highest = max(highest, last - first + 1)
    return highest


def alert_statistics(workspace: Workspace, *, start: datetime, end: datetime) -> AlertStatistics:
    """The statistics of one installation."""
    store = AlertStore(workspace.engine)
    alerts = store.find(start=start, end=end)
    changes = store.changes(start=start, end=end)
    with reading(workspace.engine) as connection:
        verdicts = count_verdicts(connection)
    precision = tuple(
        {"sensor_id": sensor_id, "version": version, **vars(judged), "precision": judged.precision}
        for sensor_id, versions in sorted(verdicts.items())
        for version, judged in sorted(versions.items())
    )
    statistics = compute_statistics(alerts, changes, load_settings(BudgetSettings), start=start, end=end)
    return replace(statistics, precision=precision)


def _worst_sensors(
    notifications: Sequence[tuple[datetime, int]], by_id: dict[int | None, Alert], days: float
) -> list[dict[str, Any]]:
    """The sensors with most alerts, and the verdicts on them."""
    counts = Counter(by_id[alert_id].topic.sensor_id for _, alert_id in notifications)
    verdicts: dict[str, Counter[AlertVerdict]] = defaultdict(Counter)
    for alert in by_id.values():
        if alert.verdict is not None:
            verdicts[alert.topic.sensor_id][alert.verdict] += 1
    return [
        {
            "sensor_id": sensor_id,
            "calls": count,
            "per_day": count / days,
            "share": count / len(notifications),
            "confirmed": verdicts[sensor_id][AlertVerdict.CONFIRM],
            "false": verdicts[sensor_id][AlertVerdict.FALSE],
        }
        for sensor_id, count in counts.most_common(MAX_WORST_SENSORS)
    ]


def _chattering_alerts(notifications: Sequence[tuple[datetime, int]], times: int) -> list[int]:
    """Alerts that opened or repeated at least `times` times within an hour."""
    by_alert: dict[int, list[datetime]] = defaultdict(list)
    for at, alert_id in notifications:
        by_alert[alert_id].append(at)
    return [alert_id for alert_id, moments in by_alert.items() if max_in_window(moments, ONE_HOUR) >= times]
