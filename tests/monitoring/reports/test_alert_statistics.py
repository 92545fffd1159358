"""Alert statistics: counts and rates of a known period."""

import json

import pytest

from monitoring.alerts.kinds import AlertVerdict
from monitoring.cli.alert_commands import app
from monitoring.reports.alert_statistics import alert_statistics
from monitoring.watch.operator_actions import set_verdict
from tests.support.monitored_fleet import minutes_after_noon, noisy_values


@pytest.fixture
def busy_fleet(monitored_fleet):
    """PT-1 alerts four times within an hour, PT-2 once; TT-1 stops sending."""
    for name in ("PT-1", "PT-2"):
        monitored_fleet.read(name, 0, noisy_values(120, seed=7))
    monitored_fleet.score("PT-1", 0, (([0.7] * 7 + [0.1] * 8) * 8)[:60] + [0.1] * 60)
    monitored_fleet.score("PT-2", 0, [0.1] * 60 + [0.7] * 60)
    monitored_fleet.watch(120)
    return monitored_fleet


def test_counts_rates_and_the_sensors_with_most_alerts(busy_fleet):
    (alert,) = busy_fleet.alerts("PT-1")
    set_verdict(busy_fleet.workspace, alert.id, AlertVerdict.FALSE, by="Ana", now=minutes_after_noon(120))

    result = alert_statistics(busy_fleet.workspace, start=minutes_after_noon(0), end=minutes_after_noon(1440))

    assert (result.alerts, result.calls) == (3, 6)
    assert result.per_day == pytest.approx(6)
    assert result.changes == sum(len(busy_fleet.alert_history(alert)) for alert in busy_fleet.alerts())
    assert result.budget_per_day == 120
    assert [(one["sensor_id"], one["calls"]) for one in result.worst] == [
        ("PT-1", 4),
        ("TT-1", 1),
        ("PT-2", 1),
    ]
    assert (result.worst[0]["share"], result.worst[0]["false"]) == (pytest.approx(4 / 6), 1)
    assert result.chattering == (alert.id,)
    assert result.precision == (
        {"sensor_id": "PT-1", "version": "1", "confirmed": 0, "false": 1, "precision": 0.0},
    )


def test_an_alert_that_stays_open_for_more_than_a_day_is_stale(busy_fleet):
    result = alert_statistics(
        busy_fleet.workspace, start=minutes_after_noon(0), end=minutes_after_noon(3 * 1440)
    )

    assert set(result.stale) == {a.id for a in busy_fleet.alerts() if a.topic.sensor_id != "PT-1"}


def test_a_period_without_alerts_has_zero_counts(busy_fleet):
    result = alert_statistics(
        busy_fleet.workspace, start=minutes_after_noon(-1440), end=minutes_after_noon(0)
    )

    assert (result.alerts, result.per_day, result.worst, result.stale) == (0, 0, (), ())


def test_the_command_prints_the_same(busy_fleet, capsys):
    app(["stats", "--days", "1", "--as-of", "2026-03-02T12:00:00", "--json"], standalone_mode=False)

    assert json.loads(capsys.readouterr().out)["alerts"] == 3
