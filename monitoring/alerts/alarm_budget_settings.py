"""What the control room can stand, and what counts as too much at once.

Knows the section `budget` of conf/monitoring.yaml. The numbers are those of EEMUA 191: about 120 alarms a day
and operator, 5 % of them of the highest priority and 15 % of the middle one; a flood is 10 in 10 minutes.
"""

from datetime import timedelta

from pydantic import Field

from training.settings import Settings


class BudgetSettings(Settings, file="monitoring", section="budget"):
    """How many alerts people are asked to look at."""

    alerts_per_day: float = Field(120, gt=0, description="an operator")
    operators: int = Field(1, ge=1, description="on a shift")
    danger_share: float = Field(0.15, gt=0, le=1, description="of all alerts, that may be of severity 3")
    critical_share: float = Field(0.05, ge=0, lt=1, description="kept for severity 4, forecasts at a limit")
    certain: float = Field(0.99, gt=0.5, le=1, description="such a score is told whatever the budget says")
    learn_from: timedelta = Field(timedelta(days=28), ge=timedelta(days=1), description="scores of so long")
    flood_alerts: int = Field(10, ge=2, description="on a platform at once: told as one")
    flood_within: timedelta = Field(timedelta(minutes=10), gt=timedelta(0))
    chatter_times: int = Field(3, ge=2, description="so often within an hour: chattering")
    stale_after: timedelta = Field(timedelta(days=1), gt=timedelta(0), description="open so long: stale")

    @property
    def per_day(self) -> float:
        """Alerts a day for everybody together."""
        return self.alerts_per_day * self.operators
