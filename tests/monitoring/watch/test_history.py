"""What is over when the watch learns of it is recorded and not notified; what lasts is notified once."""

import numpy as np
import pytest
from sqlalchemy import select

from tests.support.monitored_fleet import noisy_values
from training.storage.alert_tables import outbox
from training.storage.database import reading


@pytest.fixture
def fleet(monitored_fleet, monkeypatch):
    """One channel is notified; nothing has been watched yet."""
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    return monitored_fleet


def messages(fleet):
    """The change of each message, with the sensor."""
    with reading(fleet.workspace.engine) as connection:
        rows = connection.execute(select(outbox.c.message).order_by(outbox.c.id)).scalars()
        return [(row["sensor_id"], row["change"]) for row in rows]


def store(fleet, scores, *, start=0):
    """Readings and scores of PT-1; the others send readings only."""
    for name in ("PT-1", "PT-2", "TT-1"):
        fleet.read(name, start, noisy_values(len(scores), seed=7))
    fleet.score("PT-1", start, scores)


def test_a_first_start_is_silent_about_a_fault_that_ended_hours_ago(fleet):
    store(fleet, [0.1] * 60 + [0.7] * 60 + [0.1] * 600)

    fleet.watch(720)

    (alert,) = fleet.alerts("PT-1")
    assert fleet.alert_history(alert) == [("opened", 65), ("returned", 125)]
    assert not alert.notified
    assert messages(fleet) == []


def test_an_alert_that_is_still_active_after_a_catch_up_is_notified_once(fleet):
    fleet.write_rules(instrument_alerts={"enabled": False})
    store(fleet, [0.1] * 60 + [0.7] * 60 + [0.1] * 60 + [0.7] * 30 + [0.9] * 510)

    fleet.watch(720)
    fleet.watch(721)

    (alert,) = fleet.alerts("PT-1")
    assert [change for change, _ in fleet.alert_history(alert)] == [
        "opened", "returned", "repeated", "worsened",
    ]  # fmt: skip
    assert messages(fleet) == [("PT-1", "worsened")]


def test_the_return_of_an_alert_that_was_notified_is_notified_after_a_stop_too(fleet):
    store(fleet, [0.7] * 30 + [0.1] * 690)
    fleet.watch(20)

    fleet.watch(720)

    assert messages(fleet) == [("PT-1", "opened"), ("PT-1", "returned")]


def test_an_excursion_after_silent_history_is_notified(fleet):
    """The alert of the morning is not closed; its new excursion is a call."""
    store(fleet, [0.7] * 30 + [0.1] * 690)
    fleet.watch(720)
    store(fleet, [0.7] * 30 + [0.1] * 30, start=720)

    fleet.watch_each(721, 780, every=5)

    assert messages(fleet) == [("PT-1", "repeated"), ("PT-1", "returned")]


def test_what_ended_within_the_last_hour_is_notified(fleet):
    store(fleet, [0.1] * 60 + [0.7] * 20 + [0.1] * 40)

    fleet.watch(120)

    assert messages(fleet) == [("PT-1", "opened"), ("PT-1", "returned")]


def test_the_setting_decides_what_is_history(fleet):
    fleet.write_rules(life={"history_after": "PT12H"})
    store(fleet, [0.1] * 60 + [0.7] * 60 + [0.1] * 500)

    fleet.watch(620)

    assert messages(fleet) == [("PT-1", "opened"), ("PT-1", "returned")]


def test_history_is_no_alarm_flood(fleet):
    fleet.write_rules(budget={"flood_alerts": 2})
    for name in ("PT-1", "PT-2"):
        fleet.read(name, 0, noisy_values(600, seed=7))
        fleet.score(name, 0, [0.7] * 30 + [0.1] * 570)
    fleet.read("TT-1", 0, noisy_values(600, seed=7))

    fleet.watch(600)

    assert {alert.topic.subject for alert in fleet.alerts()} == {""}
    assert messages(fleet) == []


def test_the_first_scores_of_a_detector_are_evaluated_however_late_they_come(fleet):
    """Readings are watched for three days; then the detector scores all of them."""
    for name in ("PT-1", "PT-2", "TT-1"):
        fleet.read(name, 0, noisy_values(3 * 1440, seed=7))
    fleet.watch(0)
    scores = np.full(3 * 1440, 0.1)
    for day in range(3):
        scores[day * 1440 + 300 : day * 1440 + 330] = 0.7
    fleet.score("PT-1", 0, scores)

    fleet.watch(3 * 1440)

    opened = [
        at
        for alert in fleet.alerts("PT-1")
        for change, at in fleet.alert_history(alert)
        if change in {"opened", "repeated"}
    ]
    assert opened == [305, 1745, 3185]
    assert messages(fleet) == []


def test_a_first_watch_looks_back_one_day(fleet):
    fleet.read("PT-1", -3 * 1440, noisy_values(2 * 1440, seed=7))
    fleet.score("PT-1", -3 * 1440, [0.7] * 60 + [0.1] * (3 * 1440 - 60))

    fleet.watch(0, "PT-1")

    assert fleet.alerts("PT-1") == []
