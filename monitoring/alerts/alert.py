"""An alert, what speaks for it and what happened to it: the values that the life cycle turns.

Knows fields. When they change is told in `life_cycle` (by readings and time) and `answers` (by people).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from monitoring.alerts.kinds import AlertChange, AlertState, AlertType, AlertVerdict, Severity


@dataclass(frozen=True)
class AlertTopic:
    """What an alert is about; of each topic at most one alert is alive."""

    type: AlertType
    sensor_id: str
    subject: str = ""
    platform: str = ""


@dataclass(frozen=True)
class AlertEvidence:
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

    def stronger(self, other: "AlertEvidence | None") -> "AlertEvidence":
        """The one to tell; of two that weigh the same, the older."""
        return self if other is None or self.weight > other.weight else other


def recency_weight(at: datetime) -> float:
    """What evidence weighs of which the newest is to be told: the later, the heavier.

    >>> heft(datetime.fromisoformat("2026-01-01T00:00:01")) - heft(datetime.fromisoformat("2026-01-01"))
    1.0
    """
    return at.replace(tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Condition:
    """What one reading, forecast or check says of a topic.

    `reaches` is the highest severity whose condition holds, 0 for none; `keeps` the highest that is not over
    yet. Between the two lies the hysteresis: neither does it begin there, nor does it end.
    """

    at: datetime
    met_severity: int = 0
    sustained_severity: int = 0
    evidence: AlertEvidence = AlertEvidence()
    explained: bool = False  # by something else: neither a beginning nor an end, and no hold goes on

    def __post_init__(self) -> None:
        if self.sustained_severity < self.met_severity:
            raise ValueError(f"what reaches {self.met_severity} is not over at {self.sustained_severity}")


@dataclass(frozen=True)
class PendingAlert:
    """How far a topic has been looked at, and what is on its way to become an alert."""

    since: Mapping[int, datetime] = field(default_factory=dict)  # by severity, held without a break
    clear_since: datetime | None = None
    last_at: datetime | None = None  # the newest sign that reached anything
    seen: datetime | None = None
    evidence: AlertEvidence | None = None


@dataclass(frozen=True)
class Alert:
    """One episode of one topic. Times are naive UTC, by the readings' clock."""

    topic: AlertTopic
    severity: Severity
    state: AlertState
    began_at: datetime
    opened_at: datetime
    last_at: datetime
    changed_at: datetime
    evidence: AlertEvidence
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
    verdict: AlertVerdict | None = None
    verdict_at: datetime | None = None
    verdict_by: str | None = None
    note: str | None = None
    group_id: int | None = None
    revision: int = 0


@dataclass(frozen=True)
class AlertEvent:
    """One thing that happened to an alert."""

    change: AlertChange
    at: datetime
    severity: Severity
    by: str | None = None
    detail: str = ""
    notify: bool = True  # False while it is shelved


@dataclass(frozen=True)
class Transition:
    """An alert as it is now, and what happened to it to get there, in order."""

    alert: Alert
    events: tuple[AlertEvent, ...] = ()

    def with_event(
        self, change: AlertChange, at: datetime, *, by: str | None = None, detail: str = "", **now: object
    ) -> "Transition":
        """One event further; what it sets of the alert is given by name. No event is before the last one."""
        changed_at = max(at, self.alert.changed_at)
        changed = replace(self.alert, changed_at=changed_at, revision=self.alert.revision + 1, **now)  # type: ignore[arg-type]
        notify = self.alert.shelved_until is None or change in {AlertChange.SHELVED, AlertChange.UNSHELVED}
        event = AlertEvent(change, changed_at, changed.severity, by, detail, notify)
        return Transition(changed, (*self.events, event))
