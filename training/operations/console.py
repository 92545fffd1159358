"""Print the output of commands: results on stdout as tables or one JSON document, progress on stderr.

Exit codes are decided in `safeplan.py`.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TextIO

import pandas as pd
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from training.ingest.load_report import LoadReport
from training.outcomes import Outcome, OutcomeStatus, summary

EXPLAINED_STATUSES = (OutcomeStatus.REFUSED, OutcomeStatus.FALLBACK)  # a sentence follows the table
DEFAULT_WIDTH = 140  # columns if the output is not a terminal


def _console(stream: TextIO, *, stderr: bool) -> Console:
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else DEFAULT_WIDTH)


stderr_console = _console(sys.stderr, stderr=True)
stdout_console = _console(sys.stdout, stderr=False)

Row = Mapping[str, Any]


def show_outcomes(
    command: str, outcomes: Sequence[Outcome], metrics: Sequence[str], *, as_json: bool
) -> None:
    """Print outcomes with the named metrics, why the gate refused a version, and failures with errors."""
    if as_json:
        document = {
            "command": command,
            "summary": summary(outcomes),
            "sensors": [outcome.as_dict() for outcome in outcomes],
        }
        show_json(document)
        return
    rows = [
        {
            "sensor": outcome.sensor_id,
            "kind": outcome.kind.value if outcome.kind else "",
            "status": outcome.status,
            "version": outcome.version,
            "alias": outcome.alias,
            **{name: outcome.metrics.get(name) for name in metrics},
        }
        for outcome in outcomes
        if not outcome.failed
    ]
    show_rows(rows)
    for outcome in outcomes:
        if outcome.status in EXPLAINED_STATUSES and outcome.detail.get("gate"):
            stdout_console.print(Text(f"  {outcome.sensor_id} {outcome.kind}: {outcome.detail['gate']}"))
    failures = [outcome for outcome in outcomes if outcome.failed]
    show_rows(
        [
            {
                "sensor": o.sensor_id,
                "kind": o.kind.value if o.kind else "",
                OutcomeStatus.FAILED.value: o.error,
            }
            for o in failures
        ]
    )
    stderr_console.print(
        ", ".join(f"{count} {status}" for status, count in summary(outcomes).items()) or "nothing to do"
    )


def show_load(report: LoadReport, *, as_json: bool) -> None:
    """Print what was loaded: counts, and for each reason of refusal one example."""
    if as_json:
        show_json({"command": "load", **report.as_dict()})
        return
    rate = report.rows / max(report.seconds, 1e-9)
    stdout_console.print(
        f"{report.rows:,} rows of {report.files} files in {report.seconds:.1f} s ({rate:,.0f} rows/s): "
        f"{report.accepted:,} new, {report.already_there:,} already stored, {report.corrected:,} corrected, "
        f"{report.refused:,} refused; {len(report.sensors_created)} sensors created"
    )
    show_rows(
        [
            {
                "reason": reason,
                "rows": count,
                "example": next((str(e) for e in report.examples if e.reason.value == reason), ""),
            }
            for reason, count in report.reasons.items()
        ]
    )
    show_rows([{"note": note, "rows": count} for note, count in report.notes.items()])
    show_rows([{"not read": path, "error": error} for path, error in report.unreadable.items()])


def show_rows(rows: Sequence[Row], *, below: str = "") -> None:
    """Print a table with one column per key, without empty columns.

    The sentences of the key `below` are too long for a column; they follow the table, one per line.
    """
    if not rows:
        return
    # Rows may have different keys: a sensor without readings has fewer.
    keys = dict.fromkeys(key for row in rows for key in row if key != below)
    names = [name for name in keys if any(row.get(name) not in (None, "", {}) for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Text, not markup: a sensor id may be [red].
        table.add_row(*(Text(format_cell(row.get(name))) for name in names))
    stdout_console.print(table)
    for row in rows:
        for sentence in row.get(below, ()):
            stdout_console.print(Text(f"  {format_cell(row[names[0]])}: {sentence}"))


def show_json(document: Any) -> None:
    """Print one JSON document; numbers that are not finite become null."""
    stdout_console.file.write(
        json.dumps(to_json_value(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def format_cell(value: Any) -> str:
    """One value as text for a table.

    >>> [format_cell(value) for value in (0.123456, 4743.2, 999.9, None, True, ["a", "b"], {"low": 0.0})]
    ['0.123', '4,743', '1,000', '', 'yes', 'a, b', 'low 0']
    """
    if value is None or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, Mapping):
        value = [f"{key} {format_cell(part)}" for key, part in value.items()]
    if isinstance(value, list | tuple):
        return ", ".join(format_cell(part) for part in value)
    return str(value)


def to_json_value(value: Any) -> Any:
    """The value with types that JSON has.

    >>> to_json_value({"a": float("inf"), "b": (1, 2.5)})
    {'a': None, 'b': [1, 2.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): to_json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(part) for part in value]
    if value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, datetime):
        return value.isoformat() + ("" if value.tzinfo else "Z")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return to_json_value(value.item()) if hasattr(value, "item") else str(value)


@contextmanager
def progress(activity: str, total: int) -> Iterator[Callable[[Outcome], None]]:
    """Show a progress bar on stderr; call the function with each outcome."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr_console, transient=True) as bar:
        task = bar.add_task(activity, total=total)
        yield lambda outcome: bar.update(task, advance=1, description=f"{activity} {outcome.sensor_id}"[:48])


@contextmanager
def bytes_progress(activity: str) -> Iterator[Callable[[int, int, int], None]]:
    """Show a progress bar over the bytes of files on stderr; call the function with rows, bytes and total."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=stderr_console, transient=True) as bar:
        task = bar.add_task(activity, total=None)

        def advance(rows: int, done: int, total: int) -> None:
            rate = rows / max(time.monotonic() - started, 1e-9)
            description = f"{activity} {rows:,} rows, {rate:,.0f} rows/s"
            bar.update(task, completed=done, total=total or None, description=description)

        yield advance
