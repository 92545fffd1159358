"""Statistics: what the control room is asked to look at, counted over a stretch that is known by heart."""

import json

import pytest

from monitoring.alerts.kinds import Judgement
from monitoring.cli.alert_commands import app
from monitoring.reports.alert_statistics import alert_statistics
from monitoring.watch.operator_actions import judge
from tests.watched import moment, wander


@pytest.fixture
def busy(watched):
    """PT-1 calls four times within an hour, PT-2 once; TT-1 stops speaking."""
    for name in ("PT-1", "PT-2"):
        watched.read(name, 0, wander(120, seed=7))
    watched.score("PT-1", 0, (([0.7] * 7 + [0.1] * 8) * 8)[:60] + [0.1] * 60)
    watched.score("PT-2", 0, [0.1] * 60 + [0.7] * 60)
    watched.watch(120)
    return watched


def test_calls_rates_and_the_worst_sensors(busy):
    (alert,) = busy.alerts("PT-1")
    judge(busy.workspace, alert.id, Judgement.FALSE, by="Ana", now=moment(120))

    found = alert_statistics(busy.workspace, start=moment(0), end=moment(1440))

    assert found.alerts == 3
    assert found.per_day == pytest.approx(3)
    assert found.budget_per_day == 120
    assert [(one["sensor_id"], one["calls"]) for one in found.worst] == [
        ("PT-1", 4),
        ("TT-1", 1),
        ("PT-2", 1),
    ]
    assert (found.worst[0]["share"], found.worst[0]["false"]) == (pytest.approx(4 / 6), 1)
    assert found.chattering == (alert.id,)
    assert found.precision == (
        {"sensor_id": "PT-1", "version": "1", "confirmed": 0, "false": 1, "precision": 0.0},
    )


def test_an_alert_that_stays_open_for_more_than_a_day_is_stale(busy):
    found = alert_statistics(busy.workspace, start=moment(0), end=moment(3 * 1440))

    assert set(found.stale) == {a.id for a in busy.alerts() if a.topic.sensor_id != "PT-1"}


def test_a_stretch_without_alerts_is_nothing_to_worry_about(busy):
    found = alert_statistics(busy.workspace, start=moment(-1440), end=moment(0))

    assert (found.alerts, found.per_day, found.worst, found.stale) == (0, 0, (), ())


def test_the_command_prints_the_same(busy, capsys):
    app(["stats", "--days", "1", "--as-of", "2026-03-02T12:00:00", "--json"], standalone_mode=False)

    assert json.loads(capsys.readouterr().out)["alerts"] == 3
