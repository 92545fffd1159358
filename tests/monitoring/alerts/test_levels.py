"""An alert is over when the readings are back in the normal band before it, whatever the score is by then."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.alerts.actions import accept_level
from monitoring.alerts.alert import AlertEvidence, AlertTopic, Condition, PendingAlert
from monitoring.alerts.kinds import AlertState, AlertType
from monitoring.alerts.levels import LevelMemory, ObservedReading
from monitoring.alerts.life_cycle import advance
from monitoring.alerts.rows import pending_from_row, pending_to_row
from tests.support.monitored_fleet import ALERT_TIMING as TIMING
from tests.support.monitored_fleet import HOUR, MINUTE, NOON
from tests.support.monitored_fleet import minutes_after_noon as minute
from training.anomaly.normal_band import NormalBand
from training.errors import ConfigurationError
from training.reasons import ReasonCode

TOPIC = AlertTopic(AlertType.ANOMALY, "TT-1", "", "P-48")
BAND = NormalBand.of(10.0, 0.5)


def series(*parts, start=0):
    """Conditions a minute apart; each part is (readings, value, score)."""
    conditions, clock = [], start
    for count, value, score in parts:
        for _ in range(count):
            met = 2 if score >= 0.5 else 0
            sustained = 2 if score >= 0.4 else 0
            conditions.append(
                Condition(
                    minute(clock),
                    met,
                    sustained,
                    AlertEvidence(score, value=value, score=score),
                    value=value,
                    band=BAND,
                )
            )
            clock += 1
    return conditions


def run(conditions, *, until=None, pending=None, alive=None, timing=TIMING):
    """The result, and all events as (change, minute)."""
    now = conditions[-1].at if until is None else minute(until)
    result = advance(TOPIC, pending or PendingAlert(), alive, conditions, timing, now=now)
    events = [(e.change.value, (e.at - NOON) / MINUTE) for t in result.transitions for e in t.events]
    return result, events


def test_a_step_that_lasts_settles_at_a_new_level_and_never_returns():
    """The detector adapts after twelve minutes; the step of 3 is still there."""
    result, events = run(series((20, 10.0, 0.1), (12, 13.0, 0.9), (100, 13.0, 0.1)))

    assert events == [("opened", 25), ("settled", 37)]
    (settled,) = [e for t in result.transitions for e in t.events if e.change == "settled"]
    assert settled.reasons[0].code is ReasonCode.LEVEL_SETTLED
    assert settled.detail == "settled at a new level of 13 since 2026-03-01 12:32 UTC (10 before)"
    assert result.active.state is AlertState.OPEN
    assert result.active.settled == ObservedReading(minute(37), 13.0)


def test_a_signal_that_is_back_in_its_band_returns_while_the_score_lingers():
    """The window of the detector holds the excursion for half an hour more."""
    _, events = run(series((20, 10.0, 0.1), (15, 13.0, 0.9), (30, 10.0, 0.8), (60, 10.0, 0.1)))

    assert events == [("opened", 25), ("returned", 40)]


def test_an_excursion_that_comes_again_while_the_score_lingers_repeats_the_alert():
    _, events = run(
        series((20, 10.0, 0.1), (15, 13.0, 0.9), (15, 10.0, 0.8), (10, 13.0, 0.9), (30, 10.0, 0.8))
    )

    assert events == [("opened", 25), ("returned", 40), ("repeated", 55), ("returned", 65)]


def test_a_score_that_stays_high_in_the_band_repeats_the_alert_after_an_hour():
    """It is no longer left over from the excursion."""
    _, events = run(series((20, 10.0, 0.1), (15, 13.0, 0.9), (120, 10.0, 0.8)))

    assert events == [("opened", 25), ("returned", 40), ("repeated", 105)]


def test_the_step_back_from_a_new_level_is_the_return():
    """It raises the score as the step away did, which is no new call."""
    _, events = run(
        series((20, 10.0, 0.1), (12, 13.0, 0.9), (60, 13.0, 0.1), (12, 10.0, 0.9), (60, 10.0, 0.1))
    )

    assert events == [("opened", 25), ("settled", 37), ("returned", 97)]


def test_a_step_from_a_new_level_calls_again():
    result, events = run(
        series((20, 10.0, 0.1), (12, 13.0, 0.9), (60, 13.0, 0.1), (12, 16.0, 0.9), (20, 16.0, 0.1))
    )

    assert events == [("opened", 25), ("settled", 37), ("repeated", 97), ("settled", 109)]
    assert result.active.normal == BAND
    assert result.active.repeats == 1


def test_a_new_level_is_normal_after_the_agreed_time():
    timing = replace(TIMING, accept_level_after=2 * HOUR)
    result, events = run(series((20, 10.0, 0.1), (12, 13.0, 0.9), (200, 13.0, 0.1)), timing=timing)

    assert events == [("opened", 25), ("settled", 37), ("accepted", 157)]
    assert result.active is None
    assert result.transitions[0].alert.state is AlertState.CLOSED


def test_a_person_can_accept_a_new_level():
    result, _ = run(series((20, 10.0, 0.1), (12, 13.0, 0.9), (20, 13.0, 0.1)))

    transition = accept_level(result.active, "Ana", minute(52))

    assert transition.alert.state is AlertState.CLOSED
    assert (transition.events[0].change.value, transition.events[0].by) == ("accepted", "Ana")


def test_an_alert_that_has_not_settled_cannot_be_accepted():
    result, _ = run(series((20, 10.0, 0.1), (12, 13.0, 0.9)))

    with pytest.raises(ConfigurationError, match="has not settled at a new level"):
        accept_level(result.active, "Ana", minute(40))


def test_a_signal_that_still_moves_has_not_settled():
    """A ramp with a low score is neither normal nor at a new level."""
    ramp = [(1, 13.0 + 1.5 * place, 0.1) for place in range(60)]
    _, events = run(series((20, 10.0, 0.1), (12, 13.0, 0.9), *ramp))

    assert events == [("opened", 25)]


def test_an_anomaly_inside_the_band_ends_with_its_score():
    """Noise and a frozen value leave the level where it was."""
    noise = [(1, value, 0.9) for value in (12.0, 8.1, 9.9, 12.1, 8.0) * 6]
    _, events = run(series((20, 10.0, 0.1), *noise, (30, 10.0, 0.1)))

    assert events == [("opened", 25), ("returned", 55)]


def test_the_band_of_an_alert_is_that_before_the_change_reaches_it():
    """The band of the readings before a reading soon contains the change itself."""
    conditions = series((60, 10.0, 0.1), (20, 13.0, 0.9))
    widened = NormalBand.of(11.0, 2.0)
    conditions[64:] = [replace(one, band=widened) for one in conditions[64:]]
    late = [replace(one, met_severity=0, sustained_severity=0) for one in conditions[60:70]]

    result, _ = run([*conditions[:60], *late, *conditions[70:]])

    assert result.active.normal == BAND
    assert result.active.deviated


def test_the_first_worst_and_newest_reading_keep_their_times():
    conditions = series((20, 10.0, 0.1), (3, 12.0, 0.6), (5, 14.0, 0.9), (10, 12.5, 0.7), (3, 10.0, 0.7))

    alert = run(conditions)[0].active

    assert alert.first == ObservedReading(minute(20), 12.0)
    assert alert.worst == ObservedReading(minute(23), 14.0)
    assert alert.current == ObservedReading(minute(40), 10.0)


def test_without_a_band_the_score_alone_ends_an_alert():
    conditions = [
        replace(one, band=None) for one in series((20, 10.0, 0.1), (12, 13.0, 0.9), (30, 13.0, 0.1))
    ]

    assert run(conditions)[1] == [("opened", 25), ("returned", 37)]


STEPS = st.lists(
    st.tuples(
        st.integers(1, 40), st.sampled_from([10.0, 10.5, 13.0, 16.0]), st.sampled_from([0.1, 0.45, 0.9])
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(STEPS, st.data())
def test_the_number_of_watches_and_their_storage_change_nothing(steps, data):
    conditions = series(*steps)
    end = len(conditions) + 700
    timing = replace(TIMING, escalations=0, forget_after=3 * HOUR)
    _, at_once = run(conditions, until=end, timing=timing)
    watches = sorted(data.draw(st.lists(st.integers(0, end), max_size=8)))

    pending, alive, in_portions = PendingAlert(), None, []
    for begin, until in zip([-1, *watches], [*watches, end], strict=True):
        new = [one for one in conditions if minute(begin) < one.at <= minute(until)]
        result, events = run(new, until=until, pending=pending, alive=alive, timing=timing)
        pending, alive = pending_from_row(pending_to_row(result.pending)), result.active
        assert pending == result.pending
        in_portions += events

    assert in_portions == at_once


READINGS = st.lists(
    st.tuples(st.sampled_from([9.5, 10.0, 12.0, 13.0]), st.sampled_from([0.1, 0.45, 0.9])),
    min_size=1,
    max_size=80,
)


@settings(deadline=None)
@given(READINGS)
def test_an_alert_does_not_flap_between_two_readings(readings):
    """A return and a repetition take as long as the off-delay and the hold time."""
    _, events = run(series(*((1, value, score) for value, score in readings)), until=400)

    calls = [at for change, at in events if change in {"opened", "repeated"}]
    assert all(later - earlier >= 5 for earlier, later in pairwise(calls))


@settings(deadline=None)
@given(STEPS)
def test_no_alert_returns_while_its_level_is_outside_the_normal_band(steps):
    """The median of the five readings until the return is in the band that the alert had."""
    conditions = series(*steps)
    transitions = run(conditions)[0].transitions
    for transition in transitions:
        for event in transition.events:
            if (
                event.change == "returned"
                and transition.alert.normal is not None
                and transition.alert.deviated
            ):
                values = [one.value for one in conditions if one.at <= event.at][-5:]
                assert float(np.median(values)) in BAND


def test_memory_of_levels_survives_storage():
    memory = LevelMemory()
    for place in range(40):
        memory = memory.add(ObservedReading(minute(place), 10.0 + place % 2), BAND, normal=True)

    assert LevelMemory.from_dict(memory.as_dict()) == memory
    assert len(memory.recent) == 5
