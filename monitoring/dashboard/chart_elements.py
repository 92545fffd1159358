"""Elements of charts: the empty figure, lines, limit lines, labels and value ranges in the house style.

Figures are plain values as Plotly's scripts take them: Plotly's own objects validate each value, which took
ten times as long as drawing. All text is escaped here. Which elements make up which chart is in `charts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from monitoring.dashboard.theme import FONT_FAMILY, Palette
from monitoring.i18n.translation import unit_symbol
from training.common.arrays import Floats
from training.data.sensors import Sensor

CRITICAL_WEIGHT = 4  # the weight of a critical limit
PLOTLY_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}
HOVER_FORMATS = {"en": "%Y-%m-%d %H:%M:%S", "pt": "%d/%m/%Y %H:%M:%S"}
NUMERIC_TICK_FORMATS = [
    {"dtickrange": [None, 86_399_000], "value": "%H:%M\n%d/%m"},
    {"dtickrange": [86_400_000, "M1"], "value": "%d/%m\n%Y"},
    {"dtickrange": ["M1", None], "value": "%m/%Y"},
]

Figure = dict[str, Any]
ValueRange = tuple[float, float]


@dataclass(frozen=True)
class LimitLine:
    """A line at a value, with its label; `weight` is that of a severity."""

    value: float
    label: str
    weight: int

    @property
    def visible_margin(self) -> float:
        """How far from the readings it is still drawn, as a share of their range."""
        return 1.5 if self.weight >= CRITICAL_WEIGHT else 0.3


@dataclass(frozen=True)
class LimitCrossing:
    """A time at which a limit may be crossed according to a forecast."""

    at: datetime
    limit: LimitLine
    text: str
    weight: int = CRITICAL_WEIGHT


def empty_figure(palette: Palette, language: str, height: int) -> Figure:
    """A figure without data: axes, fonts and colours."""
    axis = {
        "gridcolor": palette.line,
        "linecolor": palette.line,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
    }
    # Plotly cannot infer the type of an axis without data.
    times = axis | {
        "type": "date",
        "showgrid": False,
        "hoverformat": HOVER_FORMATS.get(language, HOVER_FORMATS["en"]),
    }
    if language.startswith("pt"):
        times["tickformatstops"] = NUMERIC_TICK_FORMATS  # Plotly's names of months are English
    layout = {
        "template": {},
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 36, "b": 44},
        "font": {"family": FONT_FAMILY, "size": 13, "color": palette.text},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": palette.card,
            "bordercolor": palette.line,
            "font": {"color": palette.text},
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
        "separators": ",." if language.startswith("pt") else ".,",
        "uirevision": "kept",  # a refresh does not reset the zoom
        "xaxis": times,
        "yaxis": axis,
        "shapes": [],
        "annotations": [],
    }
    return {"data": [], "layout": layout}


def line(
    times: pd.Series,
    values: pd.Series,
    name: str,
    colour: str,
    width: float,
    *,
    dash: str = "solid",
    **options: str,
) -> Figure:
    """A line through values."""
    style = {"color": colour, "width": width, "dash": dash}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": times,
        "y": values,
        "name": name,
        "line": style,
        **options,
    }


def add_horizontal_line(
    figure: Figure,
    value: float,
    label: str,
    colour: str,
    *,
    dash: str,
    side: str,
    width: float = 1.4,
    label_colour: str | None = None,
    size: int = 12,
    axis: str = "",
) -> None:
    """A line at a value over the whole width, labelled above it at one side."""
    x, y = f"x{axis} domain", f"y{axis}"
    ends = {"xref": x, "x0": 0, "x1": 1, "yref": y, "y0": value, "y1": value}
    style = {"color": colour, "width": width, "dash": dash}
    figure["layout"]["shapes"].append({"type": "line", **ends, "line": style})
    if label:
        note = annotation(label, label_colour or colour, side, size)
        figure["layout"]["annotations"].append(note | {"xref": x, "y": value, "yref": y, "yanchor": "bottom"})


def add_limits(
    figure: Figure, limits: Sequence[LimitLine], value_range: ValueRange | None, palette: Palette
) -> None:
    """Lines at the limits; those so far away that they would flatten the readings are named at the edge."""
    if value_range is None:
        return
    low, high = value_range
    for limit in limits:
        if low <= limit.value <= high:
            colour = palette.of(limit.weight)
            add_horizontal_line(figure, limit.value, limit.label, colour, dash="dot", side="left")
    above = sorted((limit for limit in limits if limit.value > high), key=lambda limit: limit.value)
    below = sorted((limit for limit in limits if limit.value < low), key=lambda limit: -limit.value)
    for arrow, distant, y, anchor in (("↑", above, 1, "top"), ("↓", below, 0, "bottom")):
        if distant:
            labels = " · ".join(limit.label for limit in distant)
            note = annotation(f"{arrow} {labels}", palette.of(distant[0].weight), "left", 12)
            figure["layout"]["annotations"].append(note | {"y": y, "yref": "y domain", "yanchor": anchor})


def annotation(text: str, colour: str, side: str, size: int) -> Figure:
    """A label at the left or right edge."""
    font = {"color": colour, "size": size}
    position = {"x": 0 if side == "left" else 1, "xref": "x domain", "xanchor": side}
    return {"text": escape(text), "font": font, "showarrow": False, **position}


def title(text: str) -> Figure:
    """The title of an axis."""
    return {"title": {"text": escape(text)}}


def axis_title(sensor: Sensor) -> str:
    """The title of the axis of a sensor's values: `pressure (bar)`."""
    unit = f"({unit_symbol(sensor.unit)})" if sensor.unit else ""
    return " ".join(part for part in (sensor.type, unit) if part)


def axis_range(value_range: ValueRange | None) -> Figure:
    """The range of an axis; none where there is nothing to draw."""
    return {} if value_range is None else {"range": list(value_range)}


def find_value_range(values: Floats, limits: Sequence[LimitLine]) -> ValueRange | None:
    """The range of values and near limits with a margin; None without any value."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    extent = (high - low) or abs(high) or 1.0
    near_limits = [
        limit.value
        for limit in limits
        if low - limit.visible_margin * extent <= limit.value <= high + limit.visible_margin * extent
    ]
    low, high = min([low, *near_limits]), max([high, *near_limits])
    margin = 0.06 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def to_local_times(times: pd.Series, zone: ZoneInfo) -> pd.Series:
    """Naive UTC times as naive times of a zone: Plotly has no time zones."""
    return pd.to_datetime(times).dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
