"""Watching the fleet: each fault opens one alert of its type, and looking again changes nothing."""

import pytest

from monitoring.alerts.kinds import AlertType, Severity, State
from monitoring.drift.store import DriftCheck, DriftCheckStore, Verdict
from monitoring.watch import watcher
from tests.watched import HOUR, moment, wander
from training.errors import ConfigurationError
from training.storage.leases import LeaseTaken, lease


def quiet(watched, *names, until=60):
    """Readings and scores as ever."""
    for name in names:
        watched.read(name, 0, wander(until, seed=7))
        watched.score(name, 0, until * [0.1])


def test_an_untouched_hour_raises_nothing(watched):
    quiet(watched, "PT-1", "PT-2", "TT-1")

    outcomes = watched.watch(60)

    assert watched.alerts() == []
    assert [outcome.status for outcome in outcomes] == ["watched"] * 3


def test_odd_scores_that_hold_are_one_alert(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.1] * 10 + [0.7] * 20 + [0.1] * 30)

    watched.watch_each(1, 60)

    (alert,) = watched.alerts()
    assert (alert.topic.type, alert.severity, alert.topic.sensor_id) == (AlertType.ANOMALY, 2, "PT-1")
    assert watched.told(alert) == [("opened", 15), ("returned", 35)]
    assert (alert.evidence.score, alert.evidence.threshold, alert.evidence.reason) == (0.7, 0.5, "odd")
    assert alert.topic.platform == "P-48"


def test_a_score_above_the_danger_line_is_severity_three(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.7] * 10 + [0.81] * 20 + [0.8] * 30)

    watched.watch(60)

    (alert,) = watched.alerts()
    assert alert.severity is Severity.DANGER
    assert watched.told(alert) == [("opened", 5), ("worsened", 15)]


def test_looking_once_tells_what_looking_each_minute_does(watched):
    watched.describe({"XT-1": {"platform": "P-48", "low": 0, "high": 100}})
    quiet(watched, "PT-2", "TT-1", until=120)
    watched.read("PT-1", 0, [*wander(40, seed=7), *[10.3] * 40, *wander(40, seed=8)])
    watched.score("PT-1", 0, [0.1] * 10 + [0.7] * 10 + [0.1] * 30 + [0.9] * 30 + [0.1] * 40)
    watched.read("XT-1", 0, [*wander(20, seed=7), 400.0, 500.0, 300.0, 300.0, *wander(60, seed=8)], quality=1)

    watched.watch(120)
    once = {a.topic: (a.evidence, watched.told(a)) for a in watched.alerts()}
    with watched.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    watched.watch_each(0, 120)

    assert {a.topic: (a.evidence, watched.told(a)) for a in watched.alerts()} == once
    assert {topic.subject for topic in once} == {"", "frozen", "out of range", "marked bad", "silent"}


def test_looking_again_changes_nothing(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.7] * 60)
    watched.watch(60)
    before = watched.alerts()

    watched.watch(60)

    assert watched.alerts() == before


@pytest.mark.parametrize(
    ("rules", "opens"),
    [
        ({"direction": "low"}, False),
        ({"direction": "high"}, True),
        ({"min_deviation": 11}, False),
        ({"min_deviation": 9}, True),
        ({"hold": "PT45M"}, False),
        ({"enabled": False}, False),
    ],
)
def test_rules_say_what_counts(watched, rules, opens):
    """The readings are at 20, ten above the usual, for half an hour."""
    watched.rule(anomaly_alerts=rules)
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.7] * 30 + [0.1] * 30)

    watched.watch(60)

    assert bool(watched.alerts()) is opens


def test_what_is_over_by_the_deadband_only_is_not_over(watched):
    watched.rule(anomaly_alerts={"min_deviation": 5, "deadband": 3})
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, wander(60, seed=7))
    values = [20.0] * 20 + [13.0] * 20 + [11.0] * 20
    watched.score("PT-1", 0, [0.7] * 60, value=values)

    watched.watch(60)

    (alert,) = watched.alerts()
    assert watched.told(alert) == [("opened", 5), ("returned", 45)]


def test_one_sensor_may_have_rules_of_its_own(watched):
    watched.rule(
        exceptions={
            "platforms": {"P-48": {"anomaly_alerts": {"hold": "PT30M"}}},
            "sensors": {"*-2": {"anomaly_alerts": {"hold": "PT0S"}}},
        }
    )
    for name in ("PT-1", "PT-2", "TT-1"):
        watched.read(name, 0, wander(60, seed=7))
        watched.score(name, 0, [0.7] * 60)

    watched.watch(60)

    opened = {a.topic.sensor_id: watched.told(a)[0][1] for a in watched.alerts()}
    assert opened == {"PT-1": 30, "PT-2": 0, "TT-1": 5}


def test_an_exception_that_cannot_be_meant_is_refused(watched):
    watched.rule(exceptions={"sensors": {"PT-1": {"anomaly_alerts": {"hold": "soon"}}}})

    with pytest.raises(ConfigurationError, match=r"exceptions for PT-1: anomaly_alerts: hold = 'soon'"):
        watched.watch(60)


def test_a_value_that_stands_still_and_is_odd_is_the_instruments_fault_alone(watched):
    """The detector finds it odd from the eighth equal reading on, before it is frozen by length alone."""
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, [*wander(10, seed=7), *[9.87] * 50])
    watched.score("PT-1", 0, [0.1] * 18 + [0.9] * 42)

    watched.watch_each(1, 60)

    (alert,) = watched.alerts()
    assert (alert.topic.type, alert.topic.subject) == (AlertType.INSTRUMENT, "frozen")
    assert alert.severity == 2
    assert alert.evidence.reason.startswith("has not moved from 9.87 bar for")


def test_a_value_that_stands_still_is_frozen_also_without_a_detector(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, [*wander(10, seed=7), *[9.87] * 50])

    watched.watch(60)

    (alert,) = watched.alerts()
    assert alert.topic.subject == "frozen"
    assert alert.opened_at <= moment(10 + 15)


def test_a_valve_that_always_stands_still_is_not_frozen(watched):
    watched.read("XV-1", -1440, [float(place // 120 % 2) for place in range(1440)])
    watched.read("XV-1", 0, [1.0] * 200)

    watched.watch(200, "XV-1")

    assert watched.alerts() == []


def test_a_sensor_that_rests_at_zero_is_not_frozen(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, [*wander(10, seed=7), *[0.0] * 50])

    watched.watch(60)

    assert watched.alerts("PT-1") == []


def test_readings_beyond_the_range_are_the_instruments_fault(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, wander(20, seed=7))
    watched.read("PT-1", 20, [500.0] * 10, quality=1)
    watched.read("PT-1", 30, wander(30, seed=8))

    watched.watch_each(1, 60)

    (alert,) = watched.alerts()
    assert (alert.topic.type, alert.topic.subject) == (AlertType.INSTRUMENT, "out of range")
    assert watched.told(alert) == [("opened", 20), ("returned", 35)]
    assert "500 bar is beyond the range" in alert.evidence.reason


def test_readings_that_come_marked_bad_are_told_as_that(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, wander(60, seed=7), quality=1)

    watched.watch(60)

    assert [alert.topic.subject for alert in watched.alerts()] == ["marked bad"]


def test_a_sensor_that_stops_speaking_is_silent_after_ten_minutes(watched):
    quiet(watched, "PT-2", "TT-1", until=120)
    watched.read("PT-1", 0, wander(20, seed=7))
    watched.watch_each(1, 60)
    watched.read("PT-1", 61, wander(60, seed=8))

    watched.watch(120)

    (alert,) = watched.alerts()
    assert (alert.topic.type, alert.topic.subject) == (AlertType.INSTRUMENT, "silent")
    assert watched.told(alert) == [("opened", 29), ("returned", 66)]


def test_a_sensor_that_never_spoke_is_no_alert(watched):
    watched.describe({"NEW-1": {"platform": "P-48"}})
    with watched.workspace.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_readings WHERE sensor_id = 'NEW-1'")

    watched.watch(60, "NEW-1")

    assert watched.alerts("NEW-1") == []


def test_a_limit_that_will_be_crossed_is_told_before_it_is(watched):
    quiet(watched, "PT-1", "PT-2", "TT-1")
    watched.forecast("PT-1", 30, [20, 25, 29.9, 31, 33])

    watched.watch(31)

    (alert,) = watched.alerts()
    assert (alert.topic.type, alert.severity) == (AlertType.FORECAST_WARNING, Severity.CRITICAL)
    assert alert.evidence.crosses_at == moment(30) + 4 * HOUR
    assert alert.evidence.limit == 30
    assert 0.97 < alert.evidence.probability <= 1
    assert alert.evidence.reason.startswith("in 4 h it will probably (")


def test_a_forecast_that_comes_down_again_ends_it_only_clearly_below(watched):
    quiet(watched, "PT-1", "PT-2", "TT-1", until=300)
    watched.forecast("PT-1", 0, [31.0])
    watched.forecast("PT-1", 60, [29.9])
    watched.forecast("PT-1", 120, [25.0])

    watched.watch(200)

    (alert,) = watched.alerts("PT-1")
    assert watched.told(alert) == [("opened", 0), ("returned", 125)]


def test_a_limit_already_crossed_is_certain(watched):
    quiet(watched, "PT-2", "TT-1")
    watched.read("PT-1", 0, [35.0])
    watched.forecast("PT-1", 0, [20.0])

    watched.watch(1)

    (alert,) = watched.alerts()
    assert alert.evidence.probability == 1
    assert alert.evidence.crosses_at == moment(0)


def test_a_sensor_without_limits_is_never_forecast_to_cross_them(watched):
    quiet(watched, "PT-1", "PT-2", "TT-1")
    watched.forecast("PT-2", 30, [1e9])

    watched.watch(31)

    assert watched.alerts() == []


def check(name, minutes, verdict, **more):
    return DriftCheck(
        name, "ANOMALY_DETECTOR", moment(minutes), "3", moment(-900), moment(minutes), 900, verdict,
        "the level moved by 2 bar", 0.01, **more,
    )  # fmt: skip


def test_drift_is_one_alert_from_the_check_that_says_so_to_the_one_that_denies_it(watched):
    quiet(watched, "PT-1", "PT-2", "TT-1", until=200)
    DriftCheckStore(watched.workspace.engine).save(
        [
            check("PT-1", 10, Verdict.STEADY),
            check("PT-1", 50, Verdict.DRIFTED, advice="Retrain."),
            check("PT-1", 90, Verdict.WITHHELD),
            check("PT-1", 130, Verdict.DRIFTED),
            check("PT-1", 160, Verdict.STEADY),
        ]
    )

    watched.watch(200)

    (alert,) = watched.alerts()
    assert (alert.topic.type, alert.severity) == (AlertType.DRIFT, 2)
    assert watched.told(alert) == [("opened", 50), ("returned", 165)]
    assert alert.evidence.reason == "the level moved by 2 bar Retrain."


def test_one_sensor_that_cannot_be_watched_costs_the_others_nothing(watched, monkeypatch):
    for name in ("PT-1", "PT-2", "TT-1"):
        watched.read(name, 0, wander(60, seed=7))
        watched.score(name, 0, [0.7] * 60)
    real = watcher.signs_of

    def sometimes(sensor, *given, **named):
        if sensor.id == "PT-1":
            raise ZeroDivisionError("no step")
        return real(sensor, *given, **named)

    monkeypatch.setattr(watcher, "signs_of", sometimes)
    outcomes = {outcome.sensor_id: outcome for outcome in watched.watch(60)}

    assert outcomes["PT-1"].failed
    assert "no step" in outcomes["PT-1"].error
    assert {alert.topic.sensor_id for alert in watched.alerts()} == {"PT-2", "TT-1"}


def test_alerts_of_a_sensor_that_is_no_longer_watched_end(watched):
    watched.read("PT-1", 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.7] * 60)
    watched.watch(60, "PT-1")
    watched.describe({"PT-1": {"platform": "P-48", "enabled": False}})

    watched.watch_each(61, 70)

    (alert,) = watched.alerts("PT-1")
    assert alert.state is State.RETURNED


def test_only_one_process_watches_at_a_time(watched):
    with lease(watched.workspace.engine, "watch"), pytest.raises(LeaseTaken):
        watched.watch(60)
