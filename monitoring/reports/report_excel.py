"""A shift report as an Excel workbook: one sheet per table, times and numbers as such.

Names and notes are escaped, so that formulas in them are shown and do not run.
"""

import io
from datetime import datetime, timedelta
from pathlib import Path

from openpyxl import Workbook
from openpyxl.drawing.image import Image
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from monitoring.i18n.translation import Translator
from monitoring.reports.shift_report import Cell, ReportSection, ShiftReport, cell_text

MAX_COLUMN_WIDTH = 60  # characters
CHART_ROWS = 16  # of the sheet, that a chart takes
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets run cells that start so
DURATION_FORMAT = "[h]:mm"


def write_excel(report: ShiftReport, path: Path) -> None:
    """Write the workbook; an empty table states that it is empty."""
    book, _ = Workbook(), report.words
    first = book.active
    assert first is not None
    first.title = report.title[:31]
    for row in ((report.title, ""), *report.header):
        first.append([_escape_formula(cell) for cell in row])
    first.append([])
    _add_table(_, first, report.figures)
    first["A1"].font = Font(bold=True, size=14)
    for section in report.sections:
        sheet = book.create_sheet(section.title[:31])
        _add_table(_, sheet, section)
        sheet.freeze_panes = "A2"
    if report.charts:
        sheet = book.create_sheet(_("Charts")[:31])
        for place, chart in enumerate(report.charts):
            sheet.cell(1 + place * CHART_ROWS, 1, _escape_formula(chart.title)).font = Font(bold=True)
            sheet.add_image(Image(io.BytesIO(chart.png())), f"A{2 + place * CHART_ROWS}")
    book.save(path)


def _add_table(_: Translator, sheet: Worksheet, section: ReportSection) -> None:
    head = sheet.max_row + 1 if sheet.max_row > 1 else 1
    for place, name in enumerate(section.columns, start=1):
        sheet.cell(head, place, name).font = Font(bold=True)
    for line, row in enumerate(section.rows, start=head + 1):
        for place, value in enumerate(row, start=1):
            _write_cell(_, sheet, line, place, value)
    if not section.rows:
        sheet.cell(head + 1, 1, section.empty)
    for place, name in enumerate(section.columns, start=1):
        texts = [name, *(cell_text(_, row[place - 1]) for row in section.rows)]
        width = min(max(map(len, texts)) + 2, MAX_COLUMN_WIDTH)
        sheet.column_dimensions[get_column_letter(place)].width = width
    sheet.page_setup.orientation, sheet.page_setup.fitToHeight = "landscape", 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def _write_cell(_: Translator, sheet: Worksheet, line: int, place: int, value: Cell) -> None:
    cell = sheet.cell(line, place)
    cell.alignment = Alignment(vertical="top", wrap_text=isinstance(value, str))
    if isinstance(value, datetime):
        # Excel knows no time zones: the site's wall clock, as everywhere in the report.
        cell.value = _.wall_clock(value).replace(microsecond=0)
        cell.number_format = _.datetime_pattern.lower()  # Excel has the same letters in lower case
    elif isinstance(value, timedelta):
        cell.value, cell.number_format = value, DURATION_FORMAT
    else:
        cell.value = _escape_formula(value) if isinstance(value, str) else value


def _escape_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> _escape_formula("=1+1"), _escape_formula("PT-1")
    ("'=1+1", 'PT-1')
    """
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text
