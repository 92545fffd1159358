"""Times on the command line are those of the site; the changes of the clocks are no silent hour."""

from zoneinfo import ZoneInfo

import pytest

from monitoring.alerts.maintenance import list_maintenance
from monitoring.cli.site_time import parse_site_time
from tests.monitoring.cli.test_alert_commands import cli  # noqa: F401 (fixture)
from tests.support.workspaces import parse_time

OSLO = ZoneInfo("Europe/Oslo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-01-30T23:00"),
        ("2026-01-31T06:00", "2026-01-31T05:00"),
        ("2026-07-31T06:00:30", "2026-07-31T04:00:30"),
        ("2026-01-31T06:00Z", "2026-01-31T06:00"),
        ("2026-01-31T06:00-03:00", "2026-01-31T09:00"),
    ],
)
def test_a_time_without_an_offset_is_of_the_site(text, expected):
    assert parse_site_time(text, OSLO) == parse_time(expected)


@pytest.mark.parametrize("text", ["2026-03-29T02:30", "2026-10-25T02:30"])
def test_a_time_that_the_clocks_skip_or_repeat_needs_an_offset(text):
    with pytest.raises(ValueError, match="clocks change; add an offset"):
        parse_site_time(text, OSLO)


def test_a_maintenance_window_is_typed_and_shown_by_the_wall_clock(monitored_fleet, cli, monkeypatch):  # noqa: F811
    monitored_fleet.write_rules(site={"zone": "America/Sao_Paulo", "language": "pt"})

    options = ("--from", "2026-02-01T08:00", "--until", "2026-02-01T12:00")
    code, out, _ = cli("maintenance", "--sensor", "PT-1", *options, "--reason", "selo")

    (window,) = list_maintenance(monitored_fleet.workspace)
    assert code == 0
    assert (window.start, window.end) == (parse_time("2026-02-01T11:00"), parse_time("2026-02-01T15:00"))
    assert "01/02/2026 08:00 -03:00" in out
    assert "Serviço" in out


def test_the_language_of_one_command_can_be_chosen(monitored_fleet, cli, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SAFEPLAN_LANG", "pt")

    assert "Nenhum alerta." in cli("list")[1]


def test_a_text_that_is_no_time_is_a_usage_error(monitored_fleet, cli):  # noqa: F811
    code, _, err = cli("list", "--since", "2026-13-01")

    assert code == 2
    assert "'2026-13-01' is not a time; use for example" in err
