"""`safeplan alerts`: arguments, output, exit codes."""

import json
import sys

import pytest

import safeplan
from monitoring.watch.operator_actions import acknowledge
from tests.support.monitored_fleet import minutes_after_noon, noisy_values


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run a command in this process; code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["safeplan", "alerts", *arguments])
        try:
            safeplan.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def raised_alert(monitored_fleet):
    """PT-1 is anomalous from noon on."""
    for name in ("PT-1", "PT-2", "TT-1"):
        monitored_fleet.read(name, 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-1", 0, [0.7] * 60)
    return monitored_fleet


def listed(cli, *arguments):
    return json.loads(cli("list", "--json", *arguments)[1])["alerts"]


def test_watch_turns_scores_into_alerts_that_are_listed(raised_alert, cli):
    code, out, _ = cli("watch", "--as-of", "2026-03-01T13:00", "--json")

    (alert,) = listed(cli)
    assert code == 0
    assert {row["sensor_id"]: row["metrics"]["opened"] for row in json.loads(out)["sensors"]} == {
        "PT-1": 1,
        "PT-2": 0,
        "TT-1": 0,
    }
    assert (alert["sensor_id"], alert["severity"], alert["opened_at"]) == ("PT-1", 2, "2026-03-01T12:05:00Z")
    assert "PT-1" in cli()[1]
    assert listed(cli, "TT-*") == []


def test_an_alert_is_acknowledged_shelved_unshelved_and_judged(raised_alert, cli):
    raised_alert.watch(60)

    assert cli("ack", "1", "--by", "Ana")[0] == 0
    assert cli("shelve", "1", "--for", "2h", "--by", "Ana")[0] == 0
    assert cli("unshelve", "1", "--by", "Ana")[0] == 0
    assert cli("verdict", "1", "confirm", "--note", "cable cut", "--by", "Rui")[0] == 0

    result = json.loads(cli("show", "1", "--json")[1])
    assert result["alert"]["verdict"] == "confirm"
    assert [(change["change"], change["by"]) for change in result["changes"]] == [
        ("opened", None),
        ("acknowledged", "Ana"),
        ("shelved", "Ana"),
        ("unshelved", "Ana"),
        ("judged", "Rui"),
    ]
    assert "cable cut" in cli("show", "1")[1]
    assert raised_alert.workspace.labels.of("PT-1")[0].anomalous


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ack", "7"), "There is no alert 7"),
        (("verdict", "1", "perhaps"), "'perhaps' is not a verdict; use one of confirm, false, maintenance"),
        (("shelve", "1", "--for", "soon"), "'soon' is not a duration"),
        (("shelve", "1", "--for", "30d"), "cannot be shelved until"),
        (("maintenance", "--sensor", "PT-1"), "needs an end: --until"),
        (("maintenance", "--platform", "P-99", "--until", "2027-01-01"), "No sensor is on platform 'P-99'"),
        (("maintenance", "--cancel", "3"), "There is no maintenance window 3"),
        (("list", "XX-*"), "XX-"),
    ],
)
def test_an_invalid_command_exits_with_2_and_a_message(raised_alert, cli, arguments, message):
    raised_alert.watch(60)

    code, _, err = cli(*arguments)

    assert code == 2
    assert message in err


def test_maintenance_is_added_listed_and_cancelled(raised_alert, cli):
    period = ("--from", "2026-03-01T11:00", "--until", "2026-03-01T14:00")
    assert cli("maintenance", "--platform", "P-48", *period, "--reason", "new valve")[0] == 0
    raised_alert.watch(60)

    assert "new valve" in cli("maintenance")[1]
    assert listed(cli) == []
    result = json.loads(cli("maintenance", "--cancel", "1", "--json")[1])
    assert result["maintenance"] == []


def test_deliver_reports_each_channel(raised_alert, cli, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_CHANNEL_ROOM", "json://127.0.0.1:1/")
    monkeypatch.setenv("SAFEPLAN_DELIVERY_GIVE_UP_AFTER", "P9999D")
    raised_alert.watch(60)

    code, out, _ = cli("deliver", "--json")

    (channel,) = json.loads(out)["channels"]
    assert code == 1
    assert (channel["channel"], channel["failed"]) == ("room", 1)
    assert channel["error"] == "the channel could not be reached"


def test_closed_alerts_are_listed_with_all(raised_alert, cli):
    raised_alert.watch(60)
    acknowledge(raised_alert.workspace, 1, by="Ana", now=minutes_after_noon(61))
    raised_alert.read("PT-1", 60, noisy_values(300, seed=7))
    raised_alert.score("PT-1", 60, [0.1] * 300)
    raised_alert.watch(360)

    assert [a["id"] for a in listed(cli, "--all") if a["sensor_id"] == "PT-1"] == [1]
    assert [a["id"] for a in listed(cli) if a["sensor_id"] == "PT-1"] == []
    assert minutes_after_noon(0).isoformat() in listed(cli, "--all", "PT-1")[0]["began_at"]


def test_reasons_are_in_the_language_and_the_time_zone_of_the_site(monitored_fleet, cli, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_LANGUAGE", "pt")
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "America/Sao_Paulo")
    monitored_fleet.read("PT-1", 0, noisy_values(10, seed=7))
    monitored_fleet.watch(30, "PT-1")

    assert "sem dados desde 01/03/2026 09:09; normalmente uma leitura a cada 1 min" in cli("list")[1]
    assert listed(cli)[0]["reasons"] == [
        {"code": "instrument_no_data", "time": "2026-03-01T12:09:00", "step": 60.0}
    ]
