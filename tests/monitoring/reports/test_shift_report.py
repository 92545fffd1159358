"""Shift report: its tables, languages and formats; names and notes are escaped."""

import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import openpyxl
import pandas as pd
import pytest
from pypdf import PdfReader

import safeplan
from monitoring.alerts.kinds import AlertVerdict
from monitoring.alerts.maintenance import MaintenanceWindow, add_maintenance
from monitoring.i18n.translation import Translator
from monitoring.reports.alert_chart import AlertChart, load_chart
from monitoring.reports.limit_risks import find_risks
from monitoring.reports.report_files import write_report
from monitoring.reports.report_html import render_html
from monitoring.reports.shift_report import build_shift_report
from monitoring.watch.operator_actions import acknowledge, alert_history, set_verdict, shelve
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


def report(shift, language="en", zone="UTC"):
    return build_shift_report(
        shift.workspace,
        start=minutes_after_noon(-60),
        end=minutes_after_noon(61),
        author="Ana",
        words=Translator(language, zone),
    )


def table(shift, title, language="en"):
    """The rows of one table, as dictionaries by column."""
    (section,) = [s for s in report(shift, language).sections if s.title == title]
    return [dict(zip(section.columns, row, strict=True)) for row in section.rows]


def figures(shift):
    return {name: value for name, value, _ in report(shift).figures.rows}


def test_alerts_risks_and_instruments_have_a_table_each(shift_fleet):
    alerts = table(shift_fleet, "Alerts and verdicts")

    assert [(row["Severity"], row["Type"], row["Sensor"]) for row in alerts] == [
        ("◆ critical", "Forecast warning", "PT-1"),
        ("▲ danger", "Anomaly", "PT-2"),
    ]
    assert alerts[1]["Verdict"] == "confirmed anomaly"
    (risk,) = table(shift_fleet, "At risk in the next shift")
    assert (risk["Sensor"], risk["Limit"], risk["Unit"]) == ("PT-1", 30, "bar")
    assert (risk["Reached at"], risk["Probability"]) == (minutes_after_noon(90), "100 %")
    (instrument,) = table(shift_fleet, "Instruments in fault")
    assert (instrument["Type"], instrument["Sensor"]) == ("Instrument (no data)", "TT-1")


def test_the_header_names_period_zone_and_author(shift_fleet):
    shift = report(shift_fleet, "pt", "America/Sao_Paulo")

    assert dict(shift.header) == {
        "Período": "01/03/2026 08:00 a 01/03/2026 10:01",
        "Fuso horário": "America/Sao_Paulo (UTC-03:00)",
        "Autor": "Ana",
    }


def test_calls_count_what_made_an_operator_look(monitored_fleet):
    """A repeated alert is one line of the table and two calls."""
    monitored_fleet.read("PT-2", 0, noisy_values(60, seed=7))
    monitored_fleet.score("PT-2", 0, [0.7] * 10 + [0.0] * 15 + [0.7] * 10 + [0.0] * 25)
    monitored_fleet.watch_each(0, 60)
    (alert,) = monitored_fleet.alerts("PT-2")
    acknowledge(monitored_fleet.workspace, alert.id, by="Ana", now=minutes_after_noon(60))
    opened_again = max(
        e.at for e in alert_history(monitored_fleet.workspace, alert.id) if e.change == "repeated"
    )

    shown = figures(monitored_fleet)

    own_calls = 1 + alert.repeats
    others = [a for a in monitored_fleet.alerts() if a.id != alert.id]
    assert alert.repeats == 1
    assert shown["Calls"] == own_calls + len(others)
    assert shown["Calls per operator-hour"] == round((own_calls + len(others)) / (121 / 60), 2)
    assert shown["Median time to acknowledge"] == minutes_after_noon(60) - opened_again


def test_shelved_alerts_and_maintenance_are_listed(shift_fleet):
    (alert,) = shift_fleet.alerts("PT-2")
    until = minutes_after_noon(180)
    shelve(shift_fleet.workspace, alert.id, until, by="Ana", now=minutes_after_noon(60))
    work = MaintenanceWindow(minutes_after_noon(0), until, "pump seal", "Rui", platform="P-51")
    add_maintenance(shift_fleet.workspace, work, now=minutes_after_noon(0))

    (shelved,) = table(shift_fleet, "Shelved alerts")
    (planned,) = table(shift_fleet, "Maintenance")

    assert (shelved["Sensor"], shelved["Shelved until"], shelved["By"]) == ("PT-2", until, "Ana")
    assert (planned["Sensor or platform"], planned["Work"], planned["By"]) == ("P-51", "pump seal", "Rui")
    assert (figures(shift_fleet)["Shelved alerts"], figures(shift_fleet)["Maintenance windows"]) == (1, 1)


def test_each_process_alert_has_a_chart_of_its_readings(shift_fleet):
    first, second = report(shift_fleet).charts

    assert [first.title[-22:], second.title[-13:]] == ["PT-1: Forecast warning", "PT-2: Anomaly"]
    assert second.began_at == minutes_after_noon(0)
    assert second.readings["timestamp"].min() < minutes_after_noon(-20)
    assert second.svg().startswith("<svg")
    assert second.png().startswith(b"\x89PNG")


def test_a_chart_of_many_readings_keeps_every_extreme(monitored_fleet):
    values = np.zeros(12_000)
    values[7_001] = 99.0
    monitored_fleet.read("PT-2", -12_000, values)
    monitored_fleet.score("PT-2", 0, [0.9] * 60)
    monitored_fleet.watch(60)
    (alert,) = [a for a in monitored_fleet.alerts("PT-2") if a.topic.type == "ANOMALY"]

    began = minutes_after_noon(-12_000)
    alert = replace(alert, began_at=began)
    chart = load_chart(
        monitored_fleet.workspace, alert, start=began, end=minutes_after_noon(60), words=Translator()
    )

    assert len(chart.readings) <= 2_000
    assert chart.readings["value"].max() == 99.0


@pytest.mark.parametrize("minutes", [1, 5, 40, 120, 150, 165, 180, 240, 290, 320, 600, 2_000, 6_000, 130_000])
def test_a_chart_of_any_duration_has_an_axis_of_times(minutes):
    times = pd.date_range(minutes_after_noon(0), minutes_after_noon(minutes), 50)
    readings = pd.DataFrame({"timestamp": times, "value": np.arange(50.0)})
    began, ended = minutes_after_noon(0), minutes_after_noon(minutes)

    chart = AlertChart("PT-1", readings, began, ended, limits=(), unit="bar", words=Translator())

    assert chart.svg().startswith("<svg")


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

    changes = table(shift_fleet, "Model changes")

    assert [(row["Change"], row["Version"]) for row in changes] == [("promoted", 2), ("rolled back", 1)]
    assert "Alterações de modelos" in render_html(report(shift_fleet, "pt"))
    assert "revertido" in render_html(report(shift_fleet, "pt"))


def test_the_page_is_available_in_portuguese(shift_fleet):
    reported = render_html(report(shift_fleet, "pt"))

    assert "Relatório de turno" in reported
    assert "01/03/2026 11:00 a 01/03/2026 13:01" in reported
    assert "Em risco no próximo turno" in reported
    assert "sem dados desde" in reported
    assert "anomalia confirmada" in reported


@pytest.mark.attack("a script and a formula in a name and a note of the shift report", "shown as letters")
def test_names_and_notes_are_shown_and_not_run(shift_fleet, tmp_path):
    shift = report(shift_fleet)
    reported = render_html(shift)
    write_report(shift, tmp_path / "shift.xlsx")

    assert "<script>" not in reported
    assert "&lt;script&gt;" in reported
    sheets = openpyxl.load_workbook(tmp_path / "shift.xlsx")
    cells = [cell for sheet in sheets for row in sheet.iter_rows() for cell in row]
    assert all(cell.data_type != "f" for cell in cells)
    assert "'=cmd()" in [cell.value for cell in cells]


def test_times_and_durations_in_excel_are_values(shift_fleet, tmp_path):
    """Text can be neither sorted nor filtered by time."""
    write_report(report(shift_fleet, "pt", "America/Sao_Paulo"), tmp_path / "shift.xlsx")

    sheet = openpyxl.load_workbook(tmp_path / "shift.xlsx")["Alertas e vereditos"]
    since, duration = sheet["F3"], sheet["H3"]
    assert (since.value, since.number_format) == (minutes_after_noon(-180), "dd/mm/yyyy hh:mm")
    assert duration.value == timedelta(minutes=61)


def test_an_empty_sheet_states_that_it_is_empty(monitored_fleet, tmp_path):
    write_report(report(monitored_fleet), tmp_path / "shift.xlsx")

    assert (
        openpyxl.load_workbook(tmp_path / "shift.xlsx")["Shelved alerts"]["A2"].value
        == "No alert is shelved."
    )


def test_the_pdf_holds_every_alert(shift_fleet, tmp_path):
    write_report(report(shift_fleet, "pt"), tmp_path / "shift.pdf")

    content = (tmp_path / "shift.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    text = " ".join(page.extract_text() for page in PdfReader(tmp_path / "shift.pdf").pages)
    assert "Relatório de turno" in text
    assert "PT-2" in text
    assert "anomalia confirmada" in text


def test_a_shift_without_alerts_has_no_tables(monitored_fleet):
    reported = render_html(report(monitored_fleet))

    assert "No alerts." in reported
    assert reported.count("<table") == 2  # the key figures, and sensors that nothing monitors


def test_the_command_writes_the_format_of_the_suffix(shift_fleet, tmp_path, monkeypatch):
    line = ["safeplan", "alerts", "report", str(tmp_path / "shift.html"), "--as-of", "2026-03-01T13:01"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as end:
        safeplan.main()

    assert not end.value.code
    assert "PT-2" in (tmp_path / "shift.html").read_text()
    with pytest.raises(ConfigurationError, match=r"shift\.doc is not a report: .*\.html, \.pdf, \.xlsx"):
        write_report(report(shift_fleet), tmp_path / "shift.doc")


@pytest.mark.parametrize("name", ["shift.html", "shift.xlsx", "shift.pdf"])
def test_a_report_in_a_missing_folder_is_refused(shift_fleet, tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"cannot be written to .*nowhere.*No such file"):
        write_report(report(shift_fleet), tmp_path / "nowhere" / name)
