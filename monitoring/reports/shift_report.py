"""Shift report: one page for the hand-over, as HTML (prints to PDF) or as an Excel workbook.

Texts are in the reader's language. Names and notes are escaped: neither HTML nor formulas in them run.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import (
    SEVERITY_SYMBOLS,
    AlertState,
    AlertType,
    alert_count_text,
    severity_name,
    state_name,
    verdict_name,
)
from monitoring.alerts.store import FLOOD_SUBJECT
from monitoring.i18n.translation import Translator
from monitoring.notify.message import alert_name
from monitoring.reports.limit_risks import LimitRisk, find_risks
from monitoring.watch.operator_actions import list_alerts
from training.data.sensors import Fleet
from training.errors import ConfigurationError, write_errors
from training.registry.audit import ALIAS_MOVES, PROMOTED, ROLLED_BACK, AuditEntry, entries
from training.workspace import Workspace

MAX_COLUMN_WIDTH = 60  # characters, of a column in the sheet
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets run cells that start so
CSS = """
@page { size: A4 landscape; margin: 12mm }
body { font: 12px/1.4 sans-serif; color: #111; margin: 2em auto; max-width: 1200px }
h1 { font-size: 19px; margin: 0 } h2 { font-size: 14px; margin: 1.6em 0 .4em; break-after: avoid }
p { color: #555; margin: .3em 0 0 } table { border-collapse: collapse; width: 100% }
th { text-align: left; border-bottom: 2px solid #333; white-space: nowrap }
thead { display: table-header-group } td { border-bottom: 1px solid #ccc; vertical-align: top }
th, td { padding: 4px 10px 4px 0; overflow-wrap: break-word } td:last-child { min-width: 24em }
td:nth-child(-n+4) { white-space: nowrap } tr:nth-child(even) td { background: #f6f6f6 }
tr { break-inside: avoid } @media print { body { margin: 0; max-width: none; font-size: 10px } }
"""


@dataclass(frozen=True)
class ReportSection:
    """One table of the report."""

    title: str
    empty: str  # shown instead of a table without rows
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class ShiftReport:
    """The report in one language."""

    title: str
    summary: str
    language: str
    sections: Sequence[ReportSection]


def build_shift_report(
    workspace: Workspace, *, start: datetime, end: datetime, words: Translator
) -> ShiftReport:
    """The report of the shift from `start` until `end` (naive UTC)."""
    _, fleet = words, workspace.fleet
    alerts = list_alerts(workspace, alive=None, start=start, end=end)
    instrument_alerts = [
        a for a in alerts if a.topic.type is AlertType.INSTRUMENT and a.topic.subject != FLOOD_SUBJECT
    ]
    process_alerts = [a for a in alerts if a not in instrument_alerts]
    open_instrument_alerts = [a for a in instrument_alerts if a.state is not AlertState.CLOSED]
    risks = find_risks(workspace, list(fleet.values()), start=end, end=end + (end - start))
    return ShiftReport(
        title=_("Shift report {start} to {end}", start=_.moment(start), end=_.moment(end)),
        summary=_summary_text(_, alerts),
        language=_.language,
        sections=(
            _alerts_section(_, fleet, _("Alerts and verdicts"), _("No alerts."), process_alerts),
            _risks_section(_, risks),
            _alerts_section(
                _, fleet, _("Instruments in fault"), _("No instrument is in fault."), open_instrument_alerts
            ),
            _model_changes_section(_, _load_model_changes(workspace, start, end)),
        ),
    )


def _summary_text(_: Translator, alerts: Sequence[Alert]) -> str:
    """The summary line."""
    alive = [alert for alert in alerts if alert.state is AlertState.OPEN]
    unseen = sum(alert.acknowledged_at is None for alert in alive)
    open_text, unseen_text = (
        _("{count} still open", count=len(alive)),
        _("{count} seen by nobody yet", count=unseen),
    )
    return f"{alert_count_text(_, len(alerts))} · {open_text} · {unseen_text}"


def render_html(report: ShiftReport) -> str:
    """One HTML page without external resources."""
    parts = [
        f"<!doctype html><html lang='{report.language}'><head><meta charset='utf-8'>",
        f"<title>{html.escape(report.title)}</title><style>{CSS}</style></head><body>",
        f"<h1>{html.escape(report.title)}</h1><p>{html.escape(report.summary)}</p>",
    ]
    for section in report.sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if not section.rows:
            parts.append(f"<p>{html.escape(section.empty)}</p>")
            continue
        head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in section.columns)
        lines = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in section.rows
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>")
    return "".join([*parts, "</body></html>\n"])


def write_excel(report: ShiftReport, path: Path) -> None:
    """An Excel workbook with one sheet per table."""
    book = Workbook()
    book.remove(book.active)
    for section in report.sections:
        sheet = book.create_sheet(section.title[:31])
        for row in (section.columns, *section.rows):
            sheet.append([_escape_formula(cell) for cell in row])
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        for index, name in enumerate(section.columns):
            widest = max(len(text) for text in (name, *(row[index] for row in section.rows)))
            sheet.column_dimensions[get_column_letter(index + 1)].width = min(widest + 2, MAX_COLUMN_WIDTH)
        for row in sheet.iter_rows():
            for cell in row:
                cell.alignment = Alignment(vertical="top", wrap_text=True)
        sheet.freeze_panes = "A2"
        sheet.page_setup.orientation, sheet.page_setup.fitToHeight = "landscape", 0
        sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    book.save(path)


def write_report(report: ShiftReport, path: Path) -> None:
    """Write the report in the format of the file's suffix.

    Raises:
        ConfigurationError: the suffix is neither .html nor .xlsx.
        UnwritableFile: the file cannot be written.
    """
    with write_errors("The report", path):
        if path.suffix == ".xlsx":
            write_excel(report, path)
        elif path.suffix == ".html":
            path.write_text(render_html(report), encoding="utf-8")
        else:
            raise ConfigurationError(f"{path.name} is neither .html nor .xlsx; choose one of them.")


def _escape_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> _escape_formula("=1+1"), _escape_formula("PT-1")
    ("'=1+1", 'PT-1')
    """
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text


def _alerts_section(
    _: Translator, fleet: Fleet, title: str, empty: str, alerts: Sequence[Alert]
) -> ReportSection:
    columns = (_("Severity"), _("Type"), _("Sensor"), _("Since"), _("State"), _("Verdict"), _("By"), _("Why"))
    rows = [
        (
            f"{SEVERITY_SYMBOLS[alert.severity]} {severity_name(_, alert.severity)}",
            alert_name(_, alert),
            _sensor_title(fleet, alert.topic.sensor_id),
            _.moment(alert.began_at),
            state_name(_, alert.state),
            verdict_name(_, alert.verdict) if alert.verdict else "",
            alert.verdict_by or alert.acknowledged_by or "",
            " · ".join(filter(None, (_reason_text(_, fleet, alert), alert.note))),
        )
        for alert in alerts
    ]
    return ReportSection(title, empty, columns, rows)


def _reason_text(_: Translator, fleet: Fleet, alert: Alert) -> str:
    sensor = fleet.get(alert.topic.sensor_id)
    return _.reason_text(alert.evidence.reasons, alert.evidence.reason, unit=sensor.unit if sensor else None)


def _sensor_title(fleet: Fleet, sensor_id: str) -> str:
    """A sensor's id and name."""
    sensor = fleet.get(sensor_id)
    return " ".join(filter(None, (sensor_id, sensor.name if sensor else "")))


def _load_model_changes(workspace: Workspace, start: datetime, end: datetime) -> list[AuditEntry]:
    """Changes of champions, oldest first."""
    all_entries = entries(workspace.engine, since=start)
    return [entry for entry in reversed(all_entries) if entry.action in ALIAS_MOVES and entry.at < end]


def _model_changes_section(_: Translator, entries: Sequence[AuditEntry]) -> ReportSection:
    columns = (_("Time"), _("Model"), _("Change"), _("Version"), _("Before"), _("By"), _("Why"))
    change_names = {PROMOTED: _("promoted"), ROLLED_BACK: _("rolled back")}
    rows = [
        (
            _.moment(entry.at),
            entry.subject,
            change_names.get(entry.action, _("withdrawn")),
            "" if entry.version is None else str(entry.version),
            str(entry.detail.get("before") or ""),
            entry.who,
            _.reason_text(entry.detail.get("gate_reasons"), str(entry.detail.get("gate") or "")),
        )
        for entry in entries
    ]
    return ReportSection(_("Model changes"), _("No model has changed."), columns, rows)


def _risks_section(_: Translator, risks: Sequence[LimitRisk]) -> ReportSection:
    columns = (
        _("Sensor"),
        _("Limit"),
        _("Newest reading"),
        _("Reached at"),
        _("Probability"),
        _("Forecast from"),
    )
    rows = [
        (
            " ".join(filter(None, (risk.sensor.id, risk.sensor.name))),
            _value_text(_, risk.limit, risk.sensor.unit),
            "" if risk.value is None else _value_text(_, risk.value, risk.sensor.unit),
            _.moment(risk.at),
            _.percent(risk.probability),
            _.moment(risk.forecast_at),
        )
        for risk in risks
    ]
    return ReportSection(_("At risk in the next shift"), _("No critical limit is at risk."), columns, rows)


def _value_text(_: Translator, value: float, unit: str) -> str:
    return f"{_.number(value)} {unit}".strip()
