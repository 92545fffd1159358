"""The page's charts: history, forecast, anomalies and scores, in one house style.

Knows figures, as the plain values that Plotly's scripts take: its own objects check each line they are given,
which took ten times as long as drawing. What is drawn comes in as frames; words come in translated, names are
escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from babel.dates import format_datetime

from monitoring.dashboard.theme import FONT_FAMILY, Palette
from monitoring.i18n.translation import Translator
from training.data.sensors import Sensor

CHART_HEIGHT = 430
SCORE_PANEL_SHARE = 0.285  # of a chart's height, where the scores stand below the readings
CRITICAL_WEIGHT = 4  # the weight of a critical limit
MIN_LABEL_GAP_SHARE = 0.05  # of an axis, that two of its lines are apart where each is named
PLOTLY_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}
# What stands below a season's one turn: how many marks, and how a time is written there.
SEASON_TICKS = {"daily": (8, "HH:mm"), "weekly": (7, "EEE"), "yearly": (12, "MMM")}

Figure = dict[str, Any]
ValueRange = tuple[float, float]


@dataclass(frozen=True)
class LimitLine:
    """A line at a value, with its name."""

    value: float
    name: str
    weight: int

    @property
    def visible_margin(self) -> float:
        """How far from the readings it is still drawn, as a share of their range."""
        return 1.5 if self.weight >= CRITICAL_WEIGHT else 0.3


@dataclass(frozen=True)
class LimitCrossing:
    """A moment at which a forecast says that a limit may be crossed."""

    at: datetime
    limit: LimitLine
    sentence: str
    weight: int = CRITICAL_WEIGHT


class ChartBuilder:
    """Draws in one palette, one language and one clock."""

    def __init__(self, palette: Palette, translator: Translator) -> None:
        self.palette = palette
        self.translator = translator

    def local_times(self, times: pd.Series | Sequence[datetime]) -> pd.Series:
        """Times by the reader's clock; a chart knows no zones."""
        return to_local_times(pd.Series(times), self.translator.zone)

    def forecast(
        self,
        sensor: Sensor,
        history: pd.DataFrame,
        forecast: pd.DataFrame,
        *,
        limits: Sequence[LimitLine] = (),
        crossings: Sequence[LimitCrossing] = (),
    ) -> Figure:
        """What was measured, what is expected, its band, the limits, and where one may be crossed."""
        drawn_values = np.concatenate([history["value"], forecast["lower_bound"], forecast["upper_bound"]])
        span = value_range(drawn_values, limits)
        figure = self._figure(CHART_HEIGHT)
        figure["data"] = [
            self._measured_line(history),
            *self._forecast_lines(_join_forecast(history, forecast)),
            *(self._crossing_marker(crossing) for crossing in crossings),
        ]
        figure["layout"]["yaxis"] |= _title(axis_title(sensor)) | _axis_range(span)
        self._add_limits(figure, limits, span)
        self._add_newest_marker(figure, history)
        return figure

    def anomalies(
        self,
        sensor: Sensor,
        history: pd.DataFrame,
        scores: pd.DataFrame,
        *,
        average: float | None,
        deviation: float | None,
        limits: Sequence[LimitLine] = (),
    ) -> Figure:
        """Readings with the odd ones marked, over their scores and the threshold."""
        _, span = self.translator, value_range(history["value"].to_numpy(), limits)
        figure = self._figure(CHART_HEIGHT + 90)
        figure["data"] = [
            self._measured_line(history),
            self._anomaly_markers(scores),
            self._score_line(scores),
        ]
        layout = figure["layout"]
        layout["xaxis2"] = layout["xaxis"] | {"anchor": "y2"}
        layout["xaxis"] |= {"matches": "x2", "showticklabels": False}
        layout["yaxis2"] = layout["yaxis"] | {
            **_title(_("Score")),
            "anchor": "x2",
            "domain": [0, SCORE_PANEL_SHARE],
            "range": [0, 1.02],
            "dtick": 0.5,
        }
        layout["yaxis"] |= {
            **_title(axis_title(sensor)),
            "anchor": "x",
            "domain": [SCORE_PANEL_SHARE + 0.05, 1],
            **_axis_range(span),
        }
        self._add_usual_band(figure, average, deviation, span)
        self._add_limits(figure, limits, span)
        self._add_threshold(figure, scores)
        return figure

    def component(self, frame: pd.DataFrame, *, unit: str, season: str | None) -> Figure:
        """One part of a forecaster: its trend, or one turn of a season by the reader's clock."""
        figure = self._figure(210)
        local_frame = frame.assign(timestamps=self.local_times(frame["timestamps"]))
        if season in SEASON_TICKS:
            local_frame = align_season(frame, local_frame)
            count, pattern = SEASON_TICKS[season]
            tick_times = local_frame["timestamps"].iloc[:: max(1, len(local_frame) // count)]
            tick_texts = [
                format_datetime(mark, pattern, locale=self.translator.language) for mark in tick_times
            ]
            figure["layout"]["xaxis"] |= {"tickvals": tick_times, "ticktext": tick_texts, "showspikes": False}
            figure["layout"]["hovermode"] = "closest"
        line = _line(
            local_frame["timestamps"],
            local_frame["value"],
            "",
            self.palette.forecast,
            2,
            hovertemplate="%{y:.4g}",
        )
        figure["data"] = [line | {"showlegend": False}]
        figure["layout"]["yaxis"] |= _title(unit)
        return figure

    def _figure(self, height: int) -> Figure:
        colours, language = self.palette, self.translator.language
        axis = {"gridcolor": colours.line, "linecolor": colours.line, "zeroline": False, "ticks": ""}
        axis |= {"automargin": True}
        # Where nothing was scored yet, there is no time to tell the axis by.
        times = axis | {
            "type": "date",
            "showgrid": False,
            "hoverformat": HOVER_FORMATS.get(language, HOVER_FORMATS["en"]),
        }
        if language.startswith("pt"):
            times["tickformatstops"] = NUMERIC_TICK_FORMATS  # the charts' own names of months are English
        layout = {
            "template": {},
            "height": height,
            "margin": {"l": 8, "r": 8, "t": 36, "b": 44},
            "font": {"family": FONT_FAMILY, "size": 13, "color": colours.text},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "x unified",
            "hoverlabel": {
                "bgcolor": colours.card,
                "bordercolor": colours.line,
                "font": {"color": colours.text},
            },
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
            "separators": ",." if language.startswith("pt") else ".,",
            "uirevision": "kept",  # a refresh leaves what the reader has zoomed into
            "xaxis": times,
            "yaxis": axis,
            "shapes": [],
            "annotations": [],
        }
        return {"data": [], "layout": layout}

    def _measured_line(self, history: pd.DataFrame) -> Figure:
        _, times = self.translator, self.local_times(history["timestamp"])
        return _line(times, history["value"], _("Measured"), self.palette.history, 1.6)

    def _forecast_lines(self, joined: pd.DataFrame) -> list[Figure]:
        """The edges of the band, then what is expected."""
        _, colours, times = self.translator, self.palette, self.local_times(joined["timestamps"])
        upper, lower = (
            _line(times, joined[column], _("Where 95 % are expected"), colours.forecast, 0.6)
            | {"hoverinfo": "skip", "showlegend": filled}
            | ({"fill": "tonexty", "fillcolor": colours.band} if filled else {})
            for column, filled in (("upper_bound", False), ("lower_bound", True))
        )
        expected = _line(
            times, joined["forecasted_values"], _("Expected"), colours.forecast, 2.4, dash="dash"
        )
        expected["customdata"] = np.column_stack([joined["lower_bound"], joined["upper_bound"]])
        expected["hovertemplate"] = "%{y:.5g}  (%{customdata[0]:.5g} … %{customdata[1]:.5g})"
        return [upper, lower, expected]

    def _anomaly_markers(self, scores: pd.DataFrame) -> Figure:
        _, colours = self.translator, self.palette
        anomalies = scores[scores["is_anomaly"].fillna(value=False).astype(bool)]
        reasons = [escape(text or "") for text in anomalies["reason"].fillna("")]
        return {
            "type": "scatter",
            "x": self.local_times(anomalies["timestamp"]),
            "y": anomalies["value"],
            "name": _("Odd"),
            "mode": "markers",
            "marker": {
                "color": colours.danger,
                "size": 10,
                "symbol": "triangle-up",
                "line": {"color": colours.text, "width": 0.6},
            },
            "customdata": np.column_stack([anomalies["anomaly_score"], reasons]),
            "hovertemplate": "%{y:.5g}<br>" + _("score") + " %{customdata[0]:.2f}<br>%{customdata[1]}",
        }

    def _score_line(self, scores: pd.DataFrame) -> Figure:
        _, colours, times = self.translator, self.palette, self.local_times(scores["timestamp"])
        line = _line(
            times,
            scores["anomaly_score"],
            _("Score"),
            colours.forecast,
            1.3,
            hovertemplate="%{y:.2f}",
        )
        return line | {"fill": "tozeroy", "fillcolor": colours.band, "xaxis": "x2", "yaxis": "y2"}

    def _crossing_marker(self, crossing: LimitCrossing) -> Figure:
        [moment] = self.local_times([crossing.at])
        return {
            "type": "scatter",
            "x": [moment],
            "y": [crossing.limit.value],
            "mode": "markers",
            "marker": {"symbol": "diamond", "size": 12, "color": self.palette.of(crossing.weight)},
            "name": escape(crossing.sentence),
            "hovertemplate": escape(crossing.sentence),
        }

    def _add_limits(self, figure: Figure, limits: Sequence[LimitLine], span: ValueRange | None) -> None:
        """Lines at the limits; one so far away that it would flatten the readings is named at the edge."""
        low, high = span or (np.nan, np.nan)
        for limit in limits if span else ():
            colour = self.palette.of(limit.weight)
            if low <= limit.value <= high:
                _add_horizontal_line(figure, limit.value, limit.name, colour, dash="dot", side="left")
            else:
                above = limit.value > high
                text = f"{'↑' if above else '↓'} {limit.name}"
                edge = {"y": 1 if above else 0, "yref": "y domain", "yanchor": "top" if above else "bottom"}
                figure["layout"]["annotations"].append(_annotation(text, colour, "left", 12) | edge)

    def _add_newest_marker(self, figure: Figure, history: pd.DataFrame) -> None:
        if history.empty:
            return
        _, [moment] = self.translator, self.local_times([history["timestamp"].iloc[-1]])
        line = {"color": self.palette.usual, "width": 1, "dash": "dot"}
        figure["layout"]["shapes"].append(
            {"type": "line", "x0": moment, "x1": moment, "yref": "y domain", "y0": 0, "y1": 1, "line": line}
        )
        note = _annotation(_("newest reading"), self.palette.faint, "right", 12)
        position = {"x": moment, "xref": "x", "xshift": -4, "y": 1, "yref": "paper", "yanchor": "top"}
        figure["layout"]["annotations"].append(note | position)

    def _add_usual_band(
        self, figure: Figure, average: float | None, deviation: float | None, span: ValueRange | None
    ) -> None:
        if average is None or deviation is None:
            return
        _, colours = self.translator, self.palette
        edges = {"y0": average - deviation, "y1": average + deviation}
        band = {"type": "rect", "xref": "x domain", "x0": 0, "x1": 1, **edges}
        figure["layout"]["shapes"].append(
            band | {"fillcolor": colours.usual, "opacity": 0.12, "line": {"width": 0}}
        )
        labels_fit = span is None or deviation > MIN_LABEL_GAP_SHARE * (span[1] - span[0])
        for value, name in (
            (average, _("average") if labels_fit else _("average ± deviation")),
            (average + deviation, _("+1 deviation") if labels_fit else ""),
            (average - deviation, _("-1 deviation") if labels_fit else ""),
        ):
            dash = "solid" if value == average else "dot"
            _add_horizontal_line(
                figure,
                value,
                name,
                colours.usual,
                dash=dash,
                side="right",
                width=1,
                ink=colours.faint,
                size=11,
            )

    def _add_threshold(self, figure: Figure, scores: pd.DataFrame) -> None:
        thresholds = scores["threshold"].dropna()
        if thresholds.empty:
            return
        _, value, colour = self.translator, float(thresholds.iloc[-1]), self.palette.danger
        _add_horizontal_line(
            figure,
            value,
            _("threshold"),
            colour,
            dash="dot",
            side="left",
            width=1.2,
            size=11,
            axis="2",
        )


def value_range(drawn_values: np.ndarray, limits: Sequence[LimitLine]) -> ValueRange | None:
    """From where to where values are drawn: readings and near limits, with a margin; None without any."""
    finite = drawn_values[np.isfinite(drawn_values)]
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    extent = (high - low) or abs(high) or 1.0
    near_limits = [
        one.value
        for one in limits
        if low - one.visible_margin * extent <= one.value <= high + one.visible_margin * extent
    ]
    low, high = min([low, *near_limits]), max([high, *near_limits])
    margin = 0.06 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def _line(
    times: pd.Series,
    values: pd.Series,
    name: str,
    colour: str,
    width: float,
    *,
    dash: str = "solid",
    **more: str,
) -> Figure:
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "scatter", "mode": "lines", "x": times, "y": values, "name": name, "line": line, **more}


def _add_horizontal_line(
    figure: Figure,
    value: float,
    name: str,
    colour: str,
    *,
    dash: str,
    side: str,
    width: float = 1.4,
    ink: str | None = None,
    size: int = 12,
    axis: str = "",
) -> None:
    """A line at a value from end to end, named above it at one side."""
    x, y = f"x{axis} domain", f"y{axis}"
    ends = {"xref": x, "x0": 0, "x1": 1, "yref": y, "y0": value, "y1": value}
    line = {"color": colour, "width": width, "dash": dash}
    figure["layout"]["shapes"].append({"type": "line", **ends, "line": line})
    if name:
        note = _annotation(name, ink or colour, side, size)
        figure["layout"]["annotations"].append(note | {"xref": x, "y": value, "yref": y, "yanchor": "bottom"})


def _annotation(text: str, colour: str, side: str, size: int) -> Figure:
    """Escaped words at the left or right edge."""
    font = {"color": colour, "size": size}
    position = {"x": 0 if side == "left" else 1, "xref": "x domain", "xanchor": side}
    return {"text": escape(text), "font": font, "showarrow": False, **position}


def _title(text: str) -> Figure:
    return {"title": {"text": escape(text)}}


def _axis_range(span: ValueRange | None) -> Figure:
    return {} if span is None else {"range": list(span)}


def align_season(utc: pd.DataFrame, local: pd.DataFrame) -> pd.DataFrame:
    """One turn of a season, begun where the reader's clock begins it."""
    first, length = (
        utc["timestamps"].iloc[0],
        len(utc) * (utc["timestamps"].iloc[1] - utc["timestamps"].iloc[0]),
    )
    since = (local["timestamps"] - first) % length
    return local.assign(timestamps=first + since).sort_values("timestamps").reset_index(drop=True)


HOVER_FORMATS = {"en": "%Y-%m-%d %H:%M:%S", "pt": "%d/%m/%Y %H:%M:%S"}


NUMERIC_TICK_FORMATS = [
    {"dtickrange": [None, 86_399_000], "value": "%H:%M\n%d/%m"},
    {"dtickrange": [86_400_000, "M1"], "value": "%d/%m\n%Y"},
    {"dtickrange": ["M1", None], "value": "%m/%Y"},
]


def axis_title(sensor: Sensor) -> str:
    """What the axis of a sensor's values is called."""
    return " ".join(part for part in (sensor.type, f"({sensor.unit})" if sensor.unit else "") if part)


def to_local_times(times: pd.Series, zone: ZoneInfo) -> pd.Series:
    """Naive UTC times as a wall clock shows them."""
    return pd.to_datetime(times).dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)


def _join_forecast(history: pd.DataFrame, forecast: pd.DataFrame) -> pd.DataFrame:
    """The forecast from the newest reading on, so that nothing gapes between the lines."""
    columns = ["timestamps", "forecasted_values", "lower_bound", "upper_bound"]
    if history.empty:
        return forecast[columns]
    last = history.iloc[-1]
    first = pd.DataFrame([[last["timestamp"], *[last["value"]] * 3]], columns=columns)
    return pd.concat([first, forecast[columns]], ignore_index=True)
