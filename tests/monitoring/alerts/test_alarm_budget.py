"""The alarm budget: what all sensors call together stays inside it, and each can be told why."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.alarm_budget import DETECTOR_THRESHOLD, BudgetClaim, allocate_shares, fair_shares
from monitoring.alerts.alert import AlertTopic, Condition, PendingAlert
from monitoring.alerts.alert_rate import count_alerts
from monitoring.alerts.kinds import AlertChange, AlertType, AlertVerdict
from monitoring.alerts.life_cycle import advance
from monitoring.cli.alert_commands import app
from monitoring.schedule.jobs import run_job
from monitoring.schedule.settings import JobName
from monitoring.watch.operator_actions import set_verdict
from monitoring.watch.thresholds import allocate_budget, threshold_rows
from tests.monitoring.alerts.test_life_cycle import PACE, minute
from tests.support.monitored_fleet import minutes_after_noon, noisy_values
from training.storage.alert_verdicts import VerdictCounts, count_verdicts

UNJUDGED = VerdictCounts()
TOPIC = AlertTopic(AlertType.ANOMALY, "PT-1")
STEPS = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0, 1, 2])), min_size=1, max_size=60)


@given(STEPS)
def test_scores_are_counted_as_the_life_of_alerts_tells_them(steps):
    """Of each reading: minutes since the one before, and whether it is over, not over, or reaches."""
    minutes = np.cumsum([gap for gap, _ in steps]).astype(float)
    level = np.array([state for _, state in steps])
    signs = [
        Condition(minute(at), 2 * (state == 2), 2 * (state > 0))
        for at, state in zip(minutes, level, strict=True)
    ]

    course = advance(TOPIC, PendingAlert(), None, signs, PACE, now=minute(minutes[-1]))

    reported = [event.change for chapter in course.transitions for event in chapter.events]
    counted = count_alerts(
        minutes, level == 2, level > 0, hold=5.0, return_after=5.0, until=float(minutes[-1])
    )
    assert counted == sum(change in (AlertChange.OPENED, AlertChange.REPEATED) for change in reported)


PARTS = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 1), st.floats(0.05, 1)), min_size=1, max_size=20)


@given(PARTS, st.floats(0.1, 200))
def test_parts_add_up_to_the_budget_and_nobody_gets_more_than_it_asks_for(parts, total):
    asked = np.array([part[0] for part in parts])
    least = asked * [part[1] for part in parts] * 0.1
    weights = np.array([part[2] for part in parts])

    result = fair_shares(asked, least, weights, total)

    assert result.sum() <= max(total, least.sum()) + 1e-6
    assert (result <= asked + 1e-9).all()
    assert (result >= least - 1e-9).all()
    if asked.sum() >= total >= least.sum():
        assert result.sum() == pytest.approx(total, rel=1e-6)


def loud(name, *, judged=UNJUDGED, certain=0.0):
    """It calls forty times a day at 0.5, and a tenth of that every 0.1 above."""
    return BudgetClaim(name, judged, lambda level: max(40 * 0.1 ** (10 * (max(level, 0.5) - 0.5)), certain))


def test_of_two_that_are_as_loud_the_one_that_was_right_is_heard_more():
    right, wrong = allocate_shares(
        [loud("right", judged=VerdictCounts(9, 0)), loud("wrong", judged=VerdictCounts(0, 9))],
        22.0,
        highest=0.99,
    )

    assert right.per_day == pytest.approx(20)
    assert wrong.per_day == pytest.approx(2)
    assert 0.5 < right.threshold < wrong.threshold
    assert "0 of 9 judged alarms were right" in wrong.reason
    assert right.alerts_per_day <= 20
    assert wrong.alerts_per_day <= 2


def test_a_quiet_sensor_keeps_its_threshold_however_loud_the_others_are():
    quiet = BudgetClaim("quiet", VerdictCounts(0, 5), lambda _: 0.1)

    shares = allocate_shares([loud("a"), loud("b"), quiet], 10.0, highest=0.99)

    assert shares[2].threshold == DETECTOR_THRESHOLD
    assert sum(share.alerts_per_day for share in shares) <= 10


def test_what_is_certain_is_told_beyond_any_budget():
    (share,) = allocate_shares([loud("a", certain=3.0)], 1.0, highest=0.99)

    assert (share.threshold, share.alerts_per_day) == (pytest.approx(0.62), 3.0)


@pytest.fixture
def noisy_fleet(monitored_fleet):
    """PT-1 calls 48 times a day at 0.6 and 0.75, PT-2 as often, TT-1 twice at 0.7."""
    many = np.array(([0.6] * 7 + [0.1] * 8 + [0.75] * 7 + [0.1] * 8) * 96)
    few = np.full(2 * 1440 + 1, 0.1)
    few[[100, 101, 102, 103, 104, 105, 106, 2000, 2001, 2002, 2003, 2004, 2005, 2006]] = 0.7
    for name, scores in (("PT-1", many), ("PT-2", many), ("TT-1", few)):
        monitored_fleet.read(name, 0, noisy_values(2 * 1440, seed=7))
        monitored_fleet.score(name, -2 * 1440, scores)
    return monitored_fleet


def stored_calls(plant, start, until):
    """How often alerts opened or repeated when the stored scores are told from the beginning."""
    with plant.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    plant.rule(life={"first_look": "P3D"}, instrument_alerts={"enabled": False}, budget=dict(plant.budget))
    plant.watch(until)
    return sum(
        change in ("opened", "repeated") and at >= start
        for alert in plant.alerts()
        for change, at in plant.told(alert)
    )


@pytest.mark.parametrize("budget", [300, 150, 60, 20, 5])
def test_stored_scores_stay_inside_the_budget(noisy_fleet, budget):
    noisy_fleet.budget = {"alerts_per_day": budget, "critical_share": 0}
    noisy_fleet.rule(budget=noisy_fleet.budget)

    sharing = allocate_budget(noisy_fleet.workspace, now=minutes_after_noon(1))

    assert sharing.requested_per_day == pytest.approx(96 * 2 + 1, rel=0.01)
    assert sharing.alerts_per_day <= budget
    result = stored_calls(noisy_fleet, -2 * 1440, 1)
    assert result <= 2 * budget
    assert result == pytest.approx(2 * sharing.alerts_per_day, abs=1)
    assert result > 0


def test_dangers_have_a_share_of_their_own_and_stay_warnings_beyond_it(monitored_fleet):
    scores = np.array(([0.85] * 7 + [0.1] * 8 + [0.95] * 7 + [0.1] * 38) * 24 * 2)
    monitored_fleet.score("PT-1", -2 * 1440, scores)
    monitored_fleet.rule(budget={"danger_share": 0.25})

    sharing = allocate_budget(monitored_fleet.workspace, now=minutes_after_noon(0))

    (part,) = sharing.raised
    assert sharing.warnings[0].threshold == DETECTOR_THRESHOLD
    assert part.per_day == pytest.approx(30)
    assert 0.85 <= part.threshold < 0.95
    assert part.alerts_per_day == pytest.approx(24, rel=0.01)


def test_what_instruments_and_drift_take_is_not_shared_out(noisy_fleet):
    noisy_fleet.watch(200)

    sharing = allocate_budget(noisy_fleet.workspace, now=minutes_after_noon(200))

    silent = [alert for alert in noisy_fleet.alerts() if alert.topic.type is AlertType.INSTRUMENT]
    assert sharing.other_alerts_per_day == pytest.approx(len(silent) / 28)
    assert sharing.per_day == pytest.approx(120 * 0.95 - sharing.other_alerts_per_day)


def test_a_sensor_that_spoke_for_less_than_a_day_keeps_its_threshold(monitored_fleet):
    monitored_fleet.score("PT-1", 0, [0.9] * 1400)

    allocate_budget(monitored_fleet.workspace, now=minutes_after_noon(1440))

    assert threshold_rows(monitored_fleet.workspace) == []


def test_verdicts_are_counted_by_sensor_and_version(monitored_fleet):
    for name, version in (("PT-1", "1"), ("PT-2", "7")):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
        monitored_fleet.score(name, 0, [0.7] * 60, model_version=version)
    monitored_fleet.watch(60)
    for name, said in (("PT-1", AlertVerdict.FALSE), ("PT-2", AlertVerdict.CONFIRM)):
        (alert,) = monitored_fleet.alerts(name)
        set_verdict(monitored_fleet.workspace, alert.id, said, by="Ana", now=minutes_after_noon(60))

    with monitored_fleet.workspace.engine.connect() as connection:
        result = count_verdicts(connection)

    assert result == {"PT-1": {"1": VerdictCounts(0, 1)}, "PT-2": {"7": VerdictCounts(1, 0)}}
    assert result["PT-1"]["1"].precision == 0


def test_the_command_and_the_job_say_what_each_sensor_may_call(noisy_fleet, capsys):
    noisy_fleet.rule(budget={"alerts_per_day": 10})
    said = run_job(JobName.ALLOCATE_BUDGET, noisy_fleet.workspace, now=minutes_after_noon(1))

    app(["thresholds", "PT-1", "--json"], standalone_mode=False)

    warning, danger = json.loads(capsys.readouterr().out)["thresholds"]
    assert "2 have their threshold raised" in said.detail
    assert (warning["sensor_id"], warning["severity"], danger["threshold"]) == ("PT-1", 2, None)
    assert warning["threshold"] > 0.75
    assert warning["per_day"] < 5
    assert "asks for 96 a day and gets" in warning["reason"]
