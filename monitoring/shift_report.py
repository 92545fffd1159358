"""The shift report: one page for the hand-over, as HTML that prints to a clean PDF and as an Excel sheet.

Knows what belongs on the page and how it is laid out, in the reader's language. Reads alerts and the audit;
what plants and people wrote is shown as it is, and never run: neither as HTML nor as a formula.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from openpyxl import Workbook
from openpyxl.styles import Font

from monitoring.alert import Alert
from monitoring.alert_kinds import AlertType, State, judgement_name, severity_name, state_name, type_name
from monitoring.alerts import list_alerts
from monitoring.translation import Words
from training.audit import MOVES, PROMOTED, ROLLED_BACK, Deed, deeds
from training.errors import ConfigurationError
from training.workspace import Workspace

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets run
STYLE = """
@page { size: A4 landscape; margin: 12mm }
body { font: 12px/1.4 sans-serif; color: #111; margin: 2em auto; max-width: 1200px }
h1 { font-size: 19px; margin: 0 } h2 { font-size: 14px; margin: 1.6em 0 .4em; break-after: avoid }
p { color: #555; margin: 0 } table { border-collapse: collapse; width: 100% }
th { text-align: left; border-bottom: 2px solid #333; white-space: nowrap }
thead { display: table-header-group } td { border-bottom: 1px solid #ccc; vertical-align: top }
th, td { padding: 4px 10px 4px 0; overflow-wrap: break-word } td:last-child { min-width: 24em }
td:nth-child(-n+4) { white-space: nowrap } tr:nth-child(even) td { background: #f6f6f6 }
tr { break-inside: avoid } @media print { body { margin: 0; max-width: none; font-size: 10px } }
"""


@dataclass(frozen=True)
class Section:
    """One table of the page."""

    title: str
    empty: str  # said in place of a table without rows
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """The page, in one language."""

    title: str
    language: str
    sections: Sequence[Section]


def shift_report(workspace: Workspace, *, start: datetime, end: datetime, words: Words) -> Report:
    """What the next shift must know of this one, from start until end (naive UTC)."""
    _ = words
    found = list_alerts(workspace, alive=None, start=start, end=end)
    process = [a for a in found if a.topic.type in {AlertType.ANOMALY, AlertType.DRIFT}]
    ahead = [a for a in found if a.topic.type is AlertType.FORECAST_WARNING and a.state is State.OPEN]
    faulty = [a for a in found if a.topic.type is AlertType.INSTRUMENT and a.state is not State.CLOSED]
    return Report(
        title=_("Shift report {start} to {end}", start=_.moment(start), end=_.moment(end)),
        language=_.language,
        sections=(
            _alerts(_, _("Alerts and verdicts"), _("No alerts."), process),
            _forecasts(_, ahead),
            _alerts(_, _("Instruments in fault"), _("No instrument is in fault."), faulty),
            _model_changes(_, _moves(workspace, start, end)),
        ),
    )


def as_html(report: Report) -> str:
    """One page without anything from elsewhere."""
    parts = [
        f"<!doctype html><html lang='{report.language}'><head><meta charset='utf-8'>",
        f"<title>{html.escape(report.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(report.title)}</h1>",
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


def write_excel(report: Report, path: Path) -> None:
    """A sheet a table."""
    book = Workbook()
    book.remove(book.active)
    for section in report.sections:
        sheet = book.create_sheet(section.title[:31])
        for row in (section.columns, *section.rows):
            sheet.append([_harmless(cell) for cell in row])
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        sheet.freeze_panes = "A2"
    book.save(path)


def write_report(report: Report, path: Path) -> None:
    """The page in the form that the file's name asks for.

    Raises:
        ConfigurationError: it asks for another than .html and .xlsx.
    """
    if path.suffix == ".xlsx":
        write_excel(report, path)
    elif path.suffix == ".html":
        path.write_text(as_html(report), encoding="utf-8")
    else:
        raise ConfigurationError(f"{path.name} is neither .html nor .xlsx; name the report one of both.")


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> _harmless("=1+1"), _harmless("PT-1")
    ("'=1+1", 'PT-1')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def _alerts(_: Words, title: str, empty: str, found: Sequence[Alert]) -> Section:
    columns = (_("Severity"), _("Type"), _("Sensor"), _("Since"), _("State"), _("Verdict"), _("By"), _("Why"))
    rows = [
        (
            severity_name(_, alert.severity),
            " ".join(filter(None, (type_name(_, alert.topic.type), alert.topic.subject))),
            alert.topic.sensor_id,
            _.moment(alert.began_at),
            state_name(_, alert.state),
            judgement_name(_, alert.verdict) if alert.verdict else "",
            alert.verdict_by or alert.acknowledged_by or "",
            " ".join(filter(None, (alert.evidence.reason, alert.note))),
        )
        for alert in found
    ]
    return Section(title, empty, columns, rows)


def _moves(workspace: Workspace, start: datetime, end: datetime) -> list[Deed]:
    """What happened to champions, oldest first."""
    found = deeds(workspace.engine, since=start)
    return [deed for deed in reversed(found) if deed.action in MOVES and deed.at < end]


def _model_changes(_: Words, found: Sequence[Deed]) -> Section:
    columns = (_("Time"), _("Model"), _("Change"), _("Version"), _("Before"), _("By"), _("Why"))
    said = {PROMOTED: _("promoted"), ROLLED_BACK: _("rolled back")}
    rows = [
        (
            _.moment(deed.at),
            deed.subject,
            said.get(deed.action, _("withdrawn")),
            "" if deed.version is None else str(deed.version),
            str(deed.detail.get("before") or ""),
            deed.who,
            str(deed.detail.get("gate") or ""),
        )
        for deed in found
    ]
    return Section(_("Model changes"), _("No model has changed."), columns, rows)


def _forecasts(_: Words, found: Sequence[Alert]) -> Section:
    columns = (_("Sensor"), _("Limit"), _("Reached at"), _("Probability"), _("Why"))
    rows = [
        (
            alert.topic.sensor_id,
            "" if alert.evidence.limit is None else _.number(alert.evidence.limit),
            "" if alert.evidence.crosses_at is None else _.moment(alert.evidence.crosses_at),
            "" if alert.evidence.probability is None else _.percent(alert.evidence.probability),
            alert.evidence.reason,
        )
        for alert in found
    ]
    return Section(_("Limits that may be reached"), _("No limit is expected to be reached."), columns, rows)
