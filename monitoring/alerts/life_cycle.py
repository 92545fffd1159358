"""The life of alerts: what signs and the passing of time make of them, as one pure function.

Knows hold times, hysteresis, return, repetition, escalation, the end of shelving, maintenance and closing.
A sign holds until the next one. The same signs in whatever portions tell the same story; nothing is read from
a clock or a table. What counts as a sign is told in the `signs_of_*` modules, what people do in `answers`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from monitoring.alerts.alert import Alert, Chapter, Pending, Sign, Topic
from monitoring.alerts.kinds import Change, Severity, State

SEVERITIES = tuple(Severity)
Windows = Sequence[tuple[datetime, datetime]]  # from, until (excluded)


@dataclass(frozen=True)
class Pace:
    """How long things take in the life of one topic's alerts."""

    hold: Mapping[int, timedelta]  # by severity, until it counts
    return_after: timedelta  # of nothing odd
    close_after: timedelta  # of normal, once acknowledged; what comes sooner is the same episode
    forget_after: timedelta  # of normal, where nobody acknowledged
    escalate_after: Mapping[int, timedelta]  # by severity, of no answer; each time again
    escalations: int


@dataclass(frozen=True)
class Course:
    """What became of one topic: what is pending, the alert that is alive, and all that were touched."""

    pending: Pending
    alive: Alert | None
    chapters: tuple[Chapter, ...]


class Due(NamedTuple):
    """What time alone will do next; of two at one moment the first in this order comes first."""

    at: datetime
    order: int
    change: Change
    severity: Severity = Severity.WARNING


def advance(
    topic: Topic,
    pending: Pending,
    alive: Alert | None,
    signs: Iterable[Sign],
    pace: Pace,
    *,
    now: datetime,
    maintenance: Windows = (),
) -> Course:
    """Take the signs that are new, in order of time, then let time pass until now."""
    story = _Story(topic, pending, alive, pace, now, maintenance)
    for sign in signs:
        if pending.seen is None or sign.at > pending.seen:
            story.wait_until(sign.at, included=False)
            story.take(sign)
            story.wait_until(sign.at)
    story.wait_until(now)
    return story.told()


class _Story:
    """The state of one topic while its signs are taken."""

    def __init__(
        self,
        topic: Topic,
        pending: Pending,
        alive: Alert | None,
        pace: Pace,
        now: datetime,
        maintenance: Windows,
    ) -> None:
        self.topic = topic
        self.pending = pending
        self.chapter = None if alive is None else Chapter(alive)
        self.pace = pace
        self.now = now
        self.maintenance = maintenance
        self.finished: list[Chapter] = []

    def told(self) -> Course:
        """What became of it."""
        chapters = (*self.finished, *([] if self.chapter is None else [self.chapter]))
        return Course(self.pending, None if self.chapter is None else self.chapter.alert, chapters)

    def take(self, sign: Sign) -> None:
        """One sign further."""
        if sign.explained or self._end_of_work(sign.at) is not None:
            self.pending = replace(self.pending, since={}, evidence=None, seen=sign.at)
            return
        before = self.pending.since
        since = {
            int(severity): before.get(severity, sign.at)
            for severity in SEVERITIES
            if severity <= sign.reaches or (severity <= sign.keeps and severity in before)
        }
        evidence = sign.evidence.heavier(self.pending.evidence) if sign.reaches else self.pending.evidence
        self.pending = Pending(
            since=since,
            clear_since=None if sign.keeps else self.pending.clear_since or sign.at,
            last_at=sign.at if sign.reaches else self.pending.last_at,
            seen=sign.at,
            evidence=evidence if since else None,
        )
        if self.chapter is not None and self.chapter.alert.state is State.OPEN and sign.reaches:
            alert = self.chapter.alert
            told = replace(alert, last_at=sign.at, evidence=sign.evidence.heavier(alert.evidence))
            self.chapter = replace(self.chapter, alert=told)

    def wait_until(self, moment: datetime, *, included: bool = True) -> None:
        """Do what falls due until a moment; what does so at it only after the sign of that moment."""
        while (due := min(self._dues(), default=None)) is not None:
            if due.at > moment or (due.at == moment and not included):
                return
            self._do(due)

    def _dues(self) -> Iterable[Due]:
        alert = None if self.chapter is None else self.chapter.alert
        open_at = alert.severity if alert is not None and alert.state is State.OPEN else 0
        for severity, since in self.pending.since.items():
            if severity > open_at:
                yield Due(since + self.pace.hold[severity], 1 - severity, Change.OPENED, Severity(severity))
        if alert is None:
            return
        if alert.shelved_until is not None:
            yield Due(alert.shelved_until, -9, Change.UNSHELVED)
        if alert.state is State.OPEN:
            if self.pending.clear_since is not None:
                yield Due(self.pending.clear_since + self.pace.return_after, 2, Change.RETURNED)
            yield from self._escalation(alert)
        elif alert.shelved_until is None and not self.pending.since and alert.returned_at is not None:
            patience = self.pace.close_after if alert.acknowledged_at else self.pace.forget_after
            yield Due(max(alert.returned_at + patience, alert.changed_at), 4, Change.CLOSED)

    def _escalation(self, alert: Alert) -> Iterable[Due]:
        if alert.waiting_since is None or alert.shelved_until or alert.escalations >= self.pace.escalations:
            return
        patience = self.pace.escalate_after[alert.severity]
        moment = alert.waiting_since + patience
        while (end := self._end_of_work(moment)) is not None:
            moment = end
        yield Due(moment, 3, Change.ESCALATED)

    def _do(self, due: Due) -> None:
        if due.change is Change.OPENED:
            self._raise(due)
            return
        assert self.chapter is not None
        alert = self.chapter.alert
        if due.change is Change.UNSHELVED:
            waiting = None if alert.acknowledged_at else self.now
            self.chapter = self.chapter.then(
                due.change, due.at, shelved_until=None, shelved_by=None, waiting_since=waiting, escalations=0
            )
        elif due.change is Change.RETURNED:
            self.chapter = self.chapter.then(due.change, due.at, state=State.RETURNED, returned_at=due.at)
        elif due.change is Change.ESCALATED:
            count = alert.escalations + 1
            self.chapter = self.chapter.then(due.change, due.at, escalations=count, waiting_since=due.at)
        else:
            closed = self.chapter.then(due.change, due.at, state=State.CLOSED, closed_at=due.at)
            self.finished.append(closed)
            self.chapter = None

    def _raise(self, due: Due) -> None:
        """What held long enough opens an alert, worsens the one that is open, or repeats the one that was."""
        if self._end_of_work(due.at) is not None:
            self.pending = replace(self.pending, since={}, evidence=None)
            return
        evidence, last = self.pending.evidence, self.pending.last_at
        assert evidence is not None
        assert last is not None
        if self.chapter is None:
            self.chapter = Chapter(self._opened(due)).then(Change.OPENED, due.at, detail=evidence.reason)
            return
        alert = self.chapter.alert
        worse = due.severity > alert.severity
        waiting = self.now if worse or alert.acknowledged_at is None else None
        told: dict[str, Any] = {
            "severity": max(due.severity, alert.severity),
            "last_at": last,
            "evidence": evidence.heavier(alert.evidence),
            "waiting_since": waiting,
            "escalations": 0 if waiting else alert.escalations,
        }
        # Who acknowledged a warning has not yet seen the danger.
        unseen: dict[str, Any] = {"acknowledged_at": None, "acknowledged_by": None} if worse else {}
        if alert.state is State.OPEN:
            self.chapter = self.chapter.then(
                Change.WORSENED, due.at, detail=evidence.reason, **told, **unseen
            )
        else:
            again: dict[str, Any] = {"state": State.OPEN, "returned_at": None, "repeats": alert.repeats + 1}
            self.chapter = self.chapter.then(
                Change.REPEATED, due.at, detail=evidence.reason, **told, **unseen, **again
            )

    def _opened(self, due: Due) -> Alert:
        assert self.pending.evidence is not None
        assert self.pending.last_at is not None
        began = min(self.pending.since.values())
        return Alert(
            topic=self.topic,
            severity=due.severity,
            state=State.OPEN,
            began_at=began,
            opened_at=due.at,
            last_at=self.pending.last_at,
            changed_at=began,
            evidence=self.pending.evidence,
            waiting_since=self.now,
        )

    def _end_of_work(self, moment: datetime) -> datetime | None:
        """When the maintenance ends that a moment falls into, if it does."""
        return max((end for start, end in self.maintenance if start <= moment < end), default=None)
