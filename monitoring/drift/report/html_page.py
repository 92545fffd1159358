"""Render the fleet page of drift checks: one HTML file without external resources, in the site's language.

The costliest drift comes first; every text from outside is escaped. Charts are drawn by `charts`, the report
of a single model by `evidently_adapter`.
"""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from monitoring.drift.report.charts import (
    VERDICT_COLOURS,
    VERDICT_ORDER,
    render_check_history,
    render_sparkline,
)
from monitoring.drift.report.wording import model_name, verdict_heading, verdict_name
from monitoring.drift.result import DriftCheckResult
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from training.operations.console import format_cell

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
    words: Translator,
) -> bytes:
    """The page; `links` are the reports of single models, by sensor and model type."""
    _ = words
    verdicts = Counter(one.check.verdict for one in checked)
    tiles = "".join(
        f'<div class="tile" style="border-color:{VERDICT_COLOURS[verdict]}"><b>{verdicts[verdict]}</b>'
        f"{verdict_heading(_, verdict)}<small>{_sensor_count_text(_, checked, verdict)}</small></div>"
        for verdict in VERDICT_ORDER
        if verdicts[verdict]
    )
    ranked = sorted(
        checked, key=lambda one: (VERDICT_ORDER.index(one.check.verdict), -(one.check.cost or 0.0))
    )
    notable = [one for one in ranked if one.check.verdict is not DriftVerdict.STEADY]
    steady = [one for one in ranked if one.check.verdict is DriftVerdict.STEADY]
    bars = render_check_history(history, words)
    title = _("Drift of the fleet")
    steady_summary = _.plural("{count} steady model", "{count} steady models", len(steady))
    return f"""<!DOCTYPE html>
<html lang="{_.language}"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>{CSS}</style></head><body>
<h1>{title}</h1>
<p class="sub">{_subtitle(_, checked, now)}</p>
<div class="tiles">{tiles}</div>
{f"<h2>{_('Past checks')}</h2>{bars}" if bars else ""}
<h2>{_("Models that need attention, the highest cost first")}</h2>
{_render_table(_, notable, links, with_chart=True) if notable else f"<p>{_('None.')}</p>"}
<p class="sub">{_cost_note(_)}</p>
<details><summary>{steady_summary}</summary>
{_render_table(_, steady, links, with_chart=False) if steady else ""}</details>
{_render_quality(_, ranked)}
</body></html>""".encode()


def _subtitle(_: Translator, checked: Sequence[DriftCheckResult], now: datetime) -> str:
    models = _.plural("{count} model", "{count} models", len(checked))
    counts = _("{models} of {sensors}", models=models, sensors=_sensor_count_text(_, checked))
    rate = checked[0].check.false_alarm_rate if checked else 0.0
    note = _(
        "Each model is compared with the window it was trained on. Of those that have not drifted, up to "
        "{rate} may be reported as drifted by chance.",
        rate=_.share(rate),
    )
    return f"{_.moment(now)} · {counts}. {note}"


def _cost_note(_: Translator) -> str:
    return _(
        "Cost: growth of the forecast error plus alarms a day above the budget; 1 means a doubled error or "
        "twice the accepted alarms. Shaded: readings since training; the line marks the onset."
    )


def _render_table(
    _: Translator,
    checked: Sequence[DriftCheckResult],
    links: Mapping[tuple[str, str], str],
    *,
    with_chart: bool,
) -> str:
    chart = f"<th>{_('window | since')}</th>" if with_chart else ""
    rows = "".join(_render_row(_, one, links, with_chart=with_chart) for one in checked)
    columns = (_("Sensor"), _("Model"), _("Verdict"), _("Why"), _("Since"))
    heads = "".join(f"<th>{head}</th>" for head in columns)
    return f'<table><tr>{heads}<th class="num">{_("Cost")}</th>{chart}</tr>{rows}</table>'


def _render_row(
    _: Translator, result: DriftCheckResult, links: Mapping[tuple[str, str], str], *, with_chart: bool
) -> str:
    check = result.check
    name = html.escape(check.sensor_id)
    if result.sensor.name:
        name += f"<br><span class=todo>{html.escape(result.sensor.name)}</span>"
    model = html.escape(model_name(_, result))
    link = links.get((check.sensor_id, check.model_type))
    if link:
        model = f'<a href="{html.escape(link, quote=True)}">{model}</a>'
    why = html.escape(_.reason_text(check.reasons, check.reason))
    if advice := _.reason_text(check.advice_reasons, check.advice or ""):
        why += f'<br><span class="todo">{html.escape(advice)}</span>'
    since = _.moment(check.since) if check.since else ""
    chart = ""
    if with_chart:
        drawn = render_sparkline(result.view.window, result.plotted_readings, begun=check.since)
        chart = f"<td>{drawn}</td>"
    colour = VERDICT_COLOURS[check.verdict]
    return (
        f'<tr><td>{name}</td><td class="when">{model}</td>'
        f'<td class="mark" style="color:{colour}">{verdict_name(_, check.verdict)}</td><td>{why}</td>'
        f'<td class="when">{since}</td><td class="num">{format_cell(check.cost)}</td>{chart}</tr>'
    )


def _sensor_count_text(
    _: Translator, checked: Sequence[DriftCheckResult], verdict: DriftVerdict | None = None
) -> str:
    chosen = {one.check.sensor_id for one in checked if verdict in (None, one.check.verdict)}
    return _.plural("{count} sensor", "{count} sensors", len(chosen))


def _quality_columns(_: Translator) -> dict[str, str]:
    return {
        "forecasts": _("forecasts compared"),
        "mae": "MAE",
        "mase": "MASE",
        "coverage": _("inside interval"),
        "alarms_per_day": _("alarms a day"),
        "alarm_budget_per_day": _("accepted"),
        "age_days": _("age in days"),
    }


def _render_quality(_: Translator, checked: Sequence[DriftCheckResult]) -> str:
    """The recent accuracy of the models; stale ones first."""
    with_quality = [
        one for one in checked if one.check.quality.get("forecasts") or one.check.quality.get("scored")
    ]
    stale = [one for one in checked if one.check.quality.get("stale") and one not in with_quality]
    if not with_quality and not stale:
        return ""
    heads = "".join(f'<th class="num">{head}</th>' for head in _quality_columns(_).values())
    rows = "".join(_render_quality_row(_, one) for one in [*stale, *with_quality])
    return (
        f"<details><summary>{_('Recent accuracy of the models')}</summary><table><tr><th>{_('Sensor')}</th>"
        f"<th>{_('Model')}</th>{heads}</tr>{rows}</table></details>"
    )


def _render_quality_row(_: Translator, result: DriftCheckResult) -> str:
    quality = result.check.quality
    numbers = "".join(
        f'<td class="num">{format_cell(quality.get(name))}</td>' for name in _quality_columns(_)
    )
    stale = f' <span class="mark">{_("stale")}</span>' if quality.get("stale") else ""
    name, model = html.escape(result.check.sensor_id), html.escape(model_name(_, result))
    return f"<tr><td>{name}</td><td>{model}{stale}</td>{numbers}</tr>"
