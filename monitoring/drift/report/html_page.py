"""The fleet page: one HTML file that somebody wants to read, with nothing outside of it.

Knows checks and how they are drawn: what drifted first, by what it costs; sparklines; the history of past
checks. Every text of a sensor is escaped.
"""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from monitoring.drift.report.charts import (
    VERDICT_COLOURS,
    VERDICT_ORDER,
    render_check_history,
    render_sparkline,
)
from monitoring.drift.result import DriftCheckResult
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict
from training.common.formatting import format_count
from training.operations.console import format_cell

VERDICT_TEXTS = {
    DriftVerdict.DRIFTED: "have drifted",
    DriftVerdict.NO_DATA: "are silent",
    DriftVerdict.AGED: "have an aged window",
    DriftVerdict.WITHHELD: "cannot be judged",
    DriftVerdict.STEADY: "are steady",
}
COST_NOTE = (
    "Cost: by how much forecast errors have grown, plus alarms a day above the budget; 1 is errors that "
    "doubled, or twice the alarms accepted. Shaded: readings since training; the line: where it began."
)
MEASURE_COLUMNS = {"window": "window", "now": "now", "shift": "moved by", "bound": "alarm from", "p": "p"}
MEASURE_TEXTS = {
    "level": "level, in robust sd of what deviates from the daily course",
    "noise": "step from reading to reading, log",
    "spread": "spread around the daily course, log",
    "cycle": "depth of the daily course, 1 as usual",
    "low": "low readings, in sd",
    "high": "high readings, in sd",
    "below": "low deviations from the daily course, in robust sd",
    "above": "high deviations from the daily course, in robust sd",
    "score": "anomaly score",
    "error": "forecast error, log",
    "missing": "share of readings missing",
    "step": "time between readings, log seconds",
}
CSS = """
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.sub{color:#888;margin:.2rem 0 1.2rem}.tiles{display:flex;gap:1rem;flex-wrap:wrap}
.tile{border-left:4px solid;padding:.2rem .8rem}.tile b{font-size:1.6rem;display:block;line-height:1.1}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;color:#888}
td,th{padding:.4rem .7rem .4rem 0;border-bottom:1px solid #8884;vertical-align:top}
.num{text-align:right;white-space:nowrap}.when{white-space:nowrap}.mark{font-weight:600}
.todo,small{color:#888}small{display:block}svg{display:block}.since{fill:#c0392b;opacity:.12}
.begun{stroke:#c0392b}summary{cursor:pointer;margin:1rem 0}
"""


def render_fleet_page(
    checked: Sequence[DriftCheckResult],
    history: Sequence[DriftCheck],
    links: Mapping[tuple[str, str], str],
    *,
    now: datetime,
) -> bytes:
    """The page; `links` are reports of single models, by sensor and model type."""
    verdicts = Counter(one.check.verdict for one in checked)
    tiles = "".join(
        f'<div class="tile" style="border-color:{VERDICT_COLOURS[verdict]}"><b>{verdicts[verdict]}</b>'
        f"{VERDICT_TEXTS[verdict]}<small>{_sensor_count_text(checked, verdict)}</small></div>"
        for verdict in VERDICT_ORDER
        if verdicts[verdict]
    )
    ranked = sorted(
        checked, key=lambda one: (VERDICT_ORDER.index(one.check.verdict), -(one.check.cost or 0.0))
    )
    notable = [one for one in ranked if one.check.verdict is not DriftVerdict.STEADY]
    steady = [one for one in ranked if one.check.verdict is DriftVerdict.STEADY]
    rate = checked[0].check.false_alarm_rate if checked else 0.0
    bars = render_check_history(history)
    subtitle = (
        f"{now:%Y-%m-%d %H:%M} UTC, {format_count(len(checked), 'model')} of {_sensor_count_text(checked)}"
    )
    steady_summary = format_count(len(steady), "steady model")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Drift of the fleet</title>
<meta name="viewport" content="width=device-width"><style>{CSS}</style></head><body>
<h1>Drift of the fleet</h1>
<p class="sub">{subtitle}, each compared with the window it was trained on;
of those that have not drifted, {rate:.2%} may be called drifted by chance</p>
<div class="tiles">{tiles}</div>
{f"<h2>Past checks</h2>{bars}" if bars else ""}
{_render_table("To look at, the costliest first", notable, links)}
<p class="sub">{COST_NOTE}</p>
<details><summary>{steady_summary}</summary>{_render_table("", steady, links, plain=True)}</details>
{_render_quality(ranked)}
</body></html>""".encode()


def _render_table(
    title: str,
    checked: Sequence[DriftCheckResult],
    links: Mapping[tuple[str, str], str],
    *,
    plain: bool = False,
) -> str:
    if not checked:
        return f"<h2>{title}</h2><p>Nothing.</p>" if title else ""
    picture = "" if plain else "<th>window | since</th>"
    rows = "".join(_render_row(one, links, plain=plain) for one in checked)
    return (
        f"{f'<h2>{title}</h2>' if title else ''}<table><tr><th>sensor</th><th>model</th><th>verdict</th>"
        f'<th>what</th><th>since (UTC)</th><th class="num">cost</th>{picture}</tr>{rows}</table>'
    )


def _render_row(result: DriftCheckResult, links: Mapping[tuple[str, str], str], *, plain: bool) -> str:
    check = result.check
    name = html.escape(check.sensor_id)
    if result.sensor.name:
        name += f"<br><span class=todo>{html.escape(result.sensor.name)}</span>"
    model = f"{result.champion.version.kind} v{html.escape(check.model_version)}"
    link = links.get((check.sensor_id, check.model_type))
    if link:
        model = f'<a href="{html.escape(link, quote=True)}">{model}</a>'
    reason_html = html.escape(check.reason)
    if check.advice:
        reason_html += f'<br><span class="todo">{html.escape(check.advice)}</span>'
    since = f"{check.since:%Y-%m-%d %H:%M}" if check.since else ""
    picture = (
        ""
        if plain
        else f"<td>{render_sparkline(result.view.window, result.plotted_readings, begun=check.since)}</td>"
    )
    colour = VERDICT_COLOURS[check.verdict]
    return (
        f'<tr><td>{name}</td><td class="when">{model}</td>'
        f'<td class="mark" style="color:{colour}">{check.verdict}</td><td>{reason_html}</td>'
        f'<td class="when">{since}</td><td class="num">{format_cell(check.cost)}</td>{picture}</tr>'
    )


def render_measures(measures: Mapping[str, Mapping[str, Any]]) -> str:
    """What was compared, one row a statistic, the rarest first: what it was, what it is, and its alarm."""
    if not measures:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(MEASURE_TEXTS.get(name, name))}</td>"
        + "".join(f'<td class="num">{format_cell(float(found[key]))}</td>' for key in MEASURE_COLUMNS)
        + "</tr>"
        for name, found in sorted(measures.items(), key=lambda item: float(item[1]["p"]))
    )
    heads = "".join(f'<th class="num">{head}</th>' for head in MEASURE_COLUMNS.values())
    return f"<table><tr><th>compared</th>{heads}</tr>{rows}</table>"


def _sensor_count_text(checked: Sequence[DriftCheckResult], verdict: DriftVerdict | None = None) -> str:
    chosen = {one.check.sensor_id for one in checked if verdict in (None, one.check.verdict)}
    return format_count(len(chosen), "sensor")


QUALITY_COLUMNS: dict[str, str] = {
    "forecasts": "forecasts met",
    "mae": "MAE",
    "mase": "MASE",
    "coverage": "in band",
    "alarms_per_day": "alarms/day",
    "alarm_budget_per_day": "accepted",
    "age_days": "age, days",
}


def _render_quality(checked: Sequence[DriftCheckResult]) -> str:
    """How good models were after the fact; stale ones first."""
    with_quality = [
        one for one in checked if one.check.quality.get("forecasts") or one.check.quality.get("scored")
    ]
    stale = [one for one in checked if one.check.quality.get("stale") and one not in with_quality]
    if not with_quality and not stale:
        return ""
    heads = "".join(f'<th class="num">{head}</th>' for head in QUALITY_COLUMNS.values())
    rows = "".join(_render_quality_row(one) for one in [*stale, *with_quality])
    return (
        "<details><summary>How good the models were after the fact</summary><table><tr><th>sensor</th>"
        f"<th>model</th>{heads}</tr>{rows}</table></details>"
    )


def _render_quality_row(result: DriftCheckResult) -> str:
    quality: Mapping[str, Any] = result.check.quality
    numbers = "".join(f'<td class="num">{format_cell(quality.get(name))}</td>' for name in QUALITY_COLUMNS)
    old = ' <span class="mark">stale</span>' if quality.get("stale") else ""
    name = html.escape(result.check.sensor_id)
    return f"<tr><td>{name}</td><td>{result.champion.version.kind}{old}</td>{numbers}</tr>"
