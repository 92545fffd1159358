"""Silent history: changes that are over when the watch learns of them are recorded, and not notified.

A first start, a catch-up after a stop and a restart find what happened meanwhile. Pure functions; the life
cycle makes the changes (`life_cycle`), the outbox sends those that are to be notified.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from monitoring.alerts.alert import AlertEvent, Transition
from monitoring.alerts.kinds import CALLING_CHANGES, AlertState


def silence_history(
    transition: Transition, *, was_notified: bool, now: datetime, history_after: timedelta
) -> Transition:
    """The transition with the events that need no notification marked, and whether it has been notified.

    A call is history if it is older than `history_after`. What follows a call is notified if the call was.
    An alert that is open in the end is notified once, by its newest call.
    """
    notified, events = was_notified, []
    for event in transition.events:
        if event.change in CALLING_CHANGES:
            notified = event.at >= now - history_after
        events.append(event if notified or event.by is not None else replace(event, notify=False))
    newest_call = _newest_call(events)
    if transition.alert.state is AlertState.OPEN and not notified and newest_call is not None:
        call = events[newest_call]
        events[newest_call] = replace(call, notify=transition.alert.shelved_until is None)
        notified = True
    return Transition(replace(transition.alert, notified=notified), tuple(events))


def _newest_call(events: list[AlertEvent]) -> int | None:
    calls = [place for place, event in enumerate(events) if event.change in CALLING_CHANGES]
    return calls[-1] if calls else None
