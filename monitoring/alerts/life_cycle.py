"""The life cycle of alerts: conditions and the passing of time change alerts, as one pure function.

Covers hold times, hysteresis, de-duplication (a repeated condition becomes part of the active alert of its
topic), return to normal, new levels, escalation, the end of shelving, maintenance and closing. A condition
holds until the next one. Conditions may arrive in portions of any size: the result is the same. Reads no
clock and no table. Conditions are made in `monitoring.watch`, what people do in `actions`.

An alert whose level has left the normal band is over when the level is back in it, whatever the score is: the
score of a window stays high after the end, and falls during a step that lasts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from monitoring.alerts.alert import Alert, AlertTopic, Condition, PendingAlert, Recovery, Transition
from monitoring.alerts.kinds import AlertChange, AlertState, Severity
from monitoring.alerts.levels import LevelMemory, ObservedReading
from training.anomaly.normal_band import NormalBand
from training.reasons import Reason, ReasonCode

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
    accept_level_after: timedelta = timedelta(hours=8)  # at a new level, which is then the normal one
    recover_after: timedelta = timedelta(0)  # maintenance, for what began during it and has not ended


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
                self._close(AlertChange.CLOSED, condition.at, notify=False)
            return
        before = self.pending
        observed = None if condition.value is None else ObservedReading(condition.at, condition.value)
        if observed is not None:
            self._update_alert(current=observed)
        maintenance_end = self._maintenance_end(condition.at)
        recovery = self._recovery(condition, maintenance_end)
        if condition.explained or maintenance_end is not None or recovery is not None:
            self.pending = replace(
                before,
                since={},
                evidence=None,
                seen=condition.at,
                current=observed or before.current,
                recovery=recovery,
            )
            return
        levels = before.levels
        if observed is not None and condition.band is not None:
            levels = levels.add(observed, condition.band, normal=not condition.sustained_severity)
        lingers = self._lingers(condition)
        met_severity = 0 if lingers else condition.met_severity
        sustained_severity = 0 if lingers else condition.sustained_severity
        since = {
            int(severity): before.since.get(severity, condition.at)
            for severity in SEVERITIES
            if severity <= met_severity or (severity <= sustained_severity and severity in before.since)
        }
        evidence = replace(condition.evidence, at=condition.at)
        self.pending = PendingAlert(
            since=since,
            clear_since=None if condition.sustained_severity else before.clear_since or condition.at,
            last_at=condition.at if met_severity else before.last_at,
            seen=condition.at,
            evidence=(evidence.stronger(before.evidence) if met_severity else before.evidence)
            if since
            else None,
            current=observed or before.current,
            raised=condition.sustained_severity > 0,
            lingers_until=None
            if before.raised and not condition.sustained_severity
            else before.lingers_until,
            levels=levels,
        )
        if since:
            self._remember_beginning(before, observed, condition.band)
        if met_severity and self._alert_is_open():
            self._update_alert(last_at=condition.at, evidence=evidence.stronger(self._alert().evidence))
        if condition.band is not None and self._alert_is_open():
            self._judge_level(condition, before)

    def _recovery(self, condition: Condition, maintenance_end: datetime | None) -> Recovery | None:
        """What is left of maintenance: a machine that warms up is not yet normal, and that is no news."""
        recovery = self.pending.recovery
        if maintenance_end is not None and condition.sustained_severity:
            recovery = Recovery(maintenance_end + self.timing.recover_after)
        if recovery is None or condition.at >= recovery.until:
            return None
        if condition.sustained_severity:
            return replace(recovery, clear_since=None)
        clear_since = recovery.clear_since or condition.at
        is_over = condition.at - clear_since >= self.timing.return_after
        return None if is_over else replace(recovery, clear_since=clear_since)

    def _lingers(self, condition: Condition) -> bool:
        """Whether a high score is left over: its reading is back in the band that the level had left."""
        alert = None if self.transition is None else self.transition.alert
        if alert is None or not alert.deviated or alert.normal is None or condition.value is None:
            return False
        if condition.value not in alert.normal:
            return False
        until = self.pending.lingers_until
        return alert.state is AlertState.OPEN or (until is not None and condition.at < until)

    def _remember_beginning(
        self, before: PendingAlert, observed: ObservedReading | None, band: NormalBand | None
    ) -> None:
        """Keep the first reading of a condition, the band before it, and whether the level has left that."""
        begins = not before.since
        normal = (before.levels.band or band) if begins else before.normal
        self.pending = replace(
            self.pending,
            first=observed if begins else before.first,
            normal=normal,
            deviated=(before.deviated and not begins) or _is_outside(self.pending.levels, normal),
        )

    def _judge_level(self, condition: Condition, before: PendingAlert) -> None:
        """Whether the alert is over, by the level where that has left the normal band."""
        alert, levels = self._alert(), self.pending.levels
        outside = _is_outside(levels, alert.normal)
        if outside and not alert.deviated:
            self._update_alert(deviated=True)
        if alert.normal is None or not self._alert().deviated:
            return
        # An anomalous reading outside the band may be the next excursion, whatever the median is.
        if not outside and not self.pending.since:
            began = levels.inside_since(alert.normal) or condition.at
            # A change is not dated before the reading that shows it.
            began = max(began, condition.at - self.timing.return_after)
            self.pending = replace(
                self.pending, clear_since=(before.clear_since if alert.deviated else None) or began
            )
            return
        steady = None
        if not condition.sustained_severity:
            level = levels.level
            assert level is not None
            tolerance = max(alert.normal.half_width, levels.spread / 2)
            unmoved = before.steady is not None and abs(before.steady.value - level) <= tolerance
            steady = before.steady if unmoved else ObservedReading(condition.at, level)
        self.pending = replace(self.pending, clear_since=None, steady=steady)

    def advance_to(self, until: datetime, *, included: bool = True) -> None:
        """Apply the changes that are due until a time; those due exactly then only if `included`."""
        while (due := min(self._due_changes(), default=None)) is not None:
            if due.at > until or (due.at == until and not included):
                return
            self._apply_due(due)

    def _due_changes(self) -> Iterable[DueChange]:
        alert = None if self.transition is None else self.transition.alert
        active = alert is not None and alert.state is AlertState.OPEN and alert.settled is None
        open_severity = alert.severity if alert is not None and active else 0
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
            yield from self._end_due(alert)
            yield from self._escalation_due(alert)
        elif alert.shelved_until is None and not self.pending.since and alert.returned_at is not None:
            delay = self.timing.close_after if alert.acknowledged_at else self.timing.forget_after
            yield DueChange(max(alert.returned_at + delay, alert.changed_at), 4, AlertChange.CLOSED)

    def _end_due(self, alert: Alert) -> Iterable[DueChange]:
        """The return to normal, or the new level and its acceptance."""
        if self.pending.clear_since is not None:
            yield DueChange(self.pending.clear_since + self.timing.return_after, 2, AlertChange.RETURNED)
        elif alert.settled is not None:
            if alert.shelved_until is None and not self.pending.since:
                accepted_at = alert.settled.at + self.timing.accept_level_after
                yield DueChange(max(accepted_at, alert.changed_at), 4, AlertChange.ACCEPTED)
        elif self.pending.steady is not None:
            yield DueChange(self.pending.steady.at + self.timing.return_after, 2, AlertChange.SETTLED)

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
            self._return_to_normal(due)
        elif due.change is AlertChange.SETTLED:
            self._settle(due)
        elif due.change is AlertChange.ESCALATED:
            count = alert.escalations + 1
            self.transition = self.transition.with_event(
                due.change, due.at, escalations=count, waiting_since=due.at
            )
        else:
            self._close(due.change, due.at)

    def _close(self, change: AlertChange, at: datetime, *, notify: bool = True) -> None:
        assert self.transition is not None
        closed = self.transition.with_event(change, at, notify=notify, state=AlertState.CLOSED, closed_at=at)
        self.finished.append(closed)
        self.transition = None
        self.pending = replace(self.pending, steady=None, lingers_until=None)

    def _return_to_normal(self, due: DueChange) -> None:
        """Return an alert; a score that is high because of it counts for nothing until it has fallen.

        The step back from a new level raises the score as the step to it did.
        """
        assert self.transition is not None
        alert, current = self.transition.alert, self.pending.current
        lingers = alert.deviated and (self.pending.raised or alert.settled is not None)
        self.pending = replace(
            self.pending,
            steady=None,
            lingers_until=due.at + self.timing.close_after if lingers else None,
        )
        reasons: tuple[Reason, ...] = ()
        if alert.deviated and alert.normal is not None and current is not None:
            values = {"value": current.value, "time": current.at.isoformat(), **_band_values(alert.normal)}
            reasons = (Reason(ReasonCode.LEVEL_RETURNED, values),)
        self.transition = self.transition.with_event(
            due.change, due.at, reasons=reasons, state=AlertState.RETURNED, returned_at=due.at, settled=None
        )

    def _settle(self, due: DueChange) -> None:
        """The score has fallen and the level has not come back: the alert stays open at the new level."""
        assert self.transition is not None
        steady, normal = self.pending.steady, self.transition.alert.normal
        assert steady is not None
        assert normal is not None
        values = {"level": steady.value, "time": steady.at.isoformat(), "before": normal.level}
        self.transition = self.transition.with_event(
            due.change,
            due.at,
            reasons=(Reason(ReasonCode.LEVEL_SETTLED, values),),
            settled=ObservedReading(due.at, steady.value),
        )

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
                AlertChange.OPENED, due.at, reasons=evidence.reasons, detail=evidence.reason
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
        if alert.state is not AlertState.OPEN or alert.settled is not None:
            change = AlertChange.REPEATED
            changes |= {"state": AlertState.OPEN, "returned_at": None, "repeats": alert.repeats + 1}
            normal = self._normal_again(alert)
            outside = _is_outside(self.pending.levels, normal)
            changes |= {"normal": normal, "deviated": self.pending.deviated or outside, "settled": None}
            self.pending = replace(self.pending, steady=None, lingers_until=None)
        self.transition = self.transition.with_event(
            change, due.at, reasons=evidence.reasons, detail=evidence.reason, **changes
        )

    def _normal_again(self, alert: Alert) -> NormalBand | None:
        """The normal band of a repetition: the newer one, unless the excursions before have widened it.

        A step from a new level does not make that level the normal one.
        """
        before, newer = alert.normal, self.pending.normal
        if before is None or newer is None:
            return before or newer
        widened = before.level in newer and newer.half_width >= before.half_width
        return before if alert.settled is not None or widened else newer

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
            first=self.pending.first,
            current=self.pending.current,
            normal=self.pending.normal,
            deviated=self.pending.deviated,
        )

    def _alert(self) -> Alert:
        assert self.transition is not None
        return self.transition.alert

    def _alert_is_open(self) -> bool:
        return self.transition is not None and self.transition.alert.state is AlertState.OPEN

    def _update_alert(self, **fields: Any) -> None:
        """Change fields of the alert without an event, where there is one."""
        if self.transition is not None:
            self.transition = replace(self.transition, alert=replace(self.transition.alert, **fields))

    def _maintenance_end(self, at: datetime) -> datetime | None:
        """The end of the maintenance at a time; None if there is none."""
        return max((end for start, end in self.maintenance if start <= at < end), default=None)


def _is_outside(levels: LevelMemory, band: NormalBand | None) -> bool:
    """Whether the level has left a band; False where either is unknown."""
    level = levels.level
    return band is not None and level is not None and level not in band


def _band_values(band: NormalBand) -> dict[str, float]:
    """The values of a band in a reason."""
    return {"low": band.low, "high": band.high}
