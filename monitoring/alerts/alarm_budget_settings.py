"""Settings of the alarm budget: how many alerts the control room can handle, and what counts as a flood.

The section `budget` of conf/monitoring.yaml. The defaults keep to EEMUA 191: at most 144 alarms a day for
each operator, 5 % of them of the highest priority and 15 % of the middle one; a flood is 10 in 10 minutes.
"""

from datetime import timedelta

from pydantic import Field

from training.settings import Settings


class BudgetSettings(Settings, file="monitoring", section="budget"):
    """The alarm budget and the limits of alarm statistics."""

    alerts_per_day: float = Field(120, gt=0, description="alerts a day for each operator")
    operators: int = Field(1, ge=1, description="operators on a shift")
    danger_share: float = Field(0.15, gt=0, le=1, description="share of all alerts that may have severity 3")
    critical_share: float = Field(
        0.05, ge=0, lt=1, description="share of all alerts reserved for severity 4, critical limits"
    )
    certain: float = Field(
        0.99, gt=0.5, le=1, description="scores from this on raise alerts whatever the budget is"
    )
    learn_from: timedelta = Field(
        timedelta(days=28), ge=timedelta(days=1), description="past scores that set the thresholds"
    )
    flood_alerts: int = Field(
        10, ge=2, description="alerts on a platform within flood_within that are notified as one flood"
    )
    flood_within: timedelta = Field(
        timedelta(minutes=10), gt=timedelta(0), description="time in which flood_alerts make a flood"
    )
    chatter_times: int = Field(3, ge=2, description="alerts of a topic within an hour: chattering")
    stale_after: timedelta = Field(
        timedelta(days=1), gt=timedelta(0), description="time open after which an alert is stale"
    )

    @property
    def per_day(self) -> float:
        """Alerts a day of all operators together."""
        return self.alerts_per_day * self.operators
