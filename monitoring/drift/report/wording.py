"""The texts of drift reports in the reader's language: verdicts, origins, statistics and a model's summary.

Reasons are rendered by the translator; the layout of the pages is in `html_page` and `evidently_adapter`.
"""

import html
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.drift.result import DriftCheckResult
from monitoring.drift.verdict import DriftOrigin, DriftVerdict
from monitoring.i18n.translation import Translator
from training.kinds import Kind
from training.operations.console import format_cell


def verdict_name(_: Translator, verdict: DriftVerdict) -> str:
    """A verdict in a table."""
    return {
        DriftVerdict.STEADY: _("steady"),
        DriftVerdict.WITHHELD: _("too little history"),
        DriftVerdict.NO_DATA: _("no data"),
        DriftVerdict.AGED: _("window has aged"),
        DriftVerdict.DRIFTED: _("drifted"),
    }[verdict]


def verdict_heading(_: Translator, verdict: DriftVerdict) -> str:
    """A verdict below the number of models that have it."""
    return {
        DriftVerdict.STEADY: _("steady models"),
        DriftVerdict.WITHHELD: _("without a verdict"),
        DriftVerdict.NO_DATA: _("without data"),
        DriftVerdict.AGED: _("with an aged window"),
        DriftVerdict.DRIFTED: _("drifted models"),
    }[verdict]


def model_name(_: Translator, result: DriftCheckResult) -> str:
    """Kind and version of a model: `detector v3`."""
    kinds = {Kind.DETECTOR: _("detector"), Kind.FORECASTER: _("forecaster")}
    return f"{kinds[result.champion.version.kind]} v{result.check.model_version}"


def origin_name(_: Translator, origin: str | None) -> str:
    """The likely origin of a drift; empty if it is undecided."""
    names = {
        DriftOrigin.INSTRUMENT.value: _("instrument"),
        DriftOrigin.PROCESS.value: _("process"),
        DriftOrigin.MODEL.value: _("model"),
    }
    return names[origin] if origin else ""


def report_title(_: Translator, result: DriftCheckResult) -> str:
    """The title of one model's report."""
    return f"{result.sensor.title}: {model_name(_, result)}"


def summary_lines(_: Translator, result: DriftCheckResult) -> dict[str, str]:
    """The summary of one model's report, by heading."""
    check = result.check
    why = _.reason_text(check.reasons, check.reason)
    readings = _.counted(check.readings, "reading")
    lines = {
        _("Verdict"): f"{verdict_name(_, check.verdict)}: {why}",
        _("Since"): _.moment(check.since) if check.since else "",
        _("Likely origin"): origin_name(_, check.origin),
        _("Advice"): _.reason_text(check.advice_reasons, check.advice or ""),
        _("Checked"): f"{_interval_text(_, check.start, check.end)}, {readings}",
        _("Trained on"): _interval_text(_, check.train_start, check.train_end),
        _("False-alarm rate"): _("{rate} per check", rate=_.share(check.false_alarm_rate)),
    }
    return {heading: text for heading, text in lines.items() if text}


def _interval_text(_: Translator, start: datetime | None, end: datetime | None) -> str:
    return _("{start} to {end}", start=_.moment(start), end=_.moment(end)) if start and end else ""


def render_measures(_: Translator, measures: Mapping[str, Mapping[str, Any]]) -> str:
    """An HTML table of all statistics, the smallest p first: before, now, shift and alarm bound."""
    if not measures:
        return ""
    columns = {
        "window": _("window"),
        "now": _("now"),
        "shift": _("moved by"),
        "bound": _("alarm from"),
        "p": "p",
    }
    names = _statistic_names(_)
    rows = "".join(
        f"<tr><td>{html.escape(names.get(name, name))}</td>"
        + "".join(f'<td class="num">{format_cell(float(measure[column]))}</td>' for column in columns)
        + "</tr>"
        for name, measure in sorted(measures.items(), key=lambda item: float(item[1]["p"]))
    )
    heads = "".join(f'<th class="num">{head}</th>' for head in columns.values())
    return f"<table><tr><th>{_('Statistic')}</th>{heads}</tr>{rows}</table>"


def _statistic_names(_: Translator) -> dict[str, str]:
    return {
        "level": _("level, in robust SDs of the deviations from the daily profile"),
        "noise": _("step between readings, log"),
        "spread": _("spread around the daily profile, log"),
        "cycle": _("depth of the daily profile, 1 as usual"),
        "low": _("low readings, in SDs"),
        "high": _("high readings, in SDs"),
        "below": _("low deviations from the daily profile, in robust SDs"),
        "above": _("high deviations from the daily profile, in robust SDs"),
        "score": _("anomaly score"),
        "error": _("forecast error, log"),
        "missing": _("share of readings missing"),
        "step": _("time between readings, log seconds"),
    }
