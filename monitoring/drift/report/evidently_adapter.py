"""Adapter for Evidently: our verdict as its drift method, and small HTML reports with its charts.

The only module that imports Evidently, including private interfaces (`evidently.legacy`, `_widgets` and its
JavaScript); a test fails if an upgrade changes them. Evidently's own pages embed 3.6 MB of JavaScript; ours
load it from one `evidently.js` beside all pages of a folder or all runs of the experiment. Importing
Evidently takes seconds, so callers import this module only when they need a report.
"""

import html
import json
import uuid
from collections.abc import Mapping
from pathlib import Path

import evidently
import numpy as np
import pandas as pd
from evidently import Report
from evidently.core.report import Snapshot
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.model.dashboard import DashboardInfo
from evidently.legacy.renderers.html_widgets import group_widget
from evidently.legacy.utils import NumpyEncoder
from evidently.metrics import ValueDrift

from monitoring.drift.compare_frames import compare
from monitoring.drift.comparison import DriftComparison, DriftSettings
from monitoring.drift.statistics import Readings, WindowScale
from training.common.times import to_times
from training.reasons import render_all

LIBRARY_FILE = "evidently.js"
METHOD_NAME = "safeplan"
CHANNEL_COLUMNS = {
    "value": "value",
    "course": "deviation from the daily profile",
    "score": "anomaly score",
    "error": "forecast error",
}
# Evidently's script sets the body's font and margins; the part above its widgets has its own style.
CSS = """
body{font-family:system-ui,sans-serif}
main{font:15px/1.45 system-ui,sans-serif;margin:1.5rem 2rem;max-width:60rem}
main h1{font-size:1.5rem;margin:0 0 1rem}main dl{display:grid;grid-template-columns:9rem 1fr;gap:.25rem 1rem}
main dt{color:#777}main dd{margin:0}main table{border-collapse:collapse;margin-top:1rem}
main td,main th{padding:.2rem 1rem .2rem 0;border-bottom:1px solid #8884;text-align:left}
main .num{text-align:right}.since{fill:#c0392b;opacity:.12}.begun{stroke:#c0392b}.note{margin:0 2rem}
"""
MAX_ROWS = 1_500  # shown on a page, of either side


def register(settings: DriftSettings | None = None) -> str:
    """Register the calibrated verdict as a drift method of Evidently; returns the method's name.

    `Report([ValueDrift(column="value", method=register())]).run(current, reference)` then reports the verdict
    of `compare`, with the p-value as drift score and the false-alarm rate as threshold. Columns must be
    indexed by time.
    """
    chosen = settings or DriftSettings()

    def judge(reference: pd.Series, current: pd.Series, _: ColumnType, __: float) -> tuple[float, bool]:
        comparison = compare(reference, current, settings=chosen)
        method.display_name = f"SafePlan: {comparison.reason}"
        return (1.0 if comparison.p_value is None else comparison.p_value), comparison.drifted

    method = StatTest(METHOD_NAME, "SafePlan", [ColumnType.Numerical], chosen.false_alarm_rate)
    register_stattest(method, judge)
    return METHOD_NAME


def snapshot_of(comparison: DriftComparison, window: Readings, since: Readings) -> Snapshot:
    """Evidently's report of a comparison: one column per channel, with our verdict on each."""
    tables = [_channel_table(side, comparison.ruler) for side in (window, since)]
    names = [
        name
        for name, column in CHANNEL_COLUMNS.items()
        if all(table[column].notna().any() for table in tables)
    ]
    methods = _register_channel_methods(comparison, names)
    metrics = [ValueDrift(column=CHANNEL_COLUMNS[name], method=methods[name]) for name in names]
    reference, current = (table[[CHANNEL_COLUMNS[name] for name in names]].dropna() for table in tables)
    return Report(metrics).run(current, reference)


def page_of(title: str, lines: Mapping[str, str], snapshot: Snapshot, *, shown: str = "") -> bytes:
    """A page of about 80 KB: the summary lines, then Evidently's widgets, drawn by the script beside it.

    `shown` is HTML below the lines that needs no script; it is not escaped.
    """
    widgets = [group_widget(title="", widgets=snapshot._widgets)]
    graphs = {
        graph.id: getattr(graph, "params", graph)
        for widget in widgets
        for graph in widget.get_additional_graphs()
    }
    definition_list = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(text)}</dd>" for key, text in lines.items()
    )
    info = _to_script_json(DashboardInfo(name="Report", widgets=widgets).dict())
    board = f"drift_{uuid.uuid4().hex}"
    content = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>{CSS}</style>
</head><body><main><h1>{html.escape(title)}</h1><dl>{definition_list}</dl>{shown}</main>
<div id="{board}">
<p class="note">{LIBRARY_FILE}, beside this page or two folders up, draws the charts.</p></div>
<script>var global = globalThis; const info = {info}; const graphs = {_to_script_json(graphs)};</script>
<script src="{LIBRARY_FILE}"></script>
<script>if (!window.drawDashboard) document.write('<script src="../../{LIBRARY_FILE}"><\\/script>');</script>
<script>
if (window.drawDashboard) window.drawDashboard(info, new Map(Object.entries(graphs)), "{board}");
</script>
</body></html>
"""
    return content.encode()


def read_library() -> bytes:
    """The content of Evidently's script, 3.5 MB."""
    return (Path(evidently.__file__).parent / "nbextension" / "static" / "index.js").read_bytes()


def _register_channel_methods(comparison: DriftComparison, names: list[str]) -> dict[str, str]:
    """One drift method per channel that reports our verdict on it, by channel."""
    methods = {}
    for name in names:
        p, reasons = comparison.channel_verdict(name)
        method = StatTest(
            f"{METHOD_NAME}-{name}",
            f"SafePlan: {render_all(reasons)}",
            [ColumnType.Numerical],
            comparison.false_alarm_rate,
        )
        drifted = p <= comparison.false_alarm_rate and comparison.drifted
        register_stattest(method, lambda *_, p=p, drifted=drifted: (p, drifted))
        methods[name] = method.name
    return methods


def _channel_table(side: Readings, scale: WindowScale | None) -> pd.DataFrame:
    thin = np.unique(np.linspace(0, len(side) - 1, min(len(side), MAX_ROWS)).astype(int))
    expected = np.zeros(len(side)) if scale is None else scale.expected(side.seconds) + scale.centre
    table = {
        CHANNEL_COLUMNS["value"]: side.values,
        CHANNEL_COLUMNS["course"]: side.values - expected,
        CHANNEL_COLUMNS["score"]: side.scores,
        CHANNEL_COLUMNS["error"]: side.errors,
    }
    return pd.DataFrame(table, index=to_times(side.seconds)).iloc[thin]


def _to_script_json(value: object) -> str:
    """JSON that no text in it can escape from a script element."""
    return json.dumps(value, cls=NumpyEncoder).replace("<", "\\u003c")
