"""Write a shift report to a file in the format of its suffix: HTML, Excel or PDF."""

from pathlib import Path

from monitoring.reports.report_excel import write_excel
from monitoring.reports.report_html import render_html
from monitoring.reports.report_pdf import render_pdf
from monitoring.reports.shift_report import ShiftReport
from training.errors import ConfigurationError, write_errors

SUFFIXES = (".html", ".pdf", ".xlsx")


def write_report(report: ShiftReport, path: Path) -> None:
    """Write the report in the format of the file's suffix.

    Raises:
        ConfigurationError: the suffix is not one of `SUFFIXES`.
        UnwritableFile: the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigurationError(f"{path.name} is not a report: its name must end in {', '.join(SUFFIXES)}.")
    with write_errors("The report", path):
        if path.suffix == ".xlsx":
            write_excel(report, path)
        elif path.suffix == ".pdf":
            path.write_bytes(render_pdf(report))
        else:
            path.write_text(render_html(report), encoding="utf-8")
