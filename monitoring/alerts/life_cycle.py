"""The life cycle of alerts: conditions and the passing of time change alerts, as one pure function.

Covers hold times, hysteresis, de-duplication (a repeated condition becomes part of the active alert of its
topic), return to normal, escalation, the end of shelving, maintenance and closing. A condition holds until
the next one. Conditions may arrive in portions of any size: the result is the same. Reads no clock and no
table. Conditions are made in `monitoring.watch`, what people do in `actions`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from monitoring.alerts.alert import Alert, AlertTopic, Condition, PendingAlert, Transition
from monitoring.alerts.kinds import AlertChange, AlertState, Severity

SEVERITIES = tuple(Severity)
MaintenanceWindows = Sequence[tuple[datetime, datetime]]  # from, until (excluded)


@dataclass(frozen=True)
class AlertTiming:
    """The time limits of one topic's alerts."""

    hold: Mapping[int, timedelta]  # by severity: a condition must be met this long
    return_after: timedelta  # without a condition
    close_after: timedelta  # after the return of an acknowledged alert; sooner is the same episode
    forget_after: timedelta  # after the return of an unacknowledged alert
    escalate_after: Mapping[int, timedelta]  # by severity: without acknowledgement; repeats
    escalations: int  # at most


@dataclass(frozen=True)
class LifecycleResult:
    """One topic after an evaluation: what is pending, the active alert, and every alert that changed."""

    pending: PendingAlert
    active: Alert | None
    transitions: tuple[Transition, ...]


class DueChange(NamedTuple):
    """A change that becomes due by time alone; of two at the same time the lower `order` comes first."""

    at: datetime
    order: int
    change: AlertChange
    severity: Severity = Severity.WARNING


def advance(
    topic: AlertTopic,
    pending: PendingAlert,
    alive: Alert | None,
    conditions: Iterable[Condition],
    timing: AlertTiming,
    *,
    now: datetime,
    maintenance: MaintenanceWindows = (),
) -> LifecycleResult:
    """Apply the new conditions in order of time, then let time pass until now."""
    lifecycle = _TopicLifecycle(topic, pending, alive, timing, now, maintenance)
    for condition in conditions:
        if pending.seen is None or condition.at > pending.seen:
            lifecycle.advance_to(condition.at, included=False)
            lifecycle.apply(condition)
            lifecycle.advance_to(condition.at)
    lifecycle.advance_to(now)
    return lifecycle.result()


class _TopicLifecycle:
    """The state of one topic while its conditions are applied."""

    def __init__(
        self,
        topic: AlertTopic,
        pending: PendingAlert,
        alive: Alert | None,
        timing: AlertTiming,
        now: datetime,
        maintenance: MaintenanceWindows,
    ) -> None:
        self.topic = topic
        self.pending = pending
        self.transition = None if alive is None else Transition(alive)
        self.timing = timing
        self.now = now
        self.maintenance = maintenance
        self.finished: list[Transition] = []

    def result(self) -> LifecycleResult:
        """The topic after everything that was applied."""
        transitions = (*self.finished, *([] if self.transition is None else [self.transition]))
        return LifecycleResult(
            self.pending, None if self.transition is None else self.transition.alert, transitions
        )

    def apply(self, condition: Condition) -> None:
        """Apply one condition."""
        if condition.superseded:
            self.pending = PendingAlert(seen=condition.at)
            if self.transition is not None:
                self._close(condition.at, notify=False)
            return
        if condition.explained or self._maintenance_end(condition.at) is not None:
            self.pending = replace(self.pending, since={}, evidence=None, seen=condition.at)
            return
        since_before = self.pending.since
        since = {
            int(severity): since_before.get(severity, condition.at)
            for severity in SEVERITIES
            if severity <= condition.met_severity
            or (severity <= condition.sustained_severity and severity in since_before)
        }
        evidence = (
            condition.evidence.stronger(self.pending.evidence)
            if condition.met_severity
            else self.pending.evidence
        )
        self.pending = PendingAlert(
            since=since,
            clear_since=None if condition.sustained_severity else self.pending.clear_since or condition.at,
            last_at=condition.at if condition.met_severity else self.pending.last_at,
            seen=condition.at,
            evidence=evidence if since else None,
        )
        if (
            self.transition is not None
            and self.transition.alert.state is AlertState.OPEN
            and condition.met_severity
        ):
            alert = self.transition.alert
            updated = replace(
                alert, last_at=condition.at, evidence=condition.evidence.stronger(alert.evidence)
            )
            self.transition = replace(self.transition, alert=updated)

    def advance_to(self, until: datetime, *, included: bool = True) -> None:
        """Apply the changes that are due until a time; those due exactly then only if `included`."""
        while (due := min(self._due_changes(), default=None)) is not None:
            if due.at > until or (due.at == until and not included):
                return
            self._apply_due(due)

    def _due_changes(self) -> Iterable[DueChange]:
        alert = None if self.transition is None else self.transition.alert
        open_severity = alert.severity if alert is not None and alert.state is AlertState.OPEN else 0
        for severity, since in self.pending.since.items():
            if severity > open_severity:
                yield DueChange(
                    since + self.timing.hold[severity], 1 - severity, AlertChange.OPENED, Severity(severity)
                )
        if alert is None:
            return
        if alert.shelved_until is not None:
            yield DueChange(alert.shelved_until, -9, AlertChange.UNSHELVED)
        if alert.state is AlertState.OPEN:
            if self.pending.clear_since is not None:
                yield DueChange(self.pending.clear_since + self.timing.return_after, 2, AlertChange.RETURNED)
            yield from self._escalation_due(alert)
        elif alert.shelved_until is None and not self.pending.since and alert.returned_at is not None:
            delay = self.timing.close_after if alert.acknowledged_at else self.timing.forget_after
            yield DueChange(max(alert.returned_at + delay, alert.changed_at), 4, AlertChange.CLOSED)

    def _escalation_due(self, alert: Alert) -> Iterable[DueChange]:
        if alert.waiting_since is None or alert.shelved_until or alert.escalations >= self.timing.escalations:
            return
        at = alert.waiting_since + self.timing.escalate_after[alert.severity]
        while (end := self._maintenance_end(at)) is not None:
            at = end
        yield DueChange(at, 3, AlertChange.ESCALATED)

    def _apply_due(self, due: DueChange) -> None:
        if due.change is AlertChange.OPENED:
            self._open_or_worsen(due)
            return
        assert self.transition is not None
        alert = self.transition.alert
        if due.change is AlertChange.UNSHELVED:
            waiting_since = None if alert.acknowledged_at else self.now
            self.transition = self.transition.with_event(
                due.change,
                due.at,
                shelved_until=None,
                shelved_by=None,
                waiting_since=waiting_since,
                escalations=0,
            )
        elif due.change is AlertChange.RETURNED:
            self.transition = self.transition.with_event(
                due.change, due.at, state=AlertState.RETURNED, returned_at=due.at
            )
        elif due.change is AlertChange.ESCALATED:
            count = alert.escalations + 1
            self.transition = self.transition.with_event(
                due.change, due.at, escalations=count, waiting_since=due.at
            )
        else:
            self._close(due.at)

    def _close(self, at: datetime, *, notify: bool = True) -> None:
        assert self.transition is not None
        closed = self.transition.with_event(
            AlertChange.CLOSED, at, notify=notify, state=AlertState.CLOSED, closed_at=at
        )
        self.finished.append(closed)
        self.transition = None

    def _open_or_worsen(self, due: DueChange) -> None:
        """Open an alert, worsen the open one or repeat the returned one after the hold time."""
        if self._maintenance_end(due.at) is not None:
            self.pending = replace(self.pending, since={}, evidence=None)
            return
        evidence, last = self.pending.evidence, self.pending.last_at
        assert evidence is not None
        assert last is not None
        if self.transition is None:
            self.transition = Transition(self._new_alert(due)).with_event(
                AlertChange.OPENED, due.at, detail=evidence.reason
            )
            return
        alert = self.transition.alert
        worse = due.severity > alert.severity
        waiting_since = self.now if worse or alert.acknowledged_at is None else None
        changes: dict[str, Any] = {
            "severity": max(due.severity, alert.severity),
            "last_at": last,
            "evidence": evidence.stronger(alert.evidence),
            "waiting_since": waiting_since,
            "escalations": 0 if waiting_since else alert.escalations,
        }
        # The acknowledgement of a warning does not cover the danger.
        if worse:
            changes |= {"acknowledged_at": None, "acknowledged_by": None}
        change = AlertChange.WORSENED
        if alert.state is not AlertState.OPEN:
            change = AlertChange.REPEATED
            changes |= {"state": AlertState.OPEN, "returned_at": None, "repeats": alert.repeats + 1}
        self.transition = self.transition.with_event(change, due.at, detail=evidence.reason, **changes)

    def _new_alert(self, due: DueChange) -> Alert:
        assert self.pending.evidence is not None
        assert self.pending.last_at is not None
        began = min(self.pending.since.values())
        return Alert(
            topic=self.topic,
            severity=due.severity,
            state=AlertState.OPEN,
            began_at=began,
            opened_at=due.at,
            last_at=self.pending.last_at,
            changed_at=began,
            evidence=self.pending.evidence,
            waiting_since=self.now,
        )

    def _maintenance_end(self, at: datetime) -> datetime | None:
        """The end of the maintenance at a time; None if there is none."""
        return max((end for start, end in self.maintenance if start <= at < end), default=None)
