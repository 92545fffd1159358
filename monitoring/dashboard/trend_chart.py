"""The chart of the Trends tab: any sensors below each other on one time axis with one cursor.

Takes frames, alerts and maintenance windows, returns a figure. Loading them is in `tabs.trends`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

import pandas as pd

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import severity_label, verdict_name
from monitoring.alerts.maintenance import MaintenanceWindow
from monitoring.dashboard.chart_elements import (
    Figure,
    LimitLine,
    ValueRange,
    add_horizontal_line,
    axis_range,
    empty_figure,
    find_value_range,
    line,
    title,
    to_local_times,
)
from monitoring.dashboard.theme import Palette
from monitoring.i18n.translation import Translator, unit_symbol
from monitoring.notify.message import alert_name
from training.data.sensors import Sensor

PANEL_HEIGHT, AXIS_HEIGHT = 170, 70  # px
PANEL_GAP_SHARE = 0.12  # of a panel, between two of them
ALERT_OPACITY, MAINTENANCE_OPACITY = 0.18, 0.25
MARKER_HEIGHT_SHARE = 0.97  # of a panel, at which an alert is marked


@dataclass(frozen=True)
class TrendPanel:
    """One sensor of the chart: its readings (`timestamp, value`), limits, alerts and maintenance."""

    sensor: Sensor
    readings: pd.DataFrame
    limits: Sequence[LimitLine]
    alerts: Sequence[Alert]
    maintenance: Sequence[MaintenanceWindow]


def trend_figure(
    palette: Palette, _: Translator, panels: Sequence[TrendPanel], start: datetime, end: datetime
) -> Figure:
    """The panels from top to bottom, from `start` until `end` (naive UTC)."""
    figure = empty_figure(palette, _.language, PANEL_HEIGHT * len(panels) + AXIS_HEIGHT)
    layout = figure["layout"]
    value_axis = layout.pop("yaxis")
    shown = _local(_, start, end)
    layout["xaxis"] |= {
        "range": shown,
        "anchor": f"y{len(panels)}" if len(panels) > 1 else "y",
        "showspikes": True,
        "spikemode": "across",
        "spikesnap": "cursor",
        "spikethickness": 1,
        "spikecolor": palette.faint,
        **title(_.zone_name(end)),
    }
    layout |= {"hoversubplots": "axis", "showlegend": False}
    share = 1 / len(panels)
    for place, panel in enumerate(panels):
        axis = "" if place == 0 else str(place + 1)
        top = 1 - place * share
        value_range = find_value_range(panel.readings["value"].to_numpy(float), panel.limits)
        unit = unit_symbol(panel.sensor.unit)
        layout[f"yaxis{axis}"] = value_axis | {
            **title(unit),
            **axis_range(value_range),
            "domain": [top - share * (1 - PANEL_GAP_SHARE), top],
            "anchor": "x",
        }
        _add_panel(figure, palette, _, panel, axis, (start, end), value_range)
        name = f"<b>{escape(panel.sensor.id)}</b> {escape(panel.sensor.name)}"
        label = {"text": name, "showarrow": False, "xref": "paper", "x": 0, "xanchor": "left"}
        font = {"font": {"color": palette.text, "size": 12}}
        layout["annotations"].append(label | font | {"yref": "paper", "y": top, "yanchor": "bottom"})
    return figure


def _add_panel(
    figure: Figure,
    palette: Palette,
    _: Translator,
    panel: TrendPanel,
    axis: str,
    shown: tuple[datetime, datetime],
    value_range: ValueRange | None,
) -> None:
    times = to_local_times(panel.readings["timestamp"], _.zone)
    unit = escape(unit_symbol(panel.sensor.unit))
    drawn = line(
        times,
        panel.readings["value"],
        escape(panel.sensor.id),
        palette.history,
        1.5,
        hovertemplate="%{y:.5g} " + unit,
    )
    figure["data"].append(drawn | {"xaxis": "x", "yaxis": f"y{axis}"})
    for work in panel.maintenance:
        _add_span(figure, _, axis, (work.start, work.end), palette.usual, MAINTENANCE_OPACITY, shown)
    for alert in panel.alerts:
        span = (alert.began_at, alert.returned_at or alert.closed_at or shown[1])
        _add_span(figure, _, axis, span, palette.of(alert.severity), ALERT_OPACITY, shown)
    if panel.alerts:
        low, high = value_range or (0.0, 1.0)
        height = low + MARKER_HEIGHT_SHARE * (high - low)
        figure["data"].append(_alert_markers(palette, _, panel, axis, shown, height))
    for limit in panel.limits:
        if value_range is not None and value_range[0] <= limit.value <= value_range[1]:
            _add_limit(figure, palette, limit, axis)


def _add_span(
    figure: Figure,
    _: Translator,
    axis: str,
    span: tuple[datetime, datetime],
    colour: str,
    opacity: float,
    shown: tuple[datetime, datetime],
) -> None:
    """A coloured part of the time axis, as far as it is shown."""
    begin, end = max(span[0], shown[0]), min(span[1], shown[1])
    if begin > end:
        return
    x0, x1 = _local(_, begin, end)
    place = {"xref": "x", "x0": x0, "x1": x1, "yref": f"y{axis} domain", "y0": 0, "y1": 1, "layer": "below"}
    style = {"fillcolor": colour, "opacity": opacity, "line": {"color": colour, "width": 1}}
    figure["layout"]["shapes"].append({"type": "rect", **place, **style})


def _alert_markers(
    palette: Palette,
    _: Translator,
    panel: TrendPanel,
    axis: str,
    shown: tuple[datetime, datetime],
    height: float,
) -> Figure:
    """A marker where each alert began, with its number, severity, type and verdict."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _local(_, *(max(alert.began_at, shown[0]) for alert in panel.alerts)),
        "y": [height] * len(panel.alerts),
        "xaxis": "x",
        "yaxis": f"y{axis}",
        "marker": {
            "symbol": "triangle-down",
            "size": 10,
            "color": [palette.of(alert.severity) for alert in panel.alerts],
        },
        "text": [escape(alert_label(_, alert)) for alert in panel.alerts],
        "hovertemplate": "%{text}<extra></extra>",
        "name": _("Alerts"),
    }


def alert_label(_: Translator, alert: Alert) -> str:
    """An alert in one line: number, severity, type and verdict."""
    verdict = "" if alert.verdict is None else f", {verdict_name(_, alert.verdict)}"
    return f"{alert.id} {severity_label(_, alert.severity)}, {alert_name(_, alert)}{verdict}"


def _add_limit(figure: Figure, palette: Palette, limit: LimitLine, axis: str) -> None:
    colour = palette.of(limit.weight)
    add_horizontal_line(
        figure, limit.value, limit.label, colour, dash="dot", side="right", size=11, axis=axis
    )
    # All panels share one time axis.
    for element in (figure["layout"]["shapes"][-1], figure["layout"]["annotations"][-1]):
        element["xref"] = "x domain"


def _local(_: Translator, *times: datetime) -> list[datetime]:
    """Times as the axis shows them: the wall clock of the site."""
    return [at.to_pydatetime() for at in to_local_times(pd.Series(times), _.zone)]
