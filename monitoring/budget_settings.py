"""What the control room can stand, and what counts as too much at once.

Knows the section `budget` of conf/monitoring.yaml. The numbers are those of EEMUA 191: about 120 alarms a day
and operator; a flood is 10 in 10 minutes.
"""

from datetime import timedelta

from pydantic import Field

from training.settings import Settings


class BudgetSettings(Settings, file="monitoring", section="budget"):
    """How many alerts people are asked to look at."""

    alerts_per_day: float = Field(120, gt=0, description="an operator")
    operators: int = Field(1, ge=1, description="on a shift")
    flood_alerts: int = Field(10, ge=2, description="on a platform at once: told as one")
    flood_within: timedelta = Field(timedelta(minutes=10), gt=timedelta(0))
    chatter_times: int = Field(3, ge=2, description="so often within an hour: chattering")
    stale_after: timedelta = Field(timedelta(days=1), gt=timedelta(0), description="open so long: stale")

    @property
    def per_day(self) -> float:
        """Alerts a day for everybody together."""
        return self.alerts_per_day * self.operators
