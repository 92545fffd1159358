"""An alert, what speaks for it and what happened to it: the values that the life cycle turns.

Knows fields. When they change is told in `life_cycle` (by readings and time) and `answers` (by people).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from monitoring.alerts.kinds import AlertType, Change, Judgement, Severity, State


@dataclass(frozen=True)
class Topic:
    """What an alert is about; of each topic at most one alert is alive."""

    type: AlertType
    sensor_id: str
    subject: str = ""
    platform: str = ""


@dataclass(frozen=True)
class Evidence:
    """What speaks for an alert: the oddest reading so far, or the worst forecast."""

    weight: float = 0.0  # the heaviest is told; where one is as bad as another, the newest: see `heft`
    value: float | None = None
    score: float | None = None
    threshold: float | None = None
    limit: float | None = None
    crosses_at: datetime | None = None
    probability: float | None = None
    reason: str = ""
    model_version: str = ""

    def heavier(self, other: "Evidence | None") -> "Evidence":
        """The one to tell; of two that weigh the same, the older."""
        return self if other is None or self.weight > other.weight else other


def heft(at: datetime) -> float:
    """What evidence weighs of which the newest is to be told: the later, the heavier.

    >>> heft(datetime.fromisoformat("2026-01-01T00:00:01")) - heft(datetime.fromisoformat("2026-01-01"))
    1.0
    """
    return at.replace(tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Sign:
    """What one reading, forecast or check says of a topic.

    `reaches` is the highest severity whose condition holds, 0 for none; `keeps` the highest that is not over
    yet. Between the two lies the hysteresis: neither does it begin there, nor does it end.
    """

    at: datetime
    reaches: int = 0
    keeps: int = 0
    evidence: Evidence = Evidence()
    explained: bool = False  # by something else: neither a beginning nor an end, and no hold goes on

    def __post_init__(self) -> None:
        if self.keeps < self.reaches:
            raise ValueError(f"what reaches {self.reaches} is not over at {self.keeps}")


@dataclass(frozen=True)
class Pending:
    """How far a topic has been looked at, and what is on its way to become an alert."""

    since: Mapping[int, datetime] = field(default_factory=dict)  # by severity, held without a break
    clear_since: datetime | None = None
    last_at: datetime | None = None  # the newest sign that reached anything
    seen: datetime | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Alert:
    """One episode of one topic. Times are naive UTC, by the readings' clock."""

    topic: Topic
    severity: Severity
    state: State
    began_at: datetime
    opened_at: datetime
    last_at: datetime
    changed_at: datetime
    evidence: Evidence
    id: int | None = None
    returned_at: datetime | None = None
    closed_at: datetime | None = None
    waiting_since: datetime | None = None  # by our own clock, since people were last told
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    shelved_until: datetime | None = None
    shelved_by: str | None = None
    escalations: int = 0
    repeats: int = 0
    verdict: Judgement | None = None
    verdict_at: datetime | None = None
    verdict_by: str | None = None
    note: str | None = None
    group_id: int | None = None
    revision: int = 0


@dataclass(frozen=True)
class Event:
    """One thing that happened to an alert."""

    change: Change
    at: datetime
    severity: Severity
    by: str | None = None
    detail: str = ""
    told: bool = True  # False while it is shelved


@dataclass(frozen=True)
class Chapter:
    """An alert as it is now, and what happened to it to get there, in order."""

    alert: Alert
    events: tuple[Event, ...] = ()

    def then(
        self, change: Change, at: datetime, *, by: str | None = None, detail: str = "", **now: object
    ) -> "Chapter":
        """One event further; what it sets of the alert is given by name. No event is before the last one."""
        when = max(at, self.alert.changed_at)
        turned = replace(self.alert, changed_at=when, revision=self.alert.revision + 1, **now)  # type: ignore[arg-type]
        told = self.alert.shelved_until is None or change in {Change.SHELVED, Change.UNSHELVED}
        event = Event(change, when, turned.severity, by, detail, told)
        return Chapter(turned, (*self.events, event))
