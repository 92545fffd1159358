"""A shift report as one HTML page without external resources; prints on A4 landscape.

Names and notes are escaped, so that HTML in them is shown and does not run.
"""

import html
from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.i18n.translation import Translator
from monitoring.reports.shift_report import Cell, ReportSection, ShiftReport, cell_text

CSS = """
@page { size: A4 landscape; margin: 12mm }
body { font: 12px/1.4 sans-serif; color: #111; margin: 2em auto; padding: 0 2em; max-width: 1500px }
h1 { font-size: 19px; margin: 0 } h2 { font-size: 14px; margin: 1.6em 0 .4em; break-after: avoid }
h3 { font-size: 12px; margin: 0 0 .2em } p { color: #555; margin: .3em 0 0 }
table { border-collapse: collapse; width: 100% } table.figures { width: auto }
th { text-align: left; border-bottom: 2px solid #333; white-space: nowrap }
thead { display: table-header-group } td { border-bottom: 1px solid #ccc; vertical-align: top }
th, td { padding: 4px 10px 4px 0 } td.text { overflow-wrap: break-word }
.number { text-align: right; white-space: nowrap } td.time { white-space: nowrap }
tr:nth-child(even) td { background: #f6f6f6 } tr { break-inside: avoid }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(480px, 1fr)); gap: 16px }
.charts svg { width: 100%; height: auto } figure { margin: 0; break-inside: avoid }
.signatures { display: flex; gap: 4em; margin-top: 4em }
.signatures div { border-top: 1px solid #333; width: 18em; padding-top: 4px }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 9px }
  th, td { padding: 2px 6px 2px 0 } }
"""


def render_html(report: ShiftReport) -> str:
    """The page."""
    _ = report.words
    header = " · ".join(f"{name}: {text}" for name, text in report.header)
    charts = "".join(
        f"<figure><h3>{html.escape(chart.title)}</h3>{chart.svg()}</figure>" for chart in report.charts
    )
    signatures = "".join(f"<div>{html.escape(name)}</div>" for name in report.signatures)
    return "".join(
        (
            f"<!doctype html><html lang='{_.language}'><head><meta charset='utf-8'>",
            f"<title>{html.escape(report.title)}</title><style>{CSS}</style></head><body>",
            f"<h1>{html.escape(report.title)}</h1><p>{html.escape(header)}</p>",
            *(_section(_, section, "figures") for section in (report.figures,)),
            *(_section(_, section) for section in report.sections),
            f"<h2>{html.escape(_('Charts'))}</h2><div class='charts'>{charts}</div>" if charts else "",
            f"<div class='signatures'>{signatures}</div></body></html>\n",
        )
    )


def _section(_: Translator, section: ReportSection, css_class: str = "") -> str:
    title = f"<h2>{html.escape(section.title)}</h2>"
    if not section.rows:
        return f"{title}<p>{html.escape(section.empty)}</p>"
    columns = section.filled_columns
    head = "".join(
        f"<th scope='col' class='{_css_class(section.rows[0][i])}'>{html.escape(section.columns[i])}</th>"
        for i in columns
    )
    body = "".join(f"<tr>{_row(_, row, columns)}</tr>" for row in section.rows)
    table = f"<table class='{css_class}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return title + table


def _row(_: Translator, row: Sequence[Cell], columns: Sequence[int]) -> str:
    return "".join(
        f"<td class='{_css_class(row[i])}'>{html.escape(cell_text(_, row[i]))}</td>" for i in columns
    )


def _css_class(cell: Cell) -> str:
    if isinstance(cell, datetime | timedelta):
        return "time"
    return "number" if isinstance(cell, int | float) else "text"
