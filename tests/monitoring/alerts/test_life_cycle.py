"""The life of an alert: one episode is one alert, however it flickers and however often somebody looks."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.actions import acknowledge, shelve
from monitoring.alerts.alert import AlertEvidence, AlertTopic, Condition, PendingAlert
from monitoring.alerts.kinds import AlertChange, AlertState, AlertType
from monitoring.alerts.life_cycle import AlertTiming, advance
from tests.support.workspaces import parse_time

TOPIC = AlertTopic(AlertType.ANOMALY, "PT-1", "", "P-48")
NOON = parse_time("2026-03-01T12:00")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PACE = AlertTiming(
    hold={2: 5 * MINUTE, 3: 5 * MINUTE, 4: timedelta(0)},
    return_after=5 * MINUTE,
    close_after=HOUR,
    forget_after=24 * HOUR,
    escalate_after={2: 8 * HOUR, 3: HOUR, 4: 15 * MINUTE},
    escalations=2,
)


def minute(minutes: float):
    return NOON + minutes * MINUTE


def odd(minutes: float, severity: int = 2, score: float = 0.7) -> Condition:
    return Condition(
        minute(minutes), severity, severity, AlertEvidence(score, score=score, reason=f"scored {score}")
    )


def between(minutes: float, severity: int = 2) -> Condition:
    """Neither odd any more nor over yet."""
    return Condition(minute(minutes), 0, severity)


def clear(minutes: float) -> Condition:
    return Condition(minute(minutes))


def live(*signs, until: float, timing=PACE, maintenance=(), pending=None, alive=None):
    """What became of the topic, and everything that happened as (change, minute)."""
    course = advance(
        TOPIC, pending or PendingAlert(), alive, signs, pace, now=minute(until), maintenance=maintenance
    )
    events = [
        (event.change.value, (event.at - NOON) / MINUTE)
        for chapter in course.transitions
        for event in chapter.events
    ]
    return course, events


def test_an_odd_reading_that_is_gone_before_the_hold_time_is_no_alert():
    course, events = live(odd(0), clear(4), until=60)

    assert events == []
    assert course.alive is None


def test_what_holds_opens_one_alert_at_the_end_of_its_hold_time():
    course, events = live(odd(0), odd(3), odd(6), odd(9), until=9)

    assert events == [("opened", 5)]
    assert course.alive.began_at == NOON
    assert course.alive.last_at == minute(9)


def test_a_reading_holds_until_the_next_one_comes():
    """A slow sensor says once in an hour that something is odd; that is not over after a second."""
    _, events = live(odd(0), clear(60), until=120)

    assert events == [("opened", 5), ("returned", 65)]


def test_a_reading_within_the_hysteresis_neither_begins_nor_ends_anything():
    _, events = live(between(0), between(10), until=20)
    _, lasting = live(odd(0), between(2), odd(20), between(40), clear(50), until=60)

    assert events == []
    assert lasting == [("opened", 5), ("returned", 55)]


def test_danger_that_holds_from_the_start_opens_as_danger():
    course, events = live(odd(0, 3, 0.9), odd(6, 3, 0.95), until=10)

    assert events == [("opened", 5)]
    assert course.alive.severity == 3
    assert course.alive.evidence.score == 0.95


def test_a_warning_that_becomes_a_danger_worsens_once():
    course, events = live(odd(0), odd(10, 3, 0.9), odd(20, 3, 0.9), odd(30), odd(40, 3, 0.9), until=60)

    assert events == [("opened", 5), ("worsened", 15)]
    assert course.alive.severity == 3


def test_a_danger_too_short_to_count_leaves_a_warning():
    course, events = live(odd(0), odd(10, 3, 0.9), odd(12), until=60)

    assert events == [("opened", 5)]
    assert course.alive.severity == 2


def test_an_excursion_before_it_is_closed_is_the_same_alert():
    course, events = live(odd(0), clear(10), odd(30), odd(36), until=40)

    assert events == [("opened", 5), ("returned", 15), ("repeated", 35)]
    assert course.alive.repeats == 1
    assert course.alive.began_at == NOON


def test_an_acknowledged_alert_closes_after_an_hour_of_normal_and_the_next_is_a_new_one():
    course, _ = live(odd(0), until=6)
    seen = acknowledge(course.alive, "Ana", minute(6)).alert

    course, events = live(clear(10), odd(120), until=130, pending=course.pending, alive=seen)

    assert events == [("returned", 15), ("closed", 75), ("opened", 125)]
    assert [chapter.alert.state for chapter in course.transitions] == [AlertState.CLOSED, AlertState.OPEN]


def test_an_alert_that_nobody_acknowledged_stays_for_a_day():
    course, events = live(odd(0), clear(10), until=15 + 24 * 60)

    assert events[-1] == ("closed", 15 + 24 * 60)
    assert course.alive is None


def test_nobody_answering_escalates_a_few_times_and_then_no_more():
    _, events = live(odd(0, 4), until=0)
    course, _ = live(odd(0, 4), until=0)
    _, later = live(until=600, pending=course.pending, alive=course.alive)

    assert events == [("opened", 0)]
    assert later == [("escalated", 15), ("escalated", 30)]


def test_patience_is_counted_from_when_people_could_know():
    """The scheduler was down for a day: what it finds then has waited for nobody."""
    course, events = live(odd(0, 4), until=24 * 60)

    assert events == [("opened", 0)]
    assert course.alive.waiting_since == minute(24 * 60)


def test_who_acknowledged_does_not_hear_of_it_again_unless_it_worsens():
    course, _ = live(odd(0, 3, 0.9), until=5)
    seen = acknowledge(course.alive, "Ana", minute(6)).alert

    quiet, events = live(odd(10, 3, 0.9), until=300, pending=course.pending, alive=seen)
    worse, worsened = live(odd(301, 4), until=301, pending=quiet.pending, alive=quiet.alive)

    assert events == []
    assert worsened == [("worsened", 301)]
    assert worse.alive.acknowledged_at is None


def test_shelving_ends_and_what_still_is_odd_is_told_again():
    course, _ = live(odd(0), until=5)
    shelved = shelve(course.alive, minute(60), "Ana", minute(6), longest=HOUR).alert

    course, events = live(odd(10), until=60, pending=course.pending, alive=shelved)

    assert events == [("unshelved", 60)]
    assert course.alive.shelved_until is None
    assert course.alive.waiting_since == minute(60)


def test_a_shelved_alert_is_not_told_not_escalated_and_not_closed():
    course, _ = live(odd(0), until=5)
    shelved = shelve(course.alive, minute(600), "Ana", minute(6), longest=24 * HOUR).alert

    course, events = live(clear(10), odd(200), until=599, pending=course.pending, alive=shelved)

    assert events == [("returned", 15), ("repeated", 205)]
    assert not any(event.told for chapter in course.transitions for event in chapter.events)


def test_nothing_begins_during_maintenance():
    work = [(minute(0), minute(100))]

    _, during = live(odd(0), odd(50, 4), until=99, maintenance=work)
    _, after = live(odd(50), odd(110), odd(120), until=130, maintenance=work)
    _, into = live(odd(-3), until=99, maintenance=work)

    assert during == []
    assert after == [("opened", 115)]
    assert into == []


def test_nobody_is_called_during_maintenance():
    course, _ = live(odd(0, 4), until=0)
    work = [(minute(10), minute(100))]

    _, events = live(until=200, maintenance=work, pending=course.pending, alive=course.alive)

    assert events == [("escalated", 100), ("escalated", 115)]


def test_a_sign_that_was_taken_is_not_taken_again():
    course, _ = live(odd(0), odd(6), until=6)

    again, events = live(odd(0), odd(6), until=6, pending=course.pending, alive=course.alive)

    assert events == []
    assert again.pending == course.pending


def test_a_sign_cannot_be_over_before_it_is():
    with pytest.raises(ValueError, match="reaches 3 is not over at 2"):
        Condition(NOON, 3, 2)


signs = st.lists(
    st.builds(
        lambda gap, reaches, more: (gap, reaches, max(reaches, more)),
        st.integers(1, 90),
        st.sampled_from([0, 0, 2, 3, 4]),
        st.sampled_from([0, 2, 3, 4]),
    ),
    max_size=25,
)


def series(told) -> list[Condition]:
    clock, made = 0, []
    for gap, reaches, keeps in told:
        clock += gap
        made.append(Condition(minute(clock), reaches, keeps, AlertEvidence(reaches / 4, score=reaches / 4)))
    return made


CALM = AlertTiming(PACE.hold, PACE.return_after, PACE.close_after, 3 * HOUR, PACE.escalate_after, 0)


@given(signs, st.data())
def test_how_often_somebody_looks_changes_nothing(told, data):
    """But for escalation, which counts from when people could know."""
    made = series(told)
    end = 3000
    _, at_once = live(*made, until=end, timing=CALM)
    looks = sorted(data.draw(st.lists(st.integers(0, end), max_size=8)))

    pending, alive, bit_by_bit = PendingAlert(), None, []
    for begin, until in zip([-1, *looks], [*looks, end], strict=True):
        new = [sign for sign in made if minute(begin) < sign.at <= minute(until)]
        course, events = live(*new, until=until, timing=CALM, pending=pending, alive=alive)
        pending, alive = course.pending, course.alive
        bit_by_bit += events

    assert bit_by_bit == at_once


@given(signs)
def test_every_life_is_one_that_can_be_lived(told):
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
    course = advance(TOPIC, PendingAlert(), None, series(told), PACE, now=minute(5000))

    for chapter in course.transitions:
        before = None
        for event in chapter.events:
            assert event.change in follows[before]
            before = event.change
        times = [event.at for event in chapter.events]
        assert times == sorted(times)
        assert chapter.alert.revision == len(chapter.events)
        assert chapter.alert.began_at <= chapter.alert.opened_at
    alive = [chapter.alert for chapter in course.transitions if chapter.alert.state is not AlertState.CLOSED]
    assert len(alive) <= 1
    assert course.active == (alive[0] if alive else None)
