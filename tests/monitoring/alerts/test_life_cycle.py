"""The life cycle: one episode is one alert, however often its condition and the watch interrupt it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.actions import acknowledge, shelve
from monitoring.alerts.alert import AlertEvidence, AlertTopic, Condition, PendingAlert
from monitoring.alerts.kinds import AlertChange, AlertState, AlertType
from monitoring.alerts.life_cycle import advance
from tests.support.monitored_fleet import ALERT_TIMING as TIMING
from tests.support.monitored_fleet import HOUR, MINUTE, NOON
from tests.support.monitored_fleet import minutes_after_noon as minute

TOPIC = AlertTopic(AlertType.ANOMALY, "PT-1", "", "P-48")


def met(minutes: float, severity: int = 2, score: float = 0.7) -> Condition:
    return Condition(
        minute(minutes), severity, severity, AlertEvidence(score, score=score, reason=f"score {score}")
    )


def sustained(minutes: float, severity: int = 2) -> Condition:
    """Within the hysteresis: no longer met, not ended yet."""
    return Condition(minute(minutes), 0, severity)


def clear(minutes: float) -> Condition:
    return Condition(minute(minutes))


def run(*conditions, until: float, timing=TIMING, maintenance=(), pending=None, alive=None):
    """The result for the topic, and all events as (change, minute)."""
    result = advance(
        TOPIC,
        pending or PendingAlert(),
        alive,
        conditions,
        timing,
        now=minute(until),
        maintenance=maintenance,
    )
    events = [
        (event.change.value, (event.at - NOON) / MINUTE)
        for transition in result.transitions
        for event in transition.events
    ]
    return result, events


def test_a_condition_that_ends_before_the_hold_time_raises_no_alert():
    result, events = run(met(0), clear(4), until=60)

    assert events == []
    assert result.active is None


def test_a_condition_opens_one_alert_at_the_end_of_the_hold_time():
    result, events = run(met(0), met(3), met(6), met(9), until=9)

    assert events == [("opened", 5)]
    assert result.active.began_at == NOON
    assert result.active.last_at == minute(9)


def test_a_condition_holds_until_the_next_one():
    """An hourly sensor has one reading in the hold time; that must be enough."""
    _, events = run(met(0), clear(60), until=120)

    assert events == [("opened", 5), ("returned", 65)]


def test_a_condition_within_the_hysteresis_neither_begins_nor_ends_an_alert():
    _, events = run(sustained(0), sustained(10), until=20)
    _, lasting = run(met(0), sustained(2), met(20), sustained(40), clear(50), until=60)

    assert events == []
    assert lasting == [("opened", 5), ("returned", 55)]


def test_a_danger_from_the_start_opens_as_danger():
    result, events = run(met(0, 3, 0.9), met(6, 3, 0.95), until=10)

    assert events == [("opened", 5)]
    assert result.active.severity == 3
    assert result.active.evidence.score == 0.95


def test_a_warning_that_becomes_a_danger_worsens_once():
    result, events = run(met(0), met(10, 3, 0.9), met(20, 3, 0.9), met(30), met(40, 3, 0.9), until=60)

    assert events == [("opened", 5), ("worsened", 15)]
    assert result.active.severity == 3


def test_a_danger_shorter_than_its_hold_time_leaves_a_warning():
    result, events = run(met(0), met(10, 3, 0.9), met(12), until=60)

    assert events == [("opened", 5)]
    assert result.active.severity == 2


def test_a_condition_before_the_alert_is_closed_repeats_it():
    result, events = run(met(0), clear(10), met(30), met(36), until=40)

    assert events == [("opened", 5), ("returned", 15), ("repeated", 35)]
    assert result.active.repeats == 1
    assert result.active.began_at == NOON


def test_an_acknowledged_alert_closes_an_hour_after_its_return_and_the_next_is_a_new_one():
    result, _ = run(met(0), until=6)
    acknowledged = acknowledge(result.active, "Ana", minute(6)).alert

    result, events = run(clear(10), met(120), until=130, pending=result.pending, alive=acknowledged)

    assert events == [("returned", 15), ("closed", 75), ("opened", 125)]
    assert [transition.alert.state for transition in result.transitions] == [
        AlertState.CLOSED,
        AlertState.OPEN,
    ]


def test_an_unacknowledged_alert_closes_a_day_after_its_return():
    result, events = run(met(0), clear(10), until=15 + 24 * 60)

    assert events[-1] == ("closed", 15 + 24 * 60)
    assert result.active is None


def test_an_unacknowledged_alert_is_escalated_a_limited_number_of_times():
    _, events = run(met(0, 4), until=0)
    result, _ = run(met(0, 4), until=0)
    _, later = run(until=600, pending=result.pending, alive=result.active)

    assert events == [("opened", 0)]
    assert later == [("escalated", 15), ("escalated", 30)]


def test_escalation_is_timed_from_the_first_notification():
    """After a day without a watch, an alert found then has not been waiting for a day."""
    result, events = run(met(0, 4), until=24 * 60)

    assert events == [("opened", 0)]
    assert result.active.waiting_since == minute(24 * 60)


def test_an_acknowledged_alert_is_notified_again_only_if_it_worsens():
    result, _ = run(met(0, 3, 0.9), until=5)
    acknowledged = acknowledge(result.active, "Ana", minute(6)).alert

    calm, events = run(met(10, 3, 0.9), until=300, pending=result.pending, alive=acknowledged)
    worse, worsened = run(met(301, 4), until=301, pending=calm.pending, alive=calm.active)

    assert events == []
    assert worsened == [("worsened", 301)]
    assert worse.active.acknowledged_at is None


def test_an_alert_that_is_active_when_shelving_ends_is_notified_again():
    result, _ = run(met(0), until=5)
    shelved = shelve(result.active, minute(60), "Ana", minute(6), longest=HOUR).alert

    result, events = run(met(10), until=60, pending=result.pending, alive=shelved)

    assert events == [("unshelved", 60)]
    assert result.active.shelved_until is None
    assert result.active.waiting_since == minute(60)


def test_a_shelved_alert_is_not_notified_escalated_or_closed():
    result, _ = run(met(0), until=5)
    shelved = shelve(result.active, minute(600), "Ana", minute(6), longest=24 * HOUR).alert

    result, events = run(clear(10), met(200), until=599, pending=result.pending, alive=shelved)

    assert events == [("returned", 15), ("repeated", 205)]
    assert not any(event.notify for transition in result.transitions for event in transition.events)


def test_no_alert_begins_during_maintenance():
    work = [(minute(0), minute(100))]

    _, during = run(met(0), met(50, 4), until=99, maintenance=work)
    _, after = run(met(50), met(110), met(120), until=130, maintenance=work)
    _, into = run(met(-3), until=99, maintenance=work)

    assert during == []
    assert after == [("opened", 115)]
    assert into == []


def test_what_began_during_maintenance_raises_no_alert_until_it_has_ended():
    """A machine that warms up after a planned stop is not yet normal, and that is no news."""
    work, timing = [(minute(0), minute(100))], replace(TIMING, recover_after=60 * MINUTE)
    warming = [met(place) for place in range(90, 130)]
    normal = [clear(place) for place in range(130, 136)]

    _, silent = run(*warming, *normal, until=140, timing=timing, maintenance=work)
    _, again = run(*warming, *normal, met(137), until=150, timing=timing, maintenance=work)
    _, brief = run(*warming, clear(130), met(131), until=150, timing=timing, maintenance=work)
    _, lasting = run(*warming, met(159), met(160), until=170, timing=timing, maintenance=work)
    _, new = run(clear(99), met(101), until=110, timing=timing, maintenance=work)

    assert silent == brief == []
    assert again == [("opened", 142)]
    assert lasting == [("opened", 165)]
    assert new == [("opened", 106)]


def test_no_alert_is_escalated_during_maintenance():
    result, _ = run(met(0, 4), until=0)
    work = [(minute(10), minute(100))]

    _, events = run(until=200, maintenance=work, pending=result.pending, alive=result.active)

    assert events == [("escalated", 100), ("escalated", 115)]


def test_a_condition_is_applied_only_once():
    result, _ = run(met(0), met(6), until=6)

    again, events = run(met(0), met(6), until=6, pending=result.pending, alive=result.active)

    assert events == []
    assert again.pending == result.pending


def test_a_condition_that_is_met_has_not_ended():
    with pytest.raises(ValueError, match="sustained_severity 2 is below met_severity 3"):
        Condition(NOON, 3, 2)


STEPS = st.lists(
    st.builds(
        lambda gap, met, more: (gap, met, max(met, more)),
        st.integers(1, 90),
        st.sampled_from([0, 0, 2, 3, 4]),
        st.sampled_from([0, 2, 3, 4]),
    ),
    max_size=25,
)


def conditions_of(steps) -> list[Condition]:
    clock, conditions = 0, []
    for gap, met_severity, sustained_severity in steps:
        clock += gap
        evidence = AlertEvidence(met_severity / 4, score=met_severity / 4)
        conditions.append(Condition(minute(clock), met_severity, sustained_severity, evidence))
    return conditions


WITHOUT_ESCALATION = replace(TIMING, forget_after=3 * HOUR, escalations=0)


@given(STEPS, st.data())
def test_the_number_of_watches_changes_nothing(steps, data):
    """Except for escalation, which is timed from the notification."""
    conditions = conditions_of(steps)
    end = 3000
    _, at_once = run(*conditions, until=end, timing=WITHOUT_ESCALATION)
    watches = sorted(data.draw(st.lists(st.integers(0, end), max_size=8)))

    pending, alive, in_portions = PendingAlert(), None, []
    for begin, until in zip([-1, *watches], [*watches, end], strict=True):
        new = [one for one in conditions if minute(begin) < one.at <= minute(until)]
        result, events = run(*new, until=until, timing=WITHOUT_ESCALATION, pending=pending, alive=alive)
        pending, alive = result.pending, result.active
        in_portions += events

    assert in_portions == at_once


@given(STEPS)
def test_every_sequence_of_changes_is_valid(steps):
    """Opened once, closed at most once and last, returned only from open, repeated only after a return."""
    follows = {
        None: {AlertChange.OPENED},
        AlertChange.OPENED: {AlertChange.WORSENED, AlertChange.RETURNED, AlertChange.ESCALATED},
        AlertChange.WORSENED: {AlertChange.WORSENED, AlertChange.RETURNED, AlertChange.ESCALATED},
        AlertChange.REPEATED: {AlertChange.WORSENED, AlertChange.RETURNED, AlertChange.ESCALATED},
        AlertChange.ESCALATED: {AlertChange.WORSENED, AlertChange.RETURNED, AlertChange.ESCALATED},
        AlertChange.RETURNED: {AlertChange.REPEATED, AlertChange.CLOSED},
        AlertChange.CLOSED: set(),
    }
    result = advance(TOPIC, PendingAlert(), None, conditions_of(steps), TIMING, now=minute(5000))

    for transition in result.transitions:
        before = None
        for event in transition.events:
            assert event.change in follows[before]
            before = event.change
        times = [event.at for event in transition.events]
        assert times == sorted(times)
        assert transition.alert.revision == len(transition.events)
        assert transition.alert.began_at <= transition.alert.opened_at
    alive = [
        transition.alert
        for transition in result.transitions
        if transition.alert.state is not AlertState.CLOSED
    ]
    assert len(alive) <= 1
    assert result.active == (alive[0] if alive else None)
