"""How commands speak: results on stdout as a table or one JSON document, the story on stderr.

Knows rows and outcomes. Decides nothing, not even the exit code.
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
from training.outcomes import FAILED, Outcome, summary

DEFAULT_WIDTH = 140  # columns where nobody's terminal says how wide it is


def _console(stream: TextIO, *, stderr: bool) -> Console:
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else DEFAULT_WIDTH)


stderr_console = _console(sys.stderr, stderr=True)
stdout_console = _console(sys.stdout, stderr=False)

Row = Mapping[str, Any]


def show_outcomes(
    command: str, outcomes: Sequence[Outcome], metrics: Sequence[str], *, as_json: bool
) -> None:
    """All outcomes with the metrics named; failures with their reasons below."""
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
    failures = [outcome for outcome in outcomes if outcome.failed]
    show_rows(
        [{"sensor": o.sensor_id, "kind": o.kind.value if o.kind else "", FAILED: o.error} for o in failures]
    )
    stderr_console.print(
        ", ".join(f"{count} {status}" for status, count in summary(outcomes).items()) or "nothing to do"
    )


def show_load(report: LoadReport, *, as_json: bool) -> None:
    """What became of every row, with counts and first examples of each reason."""
    if as_json:
        show_json({"command": "load", **report.as_dict()})
        return
    rate = report.rows / max(report.seconds, 1e-9)
    stdout_console.print(
        f"{report.rows:,} rows of {report.files} files in {report.seconds:.1f} s ({rate:,.0f} a second): "
        f"{report.accepted:,} new, {report.already_there:,} already there, {report.corrected:,} corrected, "
        f"{report.refused:,} refused; {len(report.sensors_created)} sensors created"
    )
    show_rows(
        [
            {
                "reason": reason,
                "rows": count,
                "for example": next((str(e) for e in report.examples if e.reason.value == reason), ""),
            }
            for reason, count in report.reasons.items()
        ]
    )
    show_rows([{"note": note, "rows": count} for note, count in report.notes.items()])
    show_rows([{"not read": path, "why": why} for path, why in report.unreadable.items()])


def show_rows(rows: Sequence[Row], *, below: str = "") -> None:
    """A table with one column a key; columns that are empty throughout are left out.

    The key `below` holds sentences, which are too long for a column: they follow the table, a line each.
    """
    if not rows:
        return
    # Rows may differ: a sensor without readings says less than the others.
    keys = dict.fromkeys(key for row in rows for key in row if key != below)
    names = [name for name in keys if any(row.get(name) not in (None, "") for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Text, not markup: a sensor may be called [red].
        table.add_row(*(Text(format_cell(row.get(name))) for name in names))
    stdout_console.print(table)
    for row in rows:
        for sentence in row.get(below, ()):
            stdout_console.print(Text(f"  {format_cell(row[names[0]])}: {sentence}"))


def show_json(document: Any) -> None:
    """One JSON document; numbers that are not finite become null."""
    stdout_console.file.write(
        json.dumps(to_json_value(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def format_cell(value: Any) -> str:
    """One value as a person reads it.

    >>> cell(0.123456), cell(4743.2), cell(999.9), cell(None), cell(True), cell(["a", "b"])
    ('0.123', '4,743', '1,000', '', 'yes', 'a, b')
    """
    if value is None or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, list | tuple):
        return ", ".join(format_cell(part) for part in value)
    return str(value)


def to_json_value(value: Any) -> Any:
    """The same as JSON can hold it.

    >>> plain({"a": float("inf"), "b": (1, 2.5)})
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
def progress(doing: str, total: int) -> Iterator[Callable[[Outcome], None]]:
    """A bar with the time left on stderr; the function it gives is called once for each outcome."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr_console, transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda outcome: bar.update(task, advance=1, description=f"{doing} {outcome.sensor_id}"[:48])


@contextmanager
def bytes_progress(doing: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar over the bytes of files on stderr, with the rows done and their rate."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=stderr_console, transient=True) as bar:
        task = bar.add_task(doing, total=None)

        def advance(rows: int, done: int, total: int) -> None:
            rate = rows / max(time.monotonic() - started, 1e-9)
            description = f"{doing} {rows:,} rows, {rate:,.0f} a second"
            bar.update(task, completed=done, total=total or None, description=description)

        yield advance
