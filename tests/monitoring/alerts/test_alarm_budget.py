"""The alarm budget: all sensors together stay within it, and each share has its reasons."""

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
from tests.support.monitored_fleet import ALERT_TIMING, minutes_after_noon, noisy_values
from training.storage.alert_verdicts import VerdictCounts, count_verdicts

UNJUDGED = VerdictCounts()
TOPIC = AlertTopic(AlertType.ANOMALY, "PT-1")
STEPS = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0, 1, 2])), min_size=1, max_size=60)


@given(STEPS)
def test_alerts_are_counted_as_the_life_cycle_raises_them(steps):
    """Each step: minutes since the last reading, and 0 ended, 1 sustained, 2 met."""
    minutes = np.cumsum([gap for gap, _ in steps]).astype(float)
    level = np.array([state for _, state in steps])
    conditions = [
        Condition(minutes_after_noon(at), 2 * (state == 2), 2 * (state > 0))
        for at, state in zip(minutes, level, strict=True)
    ]

    result = advance(
        TOPIC, PendingAlert(), None, conditions, ALERT_TIMING, now=minutes_after_noon(minutes[-1])
    )

    reported = [event.change for transition in result.transitions for event in transition.events]
    counted = count_alerts(
        minutes, level == 2, level > 0, hold=5.0, return_after=5.0, until=float(minutes[-1])
    )
    assert counted == sum(change in (AlertChange.OPENED, AlertChange.REPEATED) for change in reported)


PARTS = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 1), st.floats(0.05, 1)), min_size=1, max_size=20)


@given(PARTS, st.floats(0.1, 200))
def test_shares_add_up_to_the_budget_and_none_exceeds_its_request(parts, total):
    requested = np.array([part[0] for part in parts])
    minimum = requested * [part[1] for part in parts] * 0.1
    weights = np.array([part[2] for part in parts])

    result = fair_shares(requested, minimum, weights, total)

    assert result.sum() <= max(total, minimum.sum()) + 1e-6
    assert (result <= requested + 1e-9).all()
    assert (result >= minimum - 1e-9).all()
    if requested.sum() >= total >= minimum.sum():
        assert result.sum() == pytest.approx(total, rel=1e-6)


def test_a_quiet_sensor_keeps_its_threshold_beside_a_frequent_one():
    """Its rate of one alert in 30 days has no end in decimals; its share must cover all of it."""
    quiet, noisy = allocate_shares(
        [BudgetClaim("quiet", UNJUDGED, lambda _: 1 / 30), frequent("noisy")], 10.0, highest=0.99
    )

    assert quiet.threshold == DETECTOR_THRESHOLD
    assert noisy.threshold > DETECTOR_THRESHOLD


def frequent(name, *, judged=UNJUDGED, certain=0.0):
    """Forty alerts a day with a threshold of 0.5, and a tenth of that for every 0.1 above."""
    return BudgetClaim(name, judged, lambda level: max(40 * 0.1 ** (10 * (max(level, 0.5) - 0.5)), certain))


def test_of_two_equal_sensors_the_more_precise_one_gets_the_larger_share():
    precise, imprecise = allocate_shares(
        [frequent("precise", judged=VerdictCounts(9, 0)), frequent("imprecise", judged=VerdictCounts(0, 9))],
        22.0,
        highest=0.99,
    )

    assert precise.per_day == pytest.approx(20)
    assert imprecise.per_day == pytest.approx(2)
    assert 0.5 < precise.threshold < imprecise.threshold
    assert "0 of 9 judged alarms were confirmed" in imprecise.reason
    assert precise.alerts_per_day <= 20
    assert imprecise.alerts_per_day <= 2


def test_a_sensor_with_few_alerts_keeps_its_threshold():
    quiet = BudgetClaim("quiet", VerdictCounts(0, 5), lambda _: 0.1)

    shares = allocate_shares([frequent("a"), frequent("b"), quiet], 10.0, highest=0.99)

    assert shares[2].threshold == DETECTOR_THRESHOLD
    assert sum(share.alerts_per_day for share in shares) <= 10


def test_certain_anomalies_raise_alerts_beyond_the_budget():
    (share,) = allocate_shares([frequent("a", certain=3.0)], 1.0, highest=0.99)

    assert (share.threshold, share.alerts_per_day) == (pytest.approx(0.62), 3.0)


@pytest.fixture
def noisy_fleet(monitored_fleet):
    """PT-1 and PT-2 raise 48 alerts a day with 0.6 and 48 with 0.75, TT-1 two with 0.7."""
    many = np.array(([0.6] * 7 + [0.1] * 8 + [0.75] * 7 + [0.1] * 8) * 96)
    few = np.full(2 * 1440 + 1, 0.1)
    few[[100, 101, 102, 103, 104, 105, 106, 2000, 2001, 2002, 2003, 2004, 2005, 2006]] = 0.7
    for name, scores in (("PT-1", many), ("PT-2", many), ("TT-1", few)):
        monitored_fleet.read(name, 0, noisy_values(2 * 1440, seed=7))
        monitored_fleet.score(name, -2 * 1440, scores)
    return monitored_fleet


def count_raised_alerts(fleet, start, until):
    """How often alerts open or repeat when the stored scores are watched from the beginning."""
    with fleet.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    fleet.write_rules(
        life={"first_look": "P3D"}, instrument_alerts={"enabled": False}, budget=dict(fleet.budget)
    )
    fleet.watch(until)
    return sum(
        change in ("opened", "repeated") and at >= start
        for alert in fleet.alerts()
        for change, at in fleet.alert_history(alert)
    )


@pytest.mark.parametrize("budget", [300, 150, 60, 20, 5])
def test_alerts_of_the_stored_scores_stay_within_the_budget(noisy_fleet, budget):
    noisy_fleet.budget = {"alerts_per_day": budget, "critical_share": 0}
    noisy_fleet.write_rules(budget=noisy_fleet.budget)

    allocation = allocate_budget(noisy_fleet.workspace, now=minutes_after_noon(1))

    assert allocation.requested_per_day == pytest.approx(96 * 2 + 1, rel=0.01)
    assert allocation.alerts_per_day <= budget
    result = count_raised_alerts(noisy_fleet, -2 * 1440, 1)
    assert result <= 2 * budget
    assert result == pytest.approx(2 * allocation.alerts_per_day, abs=1)
    assert result > 0


def test_dangers_have_their_own_share_and_stay_warnings_beyond_it(monitored_fleet):
    scores = np.array(([0.85] * 7 + [0.1] * 8 + [0.95] * 7 + [0.1] * 38) * 24 * 2)
    monitored_fleet.score("PT-1", -2 * 1440, scores)
    monitored_fleet.write_rules(budget={"danger_share": 0.25})

    allocation = allocate_budget(monitored_fleet.workspace, now=minutes_after_noon(0))

    (share,) = allocation.raised
    assert allocation.warnings[0].threshold == DETECTOR_THRESHOLD
    assert share.per_day == pytest.approx(30)
    assert 0.85 <= share.threshold < 0.95
    assert share.alerts_per_day == pytest.approx(24, rel=0.01)


def test_instrument_and_drift_alerts_are_deducted_from_the_budget(noisy_fleet):
    noisy_fleet.watch(200)

    allocation = allocate_budget(noisy_fleet.workspace, now=minutes_after_noon(200))

    instrument_alerts = [alert for alert in noisy_fleet.alerts() if alert.topic.type is AlertType.INSTRUMENT]
    assert allocation.other_alerts_per_day == pytest.approx(len(instrument_alerts) / 28)
    assert allocation.per_day == pytest.approx(120 * 0.95 - allocation.other_alerts_per_day)


def test_a_sensor_with_less_than_a_day_of_scores_keeps_its_threshold(monitored_fleet):
    monitored_fleet.score("PT-1", 0, [0.9] * 1400)

    allocate_budget(monitored_fleet.workspace, now=minutes_after_noon(1440))

    assert threshold_rows(monitored_fleet.workspace) == []


def test_verdicts_are_counted_by_sensor_and_version(monitored_fleet):
    for name, version in (("PT-1", "1"), ("PT-2", "7")):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
        monitored_fleet.score(name, 0, [0.7] * 60, model_version=version)
    monitored_fleet.watch(60)
    for name, verdict in (("PT-1", AlertVerdict.FALSE), ("PT-2", AlertVerdict.CONFIRM)):
        (alert,) = monitored_fleet.alerts(name)
        set_verdict(monitored_fleet.workspace, alert.id, verdict, by="Ana", now=minutes_after_noon(60))

    with monitored_fleet.workspace.engine.connect() as connection:
        result = count_verdicts(connection)

    assert result == {"PT-1": {"1": VerdictCounts(0, 1)}, "PT-2": {"7": VerdictCounts(1, 0)}}
    assert result["PT-1"]["1"].precision == 0


def test_the_command_shows_the_reasons_in_the_language_of_the_site(noisy_fleet, capsys, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_LANGUAGE", "pt")
    allocate_budget(noisy_fleet.workspace, now=minutes_after_noon(1))

    app(["thresholds", "TT-1"], standalone_mode=False)

    output = capsys.readouterr().out
    assert "orçamento de alarmes" in output
    assert "sem vereditos" in output


def test_a_threshold_of_version_0_1_0_shows_its_stored_text(noisy_fleet, capsys):
    allocate_budget(noisy_fleet.workspace, now=minutes_after_noon(1))
    with noisy_fleet.workspace.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alert_thresholds SET reason_data = NULL, reason = 'as in 0.1.0'")

    app(["thresholds", "TT-1"], standalone_mode=False)

    assert "as in 0.1.0" in capsys.readouterr().out


def test_the_command_and_the_job_report_the_threshold_of_each_sensor(noisy_fleet, capsys):
    noisy_fleet.write_rules(budget={"alerts_per_day": 10})
    result = run_job(JobName.ALLOCATE_BUDGET, noisy_fleet.workspace, now=minutes_after_noon(1))

    app(["thresholds", "PT-1", "--json"], standalone_mode=False)

    warning, danger = json.loads(capsys.readouterr().out)["thresholds"]
    assert "2 thresholds were raised" in result.detail
    assert (warning["sensor_id"], warning["severity"], danger["threshold"]) == ("PT-1", 2, None)
    assert warning["threshold"] > 0.75
    assert warning["per_day"] < 5
    assert warning["reason"].startswith("alerts a day: 96, ")
    assert [reason["code"] for reason in warning["reasons"]] == ["budget_raised", "budget_no_verdicts"]
