"""The fleet page: one HTML file that somebody wants to read, with nothing outside of it.

Knows checks and how they are drawn: what drifted first, by what it costs; sparklines; the history of past
checks. Every text of a sensor is escaped.
"""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.drift_checked import Checked
from monitoring.drift_checks import DriftCheck, Verdict
from monitoring.drift_statistics import Readings
from training.console import cell

Floats = NDArray[np.float64]

# The order of the page: what somebody must look at first.
WORTH = (Verdict.DRIFTED, Verdict.SILENT, Verdict.AGED, Verdict.WITHHELD, Verdict.STEADY)
MEANING = {
    Verdict.DRIFTED: "have drifted",
    Verdict.SILENT: "are silent",
    Verdict.AGED: "have an aged window",
    Verdict.WITHHELD: "cannot be judged",
    Verdict.STEADY: "are steady",
}
COLOURS = {
    Verdict.DRIFTED: "#c0392b",
    Verdict.SILENT: "#7f8c8d",
    Verdict.AGED: "#d68910",
    Verdict.WITHHELD: "#b2babb",
    Verdict.STEADY: "#2e8b57",
}
WIDTH, HEIGHT = 220, 36  # of a sparkline
POINTS = 110
MOST_CHECKS = 60  # past checks in the history
STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.sub{color:#888;margin:.2rem 0 1.2rem}.tiles{display:flex;gap:1rem;flex-wrap:wrap}
.tile{border-left:4px solid;padding:.2rem .8rem}.tile b{font-size:1.6rem;display:block;line-height:1.1}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;color:#888}
td,th{padding:.4rem .7rem .4rem 0;border-bottom:1px solid #8884;vertical-align:top}
.num{text-align:right;white-space:nowrap}.when{white-space:nowrap}.mark{font-weight:600}
.todo{color:#888}svg{display:block}summary{cursor:pointer;margin:1rem 0}
"""


def fleet_page(
    checked: Sequence[Checked],
    history: Sequence[DriftCheck],
    links: Mapping[tuple[str, str], str],
    *,
    now: datetime,
) -> bytes:
    """The page; `links` are reports of single models, by sensor and model type."""
    verdicts = Counter(one.check.verdict for one in checked)
    sensors = len({one.check.sensor_id for one in checked})
    tiles = "".join(
        f'<div class="tile" style="border-color:{COLOURS[verdict]}"><b>{verdicts[verdict]}</b>'
        f"{MEANING[verdict]}</div>"
        for verdict in WORTH
        if verdicts[verdict]
    )
    ranked = sorted(checked, key=lambda one: (WORTH.index(one.check.verdict), -(one.check.cost or 0.0)))
    notable = [one for one in ranked if one.check.verdict is not Verdict.STEADY]
    steady = [one for one in ranked if one.check.verdict is Verdict.STEADY]
    rate = checked[0].check.false_alarm_rate if checked else 0.0
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Drift of the fleet</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>Drift of the fleet</h1>
<p class="sub">{now:%Y-%m-%d %H:%M} UTC, {len(checked)} models of {sensors} sensors, each compared with the
window it was trained on; {rate:.2%} of undrifted models are called drifted by chance</p>
<div class="tiles">{tiles}</div>
{_history(history)}
{_table("To look at, the costliest first", notable, links)}
<details><summary>{len(steady)} steady models</summary>{_table("", steady, links, plain=True)}</details>
{_quality(ranked)}
</body></html>""".encode()


def _table(
    title: str, checked: Sequence[Checked], links: Mapping[tuple[str, str], str], *, plain: bool = False
) -> str:
    if not checked:
        return f"<h2>{title}</h2><p>Nothing.</p>" if title else ""
    picture = "" if plain else "<th>window | since</th>"
    rows = "".join(_row(one, links, plain=plain) for one in checked)
    return (
        f"{f'<h2>{title}</h2>' if title else ''}<table><tr><th>sensor</th><th>model</th><th>verdict</th>"
        f'<th>what</th><th>since (UTC)</th><th class="num">cost</th>{picture}</tr>{rows}</table>'
    )


def _row(one: Checked, links: Mapping[tuple[str, str], str], *, plain: bool) -> str:
    check = one.check
    name = html.escape(check.sensor_id)
    if one.sensor.name:
        name += f"<br><span class=todo>{html.escape(one.sensor.name)}</span>"
    model = f"{one.champion.version.kind} v{html.escape(check.model_version)}"
    link = links.get((check.sensor_id, check.model_type))
    if link:
        model = f'<a href="{html.escape(link, quote=True)}">{model}</a>'
    why = html.escape(check.reason)
    if check.advice:
        why += f'<br><span class="todo">{html.escape(check.advice)}</span>'
    since = f"{check.since:%Y-%m-%d %H:%M}" if check.since else ""
    picture = "" if plain else f"<td>{sparkline(one)}</td>"
    return (
        f'<tr><td>{name}</td><td>{model}</td><td class="mark" style="color:{COLOURS[check.verdict]}">'
        f'{check.verdict}</td><td>{why}</td><td class="when">{since}</td>'
        f'<td class="num">{cell(check.cost)}</td>{picture}</tr>'
    )


def sparkline(one: Checked) -> str:
    """The end of the window and what came since, with a line between."""
    window, since = one.view.window, one.view.since
    if len(since) and len(window):
        # As much of the window as came since, or a fourth of it: what changed must be seen at a glance.
        shown = max(since.seconds[-1] - window.seconds[-1], (window.seconds[-1] - window.seconds[0]) / 4)
        window = window.between(window.seconds[-1] - shown, np.inf)
    seconds, values = _thinned(window, since)
    if len(values) < 2:
        return ""
    low, high = float(values.min()), float(values.max())
    x = (seconds - seconds[0]) / max(seconds[-1] - seconds[0], 1e-9) * (WIDTH - 2) + 1
    y = HEIGHT - 2 - (values - low) / max(high - low, 1e-300) * (HEIGHT - 4)
    points = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
    border = ""
    if len(since):
        place = float(np.interp(since.seconds[0], seconds, x))
        shade = 'fill="#c0392b" opacity=".12"'
        border = f'<rect x="{place:.0f}" width="{WIDTH - place:.0f}" height="{HEIGHT}" {shade}/>'
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img">{border}'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1"/></svg>'
    )


def _thinned(window: Readings, since: Readings) -> tuple[Floats, Floats]:
    seconds = np.concatenate([window.seconds, since.seconds])
    values = np.concatenate([window.values, since.values])
    rows = np.unique(np.linspace(0, max(len(seconds) - 1, 0), POINTS).astype(int))[: len(seconds)]
    return seconds[rows], values[rows]


def _history(history: Sequence[DriftCheck]) -> str:
    """Bars of past checks, one a moment of checking: the share of models of each verdict."""
    moments = sorted({check.checked_at for check in history})[-MOST_CHECKS:]
    if len(moments) < 2:
        return ""
    counts = {moment: Counter(c.verdict for c in history if c.checked_at == moment) for moment in moments}
    tallest = max(counts[moment].total() for moment in moments)
    width, height = 640, 90
    bar = width / len(moments)
    drawn = []
    for place, moment in enumerate(moments):
        top = float(height)
        for verdict in WORTH:
            part = counts[moment][verdict] / tallest * height
            top -= part
            if part:
                drawn.append(
                    f'<rect x="{place * bar + 1:.1f}" y="{top:.1f}" width="{max(bar - 2, 1):.1f}" '
                    f'height="{part:.1f}" fill="{COLOURS[verdict]}"><title>{moment:%Y-%m-%d %H:%M}: '
                    f"{counts[moment][verdict]} {verdict}</title></rect>"
                )
    return (
        f'<h2>Past checks</h2><svg width="{width}" height="{height}" role="img">{"".join(drawn)}</svg>'
        f'<p class="sub">{moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}, a bar a check</p>'
    )


QUALITY: dict[str, str] = {
    "forecasts": "forecasts met",
    "mae": "MAE",
    "mase": "MASE",
    "coverage": "in band",
    "alarms_per_day": "alarms/day",
    "alarm_budget_per_day": "accepted",
    "age_days": "age, days",
}


def _quality(checked: Sequence[Checked]) -> str:
    """How good models were after the fact; stale ones first."""
    known = [one for one in checked if one.check.quality.get("forecasts") or one.check.quality.get("scored")]
    stale = [one for one in checked if one.check.quality.get("stale") and one not in known]
    if not known and not stale:
        return ""
    heads = "".join(f'<th class="num">{head}</th>' for head in QUALITY.values())
    rows = "".join(_quality_row(one) for one in [*stale, *known])
    return (
        "<details><summary>How good the models were after the fact</summary><table><tr><th>sensor</th>"
        f"<th>model</th>{heads}</tr>{rows}</table></details>"
    )


def _quality_row(one: Checked) -> str:
    quality: Mapping[str, Any] = one.check.quality
    numbers = "".join(f'<td class="num">{cell(quality.get(name))}</td>' for name in QUALITY)
    old = ' <span class="mark">stale</span>' if quality.get("stale") else ""
    name = html.escape(one.check.sensor_id)
    return f"<tr><td>{name}</td><td>{one.champion.version.kind}{old}</td>{numbers}</tr>"
