"""Watching the fleet: each fault opens one alert of its type, and a second watch changes nothing."""

import pytest

from monitoring.alerts.kinds import AlertState, AlertType, Severity
from monitoring.drift.store import DriftCheck, DriftCheckStore
from monitoring.drift.verdict import DriftVerdict
from monitoring.watch import watcher
from tests.support.monitored_fleet import HOUR, minutes_after_noon, noisy_values
from training.errors import ConfigurationError
from training.reasons import Reason, ReasonCode, dump_reasons
from training.storage.leases import LeaseTaken, lease


def store_normal_data(fleet, *names, until=60):
    """Store readings and scores without anomalies."""
    for name in names:
        fleet.read(name, 0, noisy_values(until, seed=7))
        fleet.score(name, 0, until * [0.1])


def test_normal_data_raises_no_alert(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-1", "PT-2", "TT-1")

    outcomes = monitored_fleet.watch(60)

    assert monitored_fleet.alerts() == []
    assert [outcome.status for outcome in outcomes] == ["watched"] * 3


def test_scores_above_the_threshold_for_the_hold_time_are_one_alert(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.1] * 10 + [0.7] * 20 + [0.1] * 30)

    monitored_fleet.watch_each(1, 60)

    (alert,) = monitored_fleet.alerts()
    assert (alert.topic.type, alert.severity, alert.topic.sensor_id) == (AlertType.ANOMALY, 2, "PT-1")
    assert monitored_fleet.alert_history(alert) == [("opened", 15), ("returned", 35)]
    assert (alert.evidence.score, alert.evidence.threshold, alert.evidence.reason) == (0.7, 0.5, "unusual")
    assert alert.topic.platform == "P-48"


def test_a_score_above_the_danger_score_has_severity_three(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 10 + [0.81] * 20 + [0.8] * 30)

    monitored_fleet.watch(60)

    (alert,) = monitored_fleet.alerts()
    assert alert.severity is Severity.DANGER
    assert monitored_fleet.alert_history(alert) == [("opened", 5), ("worsened", 15)]


def test_one_watch_gives_the_same_alerts_as_a_watch_each_minute(monitored_fleet):
    monitored_fleet.describe({"XT-1": {"platform": "P-48", "low": 0, "high": 100}})
    store_normal_data(monitored_fleet, "PT-2", "TT-1", until=120)
    monitored_fleet.read("PT-1", 0, [*noisy_values(40, seed=7), *[10.3] * 40, *noisy_values(40, seed=8)])
    monitored_fleet.score("PT-1", 0, [0.1] * 10 + [0.7] * 10 + [0.1] * 30 + [0.9] * 30 + [0.1] * 40)
    monitored_fleet.read(
        "XT-1",
        0,
        [*noisy_values(20, seed=7), 400.0, 500.0, 300.0, 300.0, *noisy_values(60, seed=8)],
        quality=1,
    )

    monitored_fleet.watch(120)
    once = {a.topic: (a.evidence, monitored_fleet.alert_history(a)) for a in monitored_fleet.alerts()}
    with monitored_fleet.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    monitored_fleet.watch_each(0, 120)

    assert {a.topic: (a.evidence, monitored_fleet.alert_history(a)) for a in monitored_fleet.alerts()} == once
    assert {topic.subject for topic in once} == {"", "frozen", "out of range", "marked bad", "silent"}


def test_a_second_watch_changes_nothing(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 60)
    monitored_fleet.watch(60)
    before = monitored_fleet.alerts()

    monitored_fleet.watch(60)

    assert monitored_fleet.alerts() == before


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
def test_rules_decide_which_scores_raise_alerts(monitored_fleet, rules, opens):
    """The readings are at 20, ten above normal, for half an hour."""
    monitored_fleet.write_rules(anomaly_alerts=rules)
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 30 + [0.1] * 30)

    monitored_fleet.watch(60)

    assert bool(monitored_fleet.alerts()) is opens


def test_a_deviation_within_the_deadband_does_not_end_an_alert(monitored_fleet):
    monitored_fleet.write_rules(anomaly_alerts={"min_deviation": 5, "deadband": 3})
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    values = [20.0] * 20 + [13.0] * 20 + [11.0] * 20
    monitored_fleet.score("PT-1", 0, [0.7] * 60, value=values)

    monitored_fleet.watch(60)

    (alert,) = monitored_fleet.alerts()
    assert monitored_fleet.alert_history(alert) == [("opened", 5), ("returned", 45)]


def test_exceptions_change_the_rules_of_a_platform_and_of_a_sensor(monitored_fleet):
    monitored_fleet.write_rules(
        exceptions={
            "platforms": {"P-48": {"anomaly_alerts": {"hold": "PT30M"}}},
            "sensors": {"*-2": {"anomaly_alerts": {"hold": "PT0S"}}},
        }
    )
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
        monitored_fleet.score(name, 0, [0.7] * 60)

    monitored_fleet.watch(60)

    opened = {a.topic.sensor_id: monitored_fleet.alert_history(a)[0][1] for a in monitored_fleet.alerts()}
    assert opened == {"PT-1": 30, "PT-2": 0, "TT-1": 5}


def test_an_invalid_exception_is_refused(monitored_fleet):
    monitored_fleet.write_rules(exceptions={"sensors": {"PT-1": {"anomaly_alerts": {"hold": "soon"}}}})

    with pytest.raises(ConfigurationError, match=r"exceptions for PT-1: anomaly_alerts: hold = 'soon'"):
        monitored_fleet.watch(60)


def test_a_constant_and_anomalous_value_raises_only_the_instrument_alert(monitored_fleet):
    """The detector reports it from the eighth equal reading on, before its length alone makes it frozen."""
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, [*noisy_values(10, seed=7), *[9.87] * 50])
    monitored_fleet.score("PT-1", 0, [0.1] * 18 + [0.9] * 42)

    monitored_fleet.watch_each(1, 60)

    (alert,) = monitored_fleet.alerts()
    assert (alert.topic.type, alert.topic.subject) == (AlertType.INSTRUMENT, "frozen")
    assert alert.severity == 2
    assert alert.evidence.reason.startswith("has not changed from 9.87 bar for")


def test_a_constant_value_is_frozen_without_a_detector_too(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, [*noisy_values(10, seed=7), *[9.87] * 50])

    monitored_fleet.watch(60)

    (alert,) = monitored_fleet.alerts()
    assert alert.topic.subject == "frozen"
    assert alert.opened_at <= minutes_after_noon(10 + 15)


def test_a_valve_that_is_normally_constant_is_not_frozen(monitored_fleet):
    monitored_fleet.read("XV-1", -1440, [float(place // 120 % 2) for place in range(1440)])
    monitored_fleet.read("XV-1", 0, [1.0] * 200)

    monitored_fleet.watch(200, "XV-1")

    assert monitored_fleet.alerts() == []


def test_a_sensor_at_rest_at_zero_is_not_frozen(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, [*noisy_values(10, seed=7), *[0.0] * 50])

    monitored_fleet.watch(60)

    assert monitored_fleet.alerts("PT-1") == []


def test_readings_out_of_range_raise_an_instrument_alert(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(20, seed=7))
    monitored_fleet.read("PT-1", 20, [500.0] * 10, quality=1)
    monitored_fleet.read("PT-1", 30, noisy_values(30, seed=8))

    monitored_fleet.watch_each(1, 60)

    (alert,) = monitored_fleet.alerts()
    assert (alert.topic.type, alert.topic.subject) == (AlertType.INSTRUMENT, "out of range")
    assert monitored_fleet.alert_history(alert) == [("opened", 20), ("returned", 35)]
    assert alert.evidence.reason == "500 bar is outside the instrument range, which ends at 400 bar"


def test_readings_marked_bad_raise_an_instrument_alert(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7), quality=1)

    monitored_fleet.watch(60)

    assert [alert.topic.subject for alert in monitored_fleet.alerts()] == ["marked bad"]


def test_a_sensor_that_stops_sending_raises_a_no_data_alert_after_ten_minutes(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1", until=120)
    monitored_fleet.read("PT-1", 0, noisy_values(20, seed=7))
    monitored_fleet.watch_each(1, 60)
    monitored_fleet.read("PT-1", 61, noisy_values(60, seed=8))

    monitored_fleet.watch(120)

    (alert,) = monitored_fleet.alerts()
    assert (alert.topic.type, alert.topic.subject) == (AlertType.INSTRUMENT, "silent")
    assert monitored_fleet.alert_history(alert) == [("opened", 29), ("returned", 66)]


def test_a_sensor_that_never_sent_anything_raises_no_alert(monitored_fleet):
    monitored_fleet.describe({"NEW-1": {"platform": "P-48"}})
    with monitored_fleet.workspace.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_readings WHERE sensor_id = 'NEW-1'")

    monitored_fleet.watch(60, "NEW-1")

    assert monitored_fleet.alerts("NEW-1") == []


def test_a_limit_that_is_forecast_to_be_exceeded_raises_a_critical_alert(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-1", "PT-2", "TT-1")
    monitored_fleet.forecast("PT-1", 30, [20, 25, 29.9, 31, 33])

    monitored_fleet.watch(31)

    (alert,) = monitored_fleet.alerts()
    assert (alert.topic.type, alert.severity) == (AlertType.FORECAST_WARNING, Severity.CRITICAL)
    assert alert.evidence.crosses_at == minutes_after_noon(30) + 4 * HOUR
    assert alert.evidence.limit == 30
    assert 0.97 < alert.evidence.probability <= 1
    assert alert.evidence.reason.startswith(
        "forecast to exceed the critical high limit of 30 bar in 4 h (probability "
    )


def test_a_forecast_alert_ends_only_when_the_forecast_is_clearly_below_the_limit(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-1", "PT-2", "TT-1", until=300)
    monitored_fleet.forecast("PT-1", 0, [31.0])
    monitored_fleet.forecast("PT-1", 60, [29.9])
    monitored_fleet.forecast("PT-1", 120, [25.0])

    monitored_fleet.watch(200)

    (alert,) = monitored_fleet.alerts("PT-1")
    assert monitored_fleet.alert_history(alert) == [("opened", 0), ("returned", 125)]


def test_a_sensor_without_limits_raises_no_forecast_alert(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-1", "PT-2", "TT-1")
    monitored_fleet.forecast("PT-2", 30, [1e9])

    monitored_fleet.watch(31)

    assert monitored_fleet.alerts() == []


def check(name, minutes, verdict, **more):
    return DriftCheck(
        name, "ANOMALY_DETECTOR", minutes_after_noon(minutes), "3", minutes_after_noon(-900),
        minutes_after_noon(minutes), 900, verdict, "level moved by 2 bar", 0.01, **more,
    )  # fmt: skip


def test_a_drift_alert_lasts_until_a_check_finds_no_drift(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-1", "PT-2", "TT-1", until=200)
    DriftCheckStore(monitored_fleet.workspace.engine).save(
        [
            check("PT-1", 10, DriftVerdict.STEADY),
            check("PT-1", 50, DriftVerdict.DRIFTED, advice="Retrain."),
            check("PT-1", 90, DriftVerdict.WITHHELD),
            check("PT-1", 130, DriftVerdict.DRIFTED),
            check("PT-1", 160, DriftVerdict.STEADY),
        ]
    )

    monitored_fleet.watch(200)

    (alert,) = monitored_fleet.alerts()
    assert (alert.topic.type, alert.severity) == (AlertType.DRIFT, 2)
    assert monitored_fleet.alert_history(alert) == [("opened", 50), ("returned", 165)]
    assert alert.evidence.reason == "level moved by 2 bar. Retrain."


def test_an_anomaly_alert_has_the_reasons_of_its_reading_with_the_unit(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    reason = Reason(ReasonCode.LEVEL_ABOVE, {"value": 20.0, "size": 4.2, "normal": 10.0})
    monitored_fleet.score("PT-1", 0, [0.7] * 60, reason_data=dump_reasons([reason]))

    monitored_fleet.watch(60)

    (alert,) = monitored_fleet.alerts()
    assert alert.evidence.reasons == (Reason(reason.code, {"unit": "bar", **reason.values}),)
    assert alert.evidence.reason == "value 20 bar is 4.2 robust SDs above normal (10 bar)"


def test_a_drift_alert_has_the_reasons_of_the_check_and_its_advice(monitored_fleet):
    store_normal_data(monitored_fleet, "PT-1", "PT-2", "TT-1")
    reasons = (Reason(ReasonCode.DRIFT_LEVEL, {"change": 2.0, "size": 3.0, "unit": "bar"}),)
    drifted = check("PT-1", 10, DriftVerdict.DRIFTED, reasons=reasons, origin="model")
    DriftCheckStore(monitored_fleet.workspace.engine).save([drifted])

    monitored_fleet.watch(60)

    (alert,) = monitored_fleet.alerts()
    assert alert.evidence.reasons == (*reasons, Reason(ReasonCode.ADVICE_MODEL))
    assert alert.evidence.reason == "level moved by +2 bar (3 SDs). Retrain."


def test_pending_alerts_and_alerts_of_version_0_1_0_have_only_a_text(monitored_fleet):
    """Their rows have no `reason_data`, and the pending JSON has no `reasons`."""
    store_normal_data(monitored_fleet, "PT-2", "TT-1")
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.1] * 57 + [0.7] * 3)
    monitored_fleet.watch(60)
    with monitored_fleet.workspace.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE alert_watches SET pending = json_remove(pending, '$.evidence.reasons')"
        )

    monitored_fleet.watch(65)

    alert = next(alert for alert in monitored_fleet.alerts("PT-1") if alert.topic.type is AlertType.ANOMALY)
    assert (alert.evidence.reason, alert.evidence.reasons) == ("unusual", ())
    assert monitored_fleet.alert_history(alert) == [("opened", 62)]


def test_the_failure_of_one_sensor_does_not_affect_the_others(monitored_fleet, monkeypatch):
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
        monitored_fleet.score(name, 0, [0.7] * 60)
    real = watcher.collect_conditions

    def fail_for_one(sensor, *arguments, **options):
        if sensor.id == "PT-1":
            raise ZeroDivisionError("no step")
        return real(sensor, *arguments, **options)

    monkeypatch.setattr(watcher, "collect_conditions", fail_for_one)
    outcomes = {outcome.sensor_id: outcome for outcome in monitored_fleet.watch(60)}

    assert outcomes["PT-1"].failed
    assert "no step" in outcomes["PT-1"].error
    assert {alert.topic.sensor_id for alert in monitored_fleet.alerts()} == {"PT-2", "TT-1"}


def test_alerts_of_a_disabled_sensor_end(monitored_fleet):
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 60)
    monitored_fleet.watch(60, "PT-1")
    monitored_fleet.describe({"PT-1": {"platform": "P-48", "enabled": False}})

    monitored_fleet.watch_each(61, 70)

    (alert,) = monitored_fleet.alerts("PT-1")
    assert alert.state is AlertState.RETURNED


def test_only_one_process_watches_at_a_time(monitored_fleet):
    with lease(monitored_fleet.workspace.engine, "watch"), pytest.raises(LeaseTaken):
        monitored_fleet.watch(60)
