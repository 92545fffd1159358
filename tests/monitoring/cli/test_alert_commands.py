"""`safeplan alerts`: what people type, and what they get for it."""

import json
import sys

import pytest

import safeplan
from monitoring.watch.operator_actions import acknowledge
from tests.watched import moment, wander


@pytest.fixture
def door(monkeypatch, capsys):
    """Run a command in this process; code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["safeplan", "alerts", *arguments])
        try:
            safeplan.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def raised(watched):
    """PT-1 is odd from noon on."""
    for name in ("PT-1", "PT-2", "TT-1"):
        watched.read(name, 0, wander(60, seed=7))
    watched.score("PT-1", 0, [0.7] * 60)
    return watched


def listed(door, *arguments):
    return json.loads(door("list", "--json", *arguments)[1])["alerts"]


def test_watching_turns_scores_into_alerts_which_are_then_listed(raised, door):
    code, out, _ = door("watch", "--as-of", "2026-03-01T13:00", "--json")

    (alert,) = listed(door)
    assert code == 0
    assert {one["sensor_id"]: one["metrics"]["opened"] for one in json.loads(out)["sensors"]} == {
        "PT-1": 1,
        "PT-2": 0,
        "TT-1": 0,
    }
    assert (alert["sensor_id"], alert["severity"], alert["opened_at"]) == ("PT-1", 2, "2026-03-01T12:05:00Z")
    assert "PT-1" in door()[1]
    assert listed(door, "TT-*") == []


def test_an_alert_is_acknowledged_shelved_taken_off_and_judged(raised, door):
    raised.watch(60)

    assert door("ack", "1", "--by", "Ana")[0] == 0
    assert door("shelve", "1", "--for", "2h", "--by", "Ana")[0] == 0
    assert door("unshelve", "1", "--by", "Ana")[0] == 0
    assert door("verdict", "1", "confirm", "--note", "cable cut", "--by", "Rui")[0] == 0

    found = json.loads(door("show", "1", "--json")[1])
    assert found["alert"]["verdict"] == "confirm"
    assert [(change["change"], change["by"]) for change in found["changes"]] == [
        ("opened", None),
        ("acknowledged", "Ana"),
        ("shelved", "Ana"),
        ("unshelved", "Ana"),
        ("judged", "Rui"),
    ]
    assert "cable cut" in door("show", "1")[1]
    assert raised.workspace.labels.of("PT-1")[0].anomalous


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ack", "7"), "There is no alert 7"),
        (("verdict", "1", "perhaps"), "'perhaps' is no verdict; say confirm, false, maintenance"),
        (("shelve", "1", "--for", "soon"), "'soon' is no length of time"),
        (("shelve", "1", "--for", "30d"), "cannot be shelved until"),
        (("maintenance", "--sensor", "PT-1"), "say when: --until"),
        (("maintenance", "--platform", "P-99", "--until", "2027-01-01"), "No sensor is on platform 'P-99'"),
        (("maintenance", "--cancel", "3"), "There is no maintenance 3"),
        (("list", "XX-*"), "XX-"),
    ],
)
def test_what_cannot_be_meant_ends_in_2_with_a_sentence(raised, door, arguments, says):
    raised.watch(60)

    code, _, err = door(*arguments)

    assert code == 2
    assert says in err


def test_maintenance_is_planned_listed_and_cancelled(raised, door):
    when = ("--from", "2026-03-01T11:00", "--until", "2026-03-01T14:00")
    assert door("maintenance", "--platform", "P-48", *when, "--reason", "new valve")[0] == 0
    raised.watch(60)

    assert "new valve" in door("maintenance")[1]
    assert listed(door) == []
    found = json.loads(door("maintenance", "--cancel", "1", "--json")[1])
    assert found["maintenance"] == []


def test_delivery_says_how_each_channel_fared(raised, door, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    monkeypatch.setenv("SAFEPLAN_DELIVERY_GIVE_UP_AFTER", "P9999D")
    raised.watch(60)

    code, out, _ = door("deliver", "--json")

    (channel,) = json.loads(out)["channels"]
    assert code == 1
    assert (channel["channel"], channel["failed"], channel["error"]) == ("room", 1, "it could not be reached")


def test_alerts_of_the_past_are_listed_too(raised, door):
    raised.watch(60)
    acknowledge(raised.workspace, 1, by="Ana", now=moment(61))
    raised.read("PT-1", 60, wander(300, seed=7))
    raised.score("PT-1", 60, [0.1] * 300)
    raised.watch(360)

    assert [a["id"] for a in listed(door, "--all") if a["sensor_id"] == "PT-1"] == [1]
    assert [a["id"] for a in listed(door) if a["sensor_id"] == "PT-1"] == []
    assert moment(0).isoformat() in listed(door, "--all", "PT-1")[0]["began_at"]
