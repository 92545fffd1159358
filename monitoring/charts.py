"""The page's charts: history, forecast, anomalies and scores, in one house style.

Knows figures. What is drawn comes in as frames; words come in translated, names are escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from babel.dates import format_datetime
from plotly.subplots import make_subplots

from monitoring.page_look import FONT, Palette
from monitoring.translation import Words
from training.sensors import Sensor

HEIGHT = 430
CRITICAL = 4  # the weight of a critical limit
TOOLS = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}
# What stands below a season's one turn: how many marks, and how a time is written there.
SEASONS = {"daily": (8, "HH:mm"), "weekly": (7, "EEE"), "yearly": (12, "MMM")}


@dataclass(frozen=True)
class Limit:
    """A line at a value, with its name."""

    value: float
    name: str
    weight: int

    @property
    def reach(self) -> float:
        """How far from the readings it is still drawn, as a share of their range."""
        return 1.5 if self.weight >= CRITICAL else 0.3


@dataclass(frozen=True)
class Crossing:
    """A moment at which a forecast says that a limit may be crossed."""

    at: datetime
    limit: Limit
    sentence: str
    weight: int = CRITICAL


class Pen:
    """Draws in one palette, one language and one clock."""

    def __init__(self, palette: Palette, words: Words) -> None:
        self.palette = palette
        self.words = words

    def clock(self, times: pd.Series | Sequence[datetime]) -> pd.Series:
        """Times by the reader's clock; a chart knows no zones."""
        return by_clock(pd.Series(times), self.words.zone)

    def forecast(
        self,
        sensor: Sensor,
        history: pd.DataFrame,
        forecast: pd.DataFrame,
        *,
        limits: Sequence[Limit] = (),
        crossings: Sequence[Crossing] = (),
    ) -> go.Figure:
        """What was measured, what is expected, its band, the limits, and where one may be crossed."""
        _, colours, figure = self.words, self.palette, self._figure(sensor)
        figure.add_scatter(
            x=self.clock(history["timestamp"]),
            y=history["value"],
            name=_("Measured"),
            mode="lines",
            line={"color": colours.history, "width": 1.6},
            connectgaps=False,
        )
        joined = _joined(history, forecast)
        times = self.clock(joined["timestamps"])
        for column, fill in (("upper_bound", None), ("lower_bound", "tonexty")):
            figure.add_scatter(
                x=times,
                y=joined[column],
                name=_("Where 95 % are expected"),
                mode="lines",
                line={"color": colours.forecast, "width": 0.6},
                fill=fill,
                fillcolor=colours.band,
                showlegend=fill is not None,
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=times,
            y=joined["forecasted_values"],
            name=_("Expected"),
            mode="lines",
            line={"color": colours.forecast, "width": 2.4, "dash": "dash"},
            customdata=np.column_stack([joined["lower_bound"], joined["upper_bound"]]),
            hovertemplate="%{y:.5g}  (%{customdata[0]:.5g} … %{customdata[1]:.5g})",
        )
        shown = np.concatenate([history["value"], forecast["lower_bound"], forecast["upper_bound"]])
        self._limits(figure, limits, shown)
        for crossing in crossings:
            self._crossing(figure, crossing)
        self._now(figure, history)
        return figure

    def anomalies(
        self,
        sensor: Sensor,
        history: pd.DataFrame,
        scores: pd.DataFrame,
        *,
        average: float | None,
        deviation: float | None,
        limits: Sequence[Limit] = (),
    ) -> go.Figure:
        """Readings with the odd ones marked, over their scores and the threshold."""
        _, colours = self.words, self.palette
        figure = make_subplots(
            rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05
        )
        self._styled(figure, HEIGHT + 90)
        figure.add_scatter(
            x=self.clock(history["timestamp"]),
            y=history["value"],
            name=_("Measured"),
            mode="lines",
            line={"color": colours.history, "width": 1.6},
            row=1,
            col=1,
        )
        odd = scores[scores["is_anomaly"].fillna(value=False).astype(bool)]
        figure.add_scatter(
            x=self.clock(odd["timestamp"]),
            y=odd["value"],
            name=_("Odd"),
            mode="markers",
            marker={
                "color": colours.danger,
                "size": 10,
                "symbol": "triangle-up",
                "line": {"color": colours.text, "width": 0.6},
            },
            customdata=np.column_stack(
                [odd["anomaly_score"], [escape(text or "") for text in odd["reason"].fillna("")]]
            ),
            hovertemplate="%{y:.5g}<br>" + _("score") + " %{customdata[0]:.2f}<br>%{customdata[1]}",
            row=1,
            col=1,
        )
        self._usual(figure, average, deviation)
        self._limits(figure, limits, history["value"].to_numpy(), row=1)
        figure.add_scatter(
            x=self.clock(scores["timestamp"]),
            y=scores["anomaly_score"],
            name=_("Score"),
            mode="lines",
            line={"color": colours.forecast, "width": 1.3},
            fill="tozeroy",
            fillcolor=colours.band,
            hovertemplate="%{y:.2f}",
            row=2,
            col=1,
        )
        self._threshold(figure, scores)
        figure.update_yaxes(title_text=escape(axis_title(sensor)), row=1, col=1)
        figure.update_yaxes(title_text=_("Score"), range=[0, 1.02], dtick=0.5, row=2, col=1)
        return figure

    def component(self, frame: pd.DataFrame, *, unit: str, season: str | None) -> go.Figure:
        """One part of a forecaster: its trend, or one turn of a season by the reader's clock."""
        figure = go.Figure()
        self._styled(figure, 210)
        shown = frame.assign(timestamps=self.clock(frame["timestamps"]))
        if season in SEASONS:
            shown = turned(frame, shown)
        figure.add_scatter(
            x=shown["timestamps"],
            y=shown["value"],
            mode="lines",
            line={"color": self.palette.forecast, "width": 2},
            showlegend=False,
            hovertemplate="%{y:.4g}",
        )
        figure.update_yaxes(title_text=escape(unit))
        if season in SEASONS:
            count, pattern = SEASONS[season]
            marks = shown["timestamps"].iloc[:: max(1, len(shown) // count)]
            texts = [format_datetime(mark, pattern, locale=self.words.language) for mark in marks]
            figure.update_xaxes(tickvals=marks, ticktext=texts, showspikes=False)
            figure.update_layout(hovermode="closest")
        return figure

    def _figure(self, sensor: Sensor) -> go.Figure:
        figure = go.Figure()
        self._styled(figure, HEIGHT)
        figure.update_yaxes(title_text=escape(axis_title(sensor)))
        return figure

    def _styled(self, figure: go.Figure, height: int) -> None:
        colours = self.palette
        axis = {"gridcolor": colours.line, "linecolor": colours.line, "zeroline": False, "ticks": ""}
        figure.update_layout(
            height=height,
            margin={"l": 8, "r": 8, "t": 36, "b": 44},
            font={"family": FONT, "size": 13, "color": colours.text},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            hovermode="x unified",
            hoverlabel={
                "bgcolor": colours.card,
                "bordercolor": colours.line,
                "font": {"color": colours.text},
            },
            legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
            separators=",." if self.words.language.startswith("pt") else ".,",
            uirevision="kept",  # a refresh leaves what the reader has zoomed into
        )
        # Where nothing was scored yet, there is no time to tell the axis by.
        figure.update_xaxes(
            **axis, type="date", showgrid=False, hoverformat=HOVER.get(self.words.language, HOVER["en"])
        )
        if self.words.language.startswith("pt"):
            figure.update_xaxes(tickformatstops=NUMBERED)  # the charts' own names of months are English
        figure.update_yaxes(**axis, automargin=True)

    def _limits(
        self, figure: go.Figure, limits: Sequence[Limit], shown: np.ndarray, *, row: int | None = None
    ) -> None:
        """Lines at the limits; one so far away that it would flatten the readings is named at the edge."""
        finite = shown[np.isfinite(shown)]
        if not len(finite):
            return
        place = {} if row is None else {"row": row, "col": 1}
        low, high = float(finite.min()), float(finite.max())
        room = (high - low) or abs(high) or 1.0
        near = [one for one in limits if low - one.reach * room <= one.value <= high + one.reach * room]
        low, high = min([low, *(one.value for one in near)]), max([high, *(one.value for one in near)])
        margin = 0.06 * ((high - low) or abs(high) or 1.0)
        figure.update_yaxes(range=[low - margin, high + margin], **place)
        for limit in limits:
            colour = self.palette.of(limit.weight)
            named = {"text": escape(limit.name), "font": {"color": colour, "size": 12}}
            if limit in near:
                figure.add_hline(
                    y=limit.value,
                    line={"color": colour, "width": 1.4, "dash": "dot"},
                    annotation=named,
                    annotation_position="top left",
                    **place,
                )
            else:
                above = limit.value > high
                figure.add_annotation(
                    **named | {"text": f"{'↑' if above else '↓'} {escape(limit.name)}"},
                    x=0,
                    xref="x domain",
                    xanchor="left",
                    y=1 if above else 0,
                    yref="y domain",
                    yanchor="top" if above else "bottom",
                    showarrow=False,
                )

    def _crossing(self, figure: go.Figure, crossing: Crossing) -> None:
        colour = self.palette.of(crossing.weight)
        [moment] = self.clock([crossing.at])
        figure.add_scatter(
            x=[moment],
            y=[crossing.limit.value],
            mode="markers",
            marker={"symbol": "diamond", "size": 12, "color": colour},
            name=crossing.sentence,
            hovertemplate=escape(crossing.sentence),
        )

    def _now(self, figure: go.Figure, history: pd.DataFrame) -> None:
        if history.empty:
            return
        [moment] = self.clock([history["timestamp"].iloc[-1]])
        figure.add_vline(x=moment, line={"color": self.palette.usual, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=moment,
            y=1,
            yref="paper",
            text=self.words("newest reading"),
            showarrow=False,
            xanchor="right",
            yanchor="top",
            xshift=-4,
            font={"color": self.palette.faint, "size": 12},
        )

    def _usual(self, figure: go.Figure, average: float | None, deviation: float | None) -> None:
        if average is None or deviation is None:
            return
        _, colours = self.words, self.palette
        figure.add_hrect(
            y0=average - deviation,
            y1=average + deviation,
            fillcolor=colours.usual,
            opacity=0.12,
            line_width=0,
            row=1,
            col=1,
        )
        for value, name in (
            (average, _("average")),
            (average + deviation, _("+1 deviation")),
            (average - deviation, _("-1 deviation")),
        ):
            figure.add_hline(
                y=value,
                line={"color": colours.usual, "width": 1, "dash": "solid" if value == average else "dot"},
                annotation={"text": name, "font": {"color": colours.faint, "size": 11}},
                annotation_position="top right",
                row=1,
                col=1,
            )

    def _threshold(self, figure: go.Figure, scores: pd.DataFrame) -> None:
        known = scores["threshold"].dropna()
        if known.empty:
            return
        figure.add_hline(
            y=float(known.iloc[-1]),
            line={"color": self.palette.danger, "width": 1.2, "dash": "dot"},
            annotation={"text": self.words("threshold"), "font": {"color": self.palette.danger, "size": 11}},
            annotation_position="top left",
            row=2,
            col=1,
        )


def turned(utc: pd.DataFrame, local: pd.DataFrame) -> pd.DataFrame:
    """One turn of a season, begun where the reader's clock begins it."""
    first, length = (
        utc["timestamps"].iloc[0],
        len(utc) * (utc["timestamps"].iloc[1] - utc["timestamps"].iloc[0]),
    )
    since = (local["timestamps"] - first) % length
    return local.assign(timestamps=first + since).sort_values("timestamps").reset_index(drop=True)


HOVER = {"en": "%Y-%m-%d %H:%M:%S", "pt": "%d/%m/%Y %H:%M:%S"}


NUMBERED = [
    {"dtickrange": [None, 86_399_000], "value": "%H:%M\n%d/%m"},
    {"dtickrange": [86_400_000, "M1"], "value": "%d/%m\n%Y"},
    {"dtickrange": ["M1", None], "value": "%m/%Y"},
]


def axis_title(sensor: Sensor) -> str:
    """What the axis of a sensor's values is called."""
    return " ".join(part for part in (sensor.type, f"({sensor.unit})" if sensor.unit else "") if part)


def by_clock(times: pd.Series, zone: ZoneInfo) -> pd.Series:
    """Naive UTC times as a wall clock shows them."""
    return pd.to_datetime(times).dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)


def _joined(history: pd.DataFrame, forecast: pd.DataFrame) -> pd.DataFrame:
    """The forecast from the newest reading on, so that nothing gapes between the lines."""
    columns = ["timestamps", "forecasted_values", "lower_bound", "upper_bound"]
    if history.empty:
        return forecast[columns]
    last = history.iloc[-1]
    first = pd.DataFrame([[last["timestamp"], *[last["value"]] * 3]], columns=columns)
    return pd.concat([first, forecast[columns]], ignore_index=True)
