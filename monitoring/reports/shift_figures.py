"""Key figures of a shift: calls, acknowledgements, and what is active, shelved or under maintenance.

A call is what makes an operator look: an alert that opens, becomes worse or becomes active again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from monitoring.alerts.alarm_budget_settings import BudgetSettings
from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.kinds import CALLING_CHANGES, AlertChange, AlertState
from monitoring.alerts.maintenance import MaintenanceWindow
from monitoring.alerts.store import FLOOD_SUBJECT, AlertStore
from monitoring.reports.alert_statistics import max_in_window
from training.settings import load_settings
from training.workspace import Workspace

TEN_MINUTES = timedelta(minutes=10)


@dataclass(frozen=True)
class ShiftFigures:
    """Figures from the start until the end of a shift."""

    calls: int
    calls_per_operator_hour: float
    most_in_ten_minutes: int
    alerts: int
    active: int  # at the end
    unacknowledged: int  # of the active ones
    median_acknowledge_time: timedelta | None  # of the alerts acknowledged in the shift
    shelved: int
    maintenance: int


def load_figures(
    workspace: Workspace,
    alerts: Sequence[Alert],
    windows: Sequence[MaintenanceWindow],
    *,
    start: datetime,
    end: datetime,
) -> ShiftFigures:
    """The figures of a shift with these alerts and maintenance windows."""
    changes = AlertStore(workspace.engine).changes(start=start, end=end)
    operators = load_settings(BudgetSettings).operators
    return compute_figures(alerts, changes, len(windows), operators, start=start, end=end)


def compute_figures(
    alerts: Sequence[Alert],
    changes: Sequence[tuple[int, AlertEvent]],
    maintenance: int,
    operators: int,
    *,
    start: datetime,
    end: datetime,
) -> ShiftFigures:
    """The figures from the shift's alerts and their changes, in order of time; floods are not alerts."""
    by_id = {alert.id: alert for alert in alerts if alert.topic.subject != FLOOD_SUBJECT}
    active = [alert for alert in by_id.values() if alert.state is AlertState.OPEN]
    calls = [event.at for alert_id, event in changes if alert_id in by_id and event.change in CALLING_CHANGES]
    waits = _acknowledge_times([(key, event) for key, event in changes if key in by_id], by_id)
    return ShiftFigures(
        calls=len(calls),
        calls_per_operator_hour=len(calls) / operators / ((end - start) / timedelta(hours=1)),
        most_in_ten_minutes=max_in_window(calls, TEN_MINUTES),
        alerts=len(by_id),
        active=len(active),
        unacknowledged=sum(alert.acknowledged_at is None for alert in active),
        median_acknowledge_time=timedelta(seconds=median(waits)) if waits else None,
        shelved=sum(alert.shelved_until is not None for alert in active),
        maintenance=maintenance,
    )


def _acknowledge_times(
    changes: Sequence[tuple[int, AlertEvent]], by_id: dict[int | None, Alert]
) -> list[float]:
    """Seconds from each alert's last call, or its opening before the shift, until it was acknowledged."""
    last_calls = {alert_id: alert.opened_at for alert_id, alert in by_id.items()}
    waits = []
    for alert_id, event in changes:
        if event.change in CALLING_CHANGES:
            last_calls[alert_id] = event.at
        elif event.change is AlertChange.ACKNOWLEDGED:
            waits.append((event.at - last_calls[alert_id]).total_seconds())
    return waits
