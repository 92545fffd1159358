"""Limit alerts: raised with the very reading, without a model, and cleared about as fast as raised."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.alert import AlertTopic, PendingAlert
from monitoring.alerts.instrument_baseline import RecentValues
from monitoring.alerts.kinds import AlertState, AlertType
from monitoring.alerts.life_cycle import advance
from monitoring.alerts.rules import (
    AnomalyRules,
    DriftRules,
    ForecastRules,
    InstrumentRules,
    LifeRules,
    LimitRules,
    SensorRules,
)
from monitoring.watch.limit_conditions import limit_conditions
from monitoring.watch.measurements import Reading, measure
from tests.support.monitored_fleet import MINUTE, NOON, minutes_after_noon, noisy_values, waiting_messages
from training.data.limits import SEVERITY_OF_LIMIT, LimitKind
from training.data.sensors import Sensor

STEAM = {
    "platform": "P-48", "unit": "degC", "low": 0, "high": 250, "warning_low": 5, "critical_low": 2,
    "warning_high": 60, "critical_high": 95,
}  # fmt: skip


@pytest.fixture
def steam(monitored_fleet):
    """A temperature around ten in a range to 250, with all four limits."""
    monitored_fleet.describe({"TT-202": STEAM})
    return monitored_fleet


def limit_alerts(fleet, name="TT-202"):
    """The limit alerts by subject, with the changes that readings make."""
    return {
        alert.topic.subject: [change for change in fleet.alert_history(alert) if change[0] != "escalated"]
        for alert in fleet.alerts(name)
        if alert.topic.type is AlertType.LIMIT
    }


def test_a_reading_beyond_its_critical_limit_is_an_alert_at_once(steam):
    """Degrees Fahrenheit for 20 minutes: it waited for the hourly forecast, and stayed 13 minutes longer."""
    steam.read("TT-202", 0, [10.0] * 10 + [192.0] * 20 + [10.5] * 10)

    steam.watch_each(1, 12)
    (alert,) = steam.alerts("TT-202", alive=True)
    assert (alert.topic.type, alert.topic.subject, alert.severity) == (AlertType.LIMIT, "high_high", 4)
    assert alert.began_at == alert.opened_at == minutes_after_noon(10)
    assert (alert.evidence.value, alert.evidence.limit) == (192, 95)
    assert alert.evidence.reason == "critical high limit of 95 degC reached: 192 degC"
    steam.watch_each(13, 40)

    assert limit_alerts(steam) == {"high_high": [("opened", 10), ("returned", 31)]}


def test_an_alert_shows_its_worst_reading(steam):
    steam.read("TT-202", 0, [10.0, 97.0, 110.0, 120.0, 112.0, 99.0])

    steam.watch_each(1, 6)

    (alert,) = steam.alerts("TT-202")
    assert alert.evidence.value == 120


def test_a_slow_rise_reaches_the_warning_limit_first(steam):
    steam.read("TT-202", 0, [50.0, 61.0, 70.0, 96.0, 97.0, 70.0, 70.0, 50.0, 50.0, 50.0])

    steam.watch_each(1, 12)

    assert limit_alerts(steam) == {
        "high": [("opened", 1), ("returned", 8)],
        "high_high": [("opened", 3), ("returned", 6)],
    }


@pytest.mark.parametrize(
    ("kind", "readings", "severity"),
    [
        ("high_high", [96.0], 4),
        ("low_low", [1.0], 4),
        ("high", [61.0], 2),
        ("low", [4.5], 2),
        ("rate_of_change", [25.0], 3),
    ],
)
def test_each_kind_of_limit_raises_one_alert_of_its_severity(steam, kind, readings, severity):
    limits = {**STEAM, **({"max_rate": 10} if kind == "rate_of_change" else {})}
    steam.describe({"TT-202": limits})
    steam.read("TT-202", 0, [10.0, *readings])

    steam.watch(2)

    (alert,) = steam.alerts("TT-202")
    assert (alert.topic.type, alert.topic.subject, alert.severity) == (AlertType.LIMIT, kind, severity)
    assert alert.evidence.limit is not None
    assert alert.evidence.value == readings[0]


def test_a_value_outside_the_instruments_range_is_no_limit(steam):
    """An instrument in fault does not measure the process, whatever the value is."""
    steam.read("TT-202", 0, [10.0, 300.0, 300.0, 10.0])

    steam.watch_each(1, 4)

    assert limit_alerts(steam) == {}
    assert [alert.topic.subject for alert in steam.alerts("TT-202")] == ["out of range"]


def test_an_instrument_that_fails_beyond_a_limit_does_not_end_the_limit_alert(steam):
    """What the process does is not known until the instrument measures again."""
    steam.read("TT-202", 0, [10.0, 120.0, 300.0, 300.0, 300.0, 300.0])
    steam.read("TT-202", 6, [120.0] * 2, quality=1)
    steam.read("TT-202", 8, [10.0] * 3)

    steam.watch_each(1, 11)

    assert limit_alerts(steam) == {"high_high": [("opened", 1), ("returned", 9)]}


def test_a_reading_of_bad_quality_is_no_limit(steam):
    steam.read("TT-202", 0, [120.0] * 5, quality=1)

    steam.watch_each(1, 5)

    assert limit_alerts(steam) == {}


def test_a_forecast_of_a_limit_ends_without_a_message_when_the_limit_is_reached(steam, monkeypatch):
    """To report it as returned to normal would be wrong: the limit alert reports it from now on."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    steam.read("TT-202", 0, [*noisy_values(20, seed=1), *(noisy_values(20, seed=2) + 110)])
    steam.forecast("TT-202", 5, [80.0, 110.0])
    steam.watch_each(5, 19)
    assert [alert.topic.type for alert in steam.alerts("TT-202", alive=True)] == [AlertType.FORECAST_WARNING]
    before = len(waiting_messages(steam.workspace))

    steam.watch_each(20, 40)

    warning, limit = steam.alerts("TT-202")
    assert (warning.state, steam.alert_history(warning)[-1]) == (AlertState.CLOSED, ("closed", 20))
    assert limit.topic.type is AlertType.LIMIT
    opened_and_escalated = [change for change, _ in steam.alert_history(limit)]
    assert len(waiting_messages(steam.workspace)) - before == len(opened_and_escalated)


def test_a_forecast_from_a_reading_beyond_the_limit_warns_of_nothing(steam):
    steam.read("TT-202", 0, [120.0])
    steam.forecast("TT-202", 0, [130.0, 140.0])

    steam.watch(1)

    assert [alert.topic.type for alert in steam.alerts("TT-202")] == [AlertType.LIMIT]


def test_a_limit_has_own_delays_and_dead_band_by_kind_sensor_and_platform(steam):
    steam.write_rules(
        limit_alerts={"on_delay": "PT3M", "kinds": {"high_high": {"off_delay": "PT4M", "deadband": 20}}},
        exceptions={"platforms": {"P-51": {"limit_alerts": {"enabled": False}}}},
    )
    steam.describe({"TT-202": STEAM, "TT-303": STEAM | {"platform": "P-51"}})
    for name in ("TT-202", "TT-303"):
        steam.read(name, 0, [10.0, 96.0, 96.0, 10.0, 96.0, 96.0, 96.0, 96.0, 80.0, 80.0] + [10.0] * 10)

    steam.watch_each(1, 20)

    assert limit_alerts(steam)["high_high"] == [("opened", 7), ("returned", 14)]
    assert limit_alerts(steam, "TT-303") == {}


def test_one_watch_gives_the_same_limit_alerts_as_a_watch_each_minute(steam):
    values = [*noisy_values(30, seed=1), *(noisy_values(40, seed=2) * 9), *noisy_values(30, seed=3)]
    steam.describe({"TT-202": STEAM | {"max_rate": 12}})
    steam.read("TT-202", 0, values)

    steam.watch(100)
    once = {alert.topic: (alert.evidence, steam.alert_history(alert)) for alert in steam.alerts("TT-202")}
    with steam.workspace.engine.begin() as connection:
        for table in ("alerts", "alert_changes", "alert_watches"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    steam.watch_each(0, 100)

    again = {alert.topic: (alert.evidence, steam.alert_history(alert)) for alert in steam.alerts("TT-202")}
    assert {topic.subject for topic in once} >= {"high", "high_high", "rate_of_change"}
    assert again == once


# The contract of the judgement, for all five kinds.

SENSOR = Sensor(
    id="PT-1", low=-100, critical_low=-80, warning_low=-50, warning_high=50, critical_high=80, high=100,
    max_rate=20,
)  # fmt: skip
RULES = LimitRules(on_delay=2 * MINUTE, off_delay=3 * MINUTE, deadband=5)
DEFAULT_RULES = SensorRules(
    RULES, AnomalyRules(), ForecastRules(), DriftRules(), InstrumentRules(), LifeRules()
)
walks = st.lists(st.floats(-99, 99), min_size=1, max_size=60)
kinds = st.sampled_from(list(LimitKind))


def judge(values, kind, rules=RULES):
    """The measurements, and the changes of the alert of one kind as (change, minute)."""
    readings = [Reading(NOON + minute * MINUTE, value, good=True) for minute, value in enumerate(values)]
    measurements = measure(readings, RecentValues(), SENSOR)
    conditions = limit_conditions(measurements, SENSOR, rules)[kind]
    timing = replace(DEFAULT_RULES, limit=rules).timing(AlertType.LIMIT, MINUTE, kind.value)
    topic = AlertTopic(AlertType.LIMIT, "PT-1", kind.value)
    result = advance(topic, PendingAlert(), None, conditions, timing, now=readings[-1].at)
    changes = [
        (event.change.value, (event.at - NOON) / MINUTE)
        for transition in result.transitions
        for event in transition.events
        if event.change.value in {"opened", "repeated", "returned"}
    ]
    return measurements, conditions, changes


@given(walks, kinds)
def test_an_alert_opens_and_returns_in_turn(values, kind):
    _, _, changes = judge(values, kind)

    assert all(
        (change in {"opened", "repeated"}) is (number % 2 == 0) for number, (change, _) in enumerate(changes)
    )
    times = [at for _, at in changes]
    assert times == sorted(times)


@given(walks, kinds)
def test_an_alert_needs_the_on_delay_and_its_return_the_off_delay(values, kind):
    """No alert begins within the on-delay, and no two changes are nearer than their delays: no chatter."""
    _, conditions, changes = judge(values, kind)

    first_met = {(condition.at - NOON) / MINUTE for condition in conditions if condition.met_severity}
    for change, at in changes:
        if change != "returned":
            assert at - 2 in first_met
    for (first, began), (_, ended) in pairwise(changes):
        assert ended - began >= (3 if first != "returned" else 0)


@given(walks, kinds)
def test_an_alert_is_raised_by_its_own_severity_only(values, kind):
    _, conditions, _ = judge(values, kind)

    assert {condition.met_severity for condition in conditions} <= {0, SEVERITY_OF_LIMIT[kind]}


@given(kinds.filter(lambda kind: kind is not LimitKind.RATE_OF_CHANGE), st.integers(5, 40), st.data())
def test_a_signal_within_the_dead_band_of_its_limit_raises_one_alert(kind, count, data):
    """It moves over the limit and back by less than the dead band: one alert that stays open."""
    limit = {LimitKind.HIGH_HIGH: 80, LimitKind.HIGH: 50, LimitKind.LOW: -50, LimitKind.LOW_LOW: -80}[kind]
    outwards = 1 if limit > 0 else -1
    offsets = data.draw(st.lists(st.floats(-4.9, 4.9), min_size=count, max_size=count))

    _, _, changes = judge(
        [limit + outwards * offset for offset in (1.0, *offsets)],
        kind,
        LimitRules(deadband=5, off_delay=MINUTE),
    )

    assert changes == [("opened", 0)]


def test_without_delays_an_alert_opens_and_returns_with_the_reading():
    immediate = LimitRules(on_delay=timedelta(0), off_delay=timedelta(0))

    _, _, changes = judge([0.0, 90.0, 0.0, 90.0], LimitKind.HIGH_HIGH, immediate)

    assert changes == [("opened", 1), ("returned", 2), ("repeated", 3)]
