"""A shift report as a PDF on A4 landscape, made with fpdf2; fonts are embedded, so that it prints everywhere.

Text is drawn as it is: nothing in a name or a note can run.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import TableBordersLayout

from monitoring.reports.shift_report import ReportSection, ShiftReport, cell_text

FONT = "DejaVu"  # ships with Matplotlib; has the severity symbols and every European letter
TITLE_SIZE, HEADING_SIZE, TEXT_SIZE = 14, 10, 7
MAX_COLUMN_MM = 60.0  # that a column asks for; longer texts wrap
PADDING_MM = 0.9
CHART_WIDTH_MM, CHART_HEIGHT_MM, CHART_GAP_MM = 133.0, 48.0, 6.0
SIGNATURE_WIDTH_MM = 80.0


def render_pdf(report: ShiftReport) -> bytes:
    """The document."""
    pdf = FPDF(orientation="landscape", format="A4")
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    pdf.add_font(FONT, fname=fonts / "DejaVuSans.ttf")
    pdf.add_font(FONT, style="B", fname=fonts / "DejaVuSans-Bold.ttf")
    pdf.set_title(report.title)
    pdf.set_lang(report.words.language)
    pdf.set_auto_page_break(auto=True, margin=12)
    pdf.set_margin(12)
    pdf.add_page()
    _line(pdf, report.title, TITLE_SIZE, style="B")
    _line(pdf, " · ".join(f"{name}: {text}" for name, text in report.header), TEXT_SIZE + 1)
    for section in (report.figures, *report.sections):
        _add_section(pdf, report, section)
    _add_charts(pdf, report)
    _add_signatures(pdf, report)
    return bytes(pdf.output())


def _line(pdf: FPDF, text: str, size: int, *, style: str = "") -> None:
    pdf.set_font(FONT, style, size)
    pdf.multi_cell(0, size * 0.55, text, new_x="LMARGIN", new_y="NEXT")


def _add_section(pdf: FPDF, report: ShiftReport, section: ReportSection) -> None:
    # A heading stays with the first rows of its table.
    if pdf.will_page_break(25):
        pdf.add_page()
    pdf.ln(4)
    _line(pdf, section.title, HEADING_SIZE, style="B")
    if not section.rows:
        _line(pdf, section.empty, TEXT_SIZE)
        return
    columns = section.filled_columns
    rows = [[cell_text(report.words, row[i]) for i in columns] for row in section.rows]
    names = [section.columns[i] for i in columns]
    pdf.set_font(FONT, "B", TEXT_SIZE)
    widths = _column_widths(pdf, [names, *rows])
    pdf.set_font(FONT, "", TEXT_SIZE)
    with pdf.table(
        col_widths=widths,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        line_height=TEXT_SIZE * 0.45,
        padding=PADDING_MM,
        text_align="LEFT",
    ) as table:
        for row in (names, *rows):
            cells = table.row()
            for text in row:
                cells.cell(text)


def _column_widths(pdf: FPDF, rows: Sequence[Sequence[str]]) -> list[float]:
    """The width of each column in mm: at least its longest word, and as much of its longest text as fits."""
    padding = 3 * PADDING_MM
    least, wanted = [], []
    for column in zip(*rows, strict=True):
        word = max(pdf.get_string_width(word) for text in column for word in (text.split() or [""]))
        text = min(max(pdf.get_string_width(text) for text in column), MAX_COLUMN_MM)
        least.append(word + padding)
        wanted.append(max(word, text) + padding)
    missing = sum(wanted) - sum(least)
    share = min(max(pdf.epw - sum(least), 0.0) / missing, 1.0) if missing else 0.0
    widths = [minimum + share * (want - minimum) for minimum, want in zip(least, wanted, strict=True)]
    return [width * pdf.epw / sum(widths) for width in widths]


def _add_charts(pdf: FPDF, report: ShiftReport) -> None:
    """Two charts beside each other."""
    for place, chart in enumerate(report.charts):
        if place == 0:
            if pdf.will_page_break(CHART_HEIGHT_MM + 12):
                pdf.add_page()
            pdf.ln(4)
            _line(pdf, report.words("Charts"), HEADING_SIZE, style="B")
        if place % 2 == 0:
            if pdf.will_page_break(CHART_HEIGHT_MM):
                pdf.add_page()
            top = pdf.get_y() + 2
        left = pdf.l_margin + (place % 2) * (CHART_WIDTH_MM + CHART_GAP_MM)
        pdf.set_xy(left, top)
        pdf.set_font(FONT, "B", TEXT_SIZE)
        pdf.cell(CHART_WIDTH_MM, 4, chart.title)
        pdf.image(io.BytesIO(chart.png()), x=left, y=top + 4, w=CHART_WIDTH_MM)
        pdf.set_xy(pdf.l_margin, top + CHART_HEIGHT_MM)


def _add_signatures(pdf: FPDF, report: ShiftReport) -> None:
    if pdf.will_page_break(25):
        pdf.add_page()
    pdf.ln(18)
    pdf.set_font(FONT, "", TEXT_SIZE)
    for name in report.signatures:
        left, top = pdf.get_x(), pdf.get_y()
        pdf.line(left, top, left + SIGNATURE_WIDTH_MM, top)
        pdf.cell(SIGNATURE_WIDTH_MM + CHART_GAP_MM, 5, name)
