"""Shift report: its tables, languages and formats; names and notes are escaped."""

import sys

import openpyxl
import pytest

import safeplan
from monitoring.alerts.kinds import AlertVerdict
from monitoring.i18n.translation import Translator
from monitoring.reports.limit_risks import find_risks
from monitoring.reports.shift_report import build_shift_report, render_html, write_report
from monitoring.watch.operator_actions import set_verdict
from tests.support.monitored_fleet import minutes_after_noon, noisy_values
from training.errors import ConfigurationError
from training.registry.audit import PROMOTED, ROLLED_BACK, AuditEntry, record_entry


@pytest.fixture
def shift_fleet(monitored_fleet):
    """A confirmed anomaly, a limit at risk, an instrument without data; one note is an attack."""
    monitored_fleet.read("PT-1", 0, noisy_values(60, seed=7))
    monitored_fleet.read("PT-2", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-2", 0, [0.9] * 60)
    monitored_fleet.forecast("PT-1", 30, [40.0])
    monitored_fleet.watch(60)
    (alert,) = monitored_fleet.alerts("PT-2")
    set_verdict(
        monitored_fleet.workspace,
        alert.id,
        AlertVerdict.CONFIRM,
        by="=cmd()",
        now=minutes_after_noon(60),
        note="<script>x</script>",
    )
    return monitored_fleet


def page(shift, language="en"):
    return build_shift_report(
        shift.workspace, start=minutes_after_noon(-60), end=minutes_after_noon(61), words=Translator(language)
    )


def test_alerts_risks_and_instruments_have_a_table_each(shift_fleet):
    alerts, ahead, instruments, _ = page(shift_fleet).sections

    assert [row[:3] for row in alerts.rows] == [
        ("◆ critical", "Forecast warning", "PT-1"),
        ("▲ danger", "Anomaly", "PT-2"),
    ]
    assert alerts.rows[1][5] == "confirmed anomaly"
    assert [row[:2] for row in ahead.rows] == [("PT-1", "30 bar")]
    assert ahead.rows[0][3:5] == ("2026-03-01 13:30", "100 %")
    assert [row[1:3] for row in instruments.rows] == [("Instrument (no data)", "TT-1")]


def test_risks_are_of_the_next_shift_by_the_newest_forecast(monitored_fleet):
    """The limit is 30 and the interval one unit to each side, so 29 crosses it with 1 in 40."""
    monitored_fleet.forecast("PT-1", 0, [40.0] * 3)
    monitored_fleet.forecast("PT-1", 60, [20.0, 29.4, 29.0, 40.0])

    (risk,) = find_risks(
        monitored_fleet.workspace,
        monitored_fleet.workspace.fleet.match(()),
        start=minutes_after_noon(61),
        end=minutes_after_noon(61 + 180),
    )

    assert (risk.sensor.id, risk.limit, risk.at) == ("PT-1", 30, minutes_after_noon(60 + 120))
    assert 0.1 < risk.probability < 0.15
    assert risk.forecast_at == minutes_after_noon(60)


def test_model_changes_of_the_shift_are_listed(shift_fleet):
    for minutes, action, version in (
        (-90, PROMOTED, 1),
        (10, PROMOTED, 2),
        (20, ROLLED_BACK, 1),
        (70, PROMOTED, 3),
    ):
        detail = {"before": version - 1, "gate": "passed: finds 90 %"}
        entry = AuditEntry(
            minutes_after_noon(minutes), "Ana", action, "PT-1", "pt-1-detector", version, detail
        )
        record_entry(shift_fleet.workspace.engine, entry)

    changes = page(shift_fleet).sections[-1]

    assert [row[2:4] for row in changes.rows] == [("promoted", "2"), ("rolled back", "1")]
    assert "Alterações de modelos" in render_html(page(shift_fleet, "pt"))
    assert "revertido" in render_html(page(shift_fleet, "pt"))


def test_the_page_is_available_in_portuguese(shift_fleet):
    reported = render_html(page(shift_fleet, "pt"))

    assert "Relatório de turno, 01/03/2026 11:00 a " in reported
    assert "Em risco no próximo turno" in reported
    assert "sem dados desde" in reported
    assert "anomalia confirmada" in reported


@pytest.mark.attack("a script and a formula in a name and a note of the shift report", "shown as letters")
def test_names_and_notes_are_shown_and_not_run(shift_fleet, tmp_path):
    reported = render_html(page(shift_fleet))
    write_report(page(shift_fleet), tmp_path / "shift.xlsx")

    assert "<script>" not in reported
    assert "&lt;script&gt;" in reported
    sheets = openpyxl.load_workbook(tmp_path / "shift.xlsx")
    cells = [cell for sheet in sheets for row in sheet.iter_rows() for cell in row]
    assert all(cell.data_type != "f" for cell in cells)
    assert "'=cmd()" in [cell.value for cell in cells]


def test_a_shift_without_alerts_has_no_tables(monitored_fleet):
    reported = render_html(page(monitored_fleet))

    assert "No alerts." in reported
    assert "<table>" not in reported


def test_the_command_writes_the_format_of_the_suffix(shift_fleet, tmp_path, monkeypatch):
    line = ["safeplan", "alerts", "report", str(tmp_path / "shift.html"), "--as-of", "2026-03-01T13:01"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as end:
        safeplan.main()

    assert not end.value.code
    assert "PT-2" in (tmp_path / "shift.html").read_text()
    with pytest.raises(ConfigurationError, match=r"shift\.pdf is neither"):
        write_report(page(shift_fleet), tmp_path / "shift.pdf")


@pytest.mark.parametrize("name", ["shift.html", "shift.xlsx"])
def test_a_report_in_a_missing_folder_is_refused(shift_fleet, tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"cannot be written to .*nowhere.*No such file"):
        write_report(page(shift_fleet), tmp_path / "nowhere" / name)
