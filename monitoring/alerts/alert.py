"""Values of the alert life cycle: alerts, their evidence, conditions and transitions.

Holds fields only. They are changed by `life_cycle` (readings and time) and `actions` (people).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from monitoring.alerts.kinds import AlertChange, AlertState, AlertType, AlertVerdict, Severity
from monitoring.alerts.levels import LevelMemory, ObservedReading
from training.anomaly.normal_band import NormalBand
from training.common.times import to_seconds
from training.reasons import Reason, render_all


@dataclass(frozen=True)
class AlertTopic:
    """What an alert is about; each topic has at most one alert that is not closed."""

    type: AlertType
    sensor_id: str
    subject: str = ""
    platform: str = ""


@dataclass(frozen=True)
class AlertEvidence:
    """Why an alert is active: its most anomalous reading so far, or its most critical forecast.

    `reason` is the English text of `reasons` unless it is given: scripts and rows of 0.1.0 have only a text.
    """

    weight: float = 0.0  # of two pieces of evidence the one that weighs more is shown
    value: float | None = None
    score: float | None = None
    threshold: float | None = None
    limit: float | None = None
    crosses_at: datetime | None = None
    probability: float | None = None
    reason: str = ""
    model_version: str = ""
    reasons: tuple[Reason, ...] = ()
    at: datetime | None = None  # of the reading, forecast or check; unknown in rows of 0.1.0

    def __post_init__(self) -> None:
        if self.reasons and not self.reason:
            object.__setattr__(self, "reason", render_all(self.reasons))

    def stronger(self, other: "AlertEvidence | None") -> "AlertEvidence":
        """The one that weighs more; of two equal ones, the other, which is older."""
        return self if other is None or self.weight > other.weight else other


def recency_weight(at: datetime) -> float:
    """The weight of evidence whose newest is shown: the later, the larger.

    >>> recency_weight(datetime.fromisoformat("2026-01-01T00:00:01")) - recency_weight(datetime(2026, 1, 1))
    1.0
    """
    return to_seconds(at)


@dataclass(frozen=True)
class Condition:
    """What one reading, forecast or drift check means for a topic.

    `met_severity` is the highest severity whose condition is met, 0 for none; `sustained_severity` the
    highest that has not ended. Between the two lies the hysteresis: an alert neither begins nor ends there.
    """

    at: datetime
    met_severity: int = 0
    sustained_severity: int = 0
    evidence: AlertEvidence = AlertEvidence()
    explained: bool = False  # by another alert: neither begins nor ends one, and restarts the hold time
    superseded: bool = False  # by another alert, which reports it from now on: closes this one at once
    value: float | None = None  # the sensor's value then
    band: NormalBand | None = None  # of the readings before; the end of an alert is judged by it

    def __post_init__(self) -> None:
        if self.sustained_severity < self.met_severity:
            raise ValueError(
                f"sustained_severity {self.sustained_severity} is below met_severity {self.met_severity}"
            )


@dataclass(frozen=True)
class Recovery:
    """What began during maintenance and has not ended: no alert begins until it has, or until a time."""

    until: datetime
    clear_since: datetime | None = None


@dataclass(frozen=True)
class PendingAlert:
    """How far a topic has been evaluated, and the condition that may become an alert."""

    since: Mapping[int, datetime] = field(default_factory=dict)  # by severity: met without a break since then
    clear_since: datetime | None = None
    last_at: datetime | None = None  # the newest condition that was met
    seen: datetime | None = None  # the newest condition that was evaluated
    evidence: AlertEvidence | None = None
    first: ObservedReading | None = None  # of the condition that may become an alert
    current: ObservedReading | None = None
    normal: NormalBand | None = None  # before the condition
    deviated: bool = False  # the level has left the normal band
    raised: bool = False  # the newest score has not fallen yet
    lingers_until: datetime | None = None  # a score that stays high after a return counts for nothing
    steady: ObservedReading | None = None  # a new level, and since when the score has been low at it
    levels: LevelMemory = field(default_factory=LevelMemory)
    recovery: Recovery | None = None  # from maintenance


@dataclass(frozen=True)
class Alert:
    """One episode of one topic. Times are naive UTC, by the timestamps of the readings."""

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
    waiting_since: datetime | None = None  # by the server's clock: not acknowledged since this notification
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
    first: ObservedReading | None = None
    current: ObservedReading | None = None
    normal: NormalBand | None = None  # before the alert
    deviated: bool = False  # the level has left the normal band: the alert lasts until it is back
    settled: ObservedReading | None = None  # the new level, and since when it is one
    notified: bool = True  # False while its changes are history and nobody was notified of them

    @property
    def worst(self) -> ObservedReading | None:
        """The reading of the evidence."""
        at, value = self.evidence.at, self.evidence.value
        return None if at is None or value is None else ObservedReading(at, value)


@dataclass(frozen=True)
class AlertEvent:
    """One change of an alert."""

    change: AlertChange
    at: datetime
    severity: Severity
    by: str | None = None
    reasons: tuple[Reason, ...] = ()
    detail: str = ""  # the English text of `reasons` unless it is given
    notify: bool = True  # False while the alert is shelved

    def __post_init__(self) -> None:
        if self.reasons and not self.detail:
            object.__setattr__(self, "detail", render_all(self.reasons))


@dataclass(frozen=True)
class Transition:
    """An alert as it is now, and the events that led there, in order."""

    alert: Alert
    events: tuple[AlertEvent, ...] = ()

    def with_event(
        self,
        change: AlertChange,
        at: datetime,
        *,
        by: str | None = None,
        reasons: tuple[Reason, ...] = (),
        detail: str = "",
        notify: bool = True,
        **now: object,
    ) -> "Transition":
        """One more event and the fields of the alert that it sets; an event is never before the last one."""
        changed_at = max(at, self.alert.changed_at)
        changed = replace(self.alert, changed_at=changed_at, revision=self.alert.revision + 1, **now)  # type: ignore[arg-type]
        audible = self.alert.shelved_until is None or change in {AlertChange.SHELVED, AlertChange.UNSHELVED}
        event = AlertEvent(change, changed_at, changed.severity, by, reasons, detail, notify and audible)
        return Transition(changed, (*self.events, event))
