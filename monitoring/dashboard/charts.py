"""The charts of the dashboard: forecast, anomalies with scores, and components of a forecast.

Takes frames and translated texts, returns figures. Their elements are in `chart_elements`; loading data is in
`sensor_data`.
"""

from collections.abc import Sequence
from datetime import datetime
from html import escape

import numpy as np
import pandas as pd
from babel.dates import format_datetime

from monitoring.dashboard.chart_elements import (
    Figure,
    LimitCrossing,
    LimitLine,
    ValueRange,
    add_horizontal_line,
    add_limits,
    annotation,
    axis_range,
    axis_title,
    empty_figure,
    find_value_range,
    line,
    title,
    to_local_times,
)
from monitoring.dashboard.theme import Palette
from monitoring.i18n.translation import Translator, unit_symbol
from training.data.sensors import Sensor

CHART_HEIGHT = 430
SCORE_PANEL_SHARE = 0.285  # of the height, for the scores below the readings
MIN_LABEL_GAP_SHARE = 0.05  # of an axis, between two labelled lines
# Axis of one turn of a seasonality: number of ticks and format of their labels.
SEASON_TICKS = {"daily": (8, "HH:mm"), "weekly": (7, "EEE"), "yearly": (12, "MMM")}


class ChartBuilder:
    """Draws charts in one palette, language and time zone."""

    def __init__(self, palette: Palette, translator: Translator) -> None:
        self.palette = palette
        self.translator = translator

    def forecast(
        self,
        sensor: Sensor,
        history: pd.DataFrame,
        forecast: pd.DataFrame,
        *,
        limits: Sequence[LimitLine] = (),
        crossings: Sequence[LimitCrossing] = (),
    ) -> Figure:
        """Readings, forecast with its interval, limits and expected crossings.

        `history` has `timestamp, value`; `forecast` has `timestamps, forecasted_values, lower_bound,
        upper_bound`.
        """
        drawn_values = np.concatenate([history["value"], forecast["lower_bound"], forecast["upper_bound"]])
        value_range = find_value_range(drawn_values, limits)
        figure = self._empty_figure(CHART_HEIGHT)
        figure["data"] = [
            self._measured_line(history),
            *self._forecast_lines(_join_forecast(history, forecast)),
            *(self._crossing_marker(crossing) for crossing in crossings),
        ]
        figure["layout"]["yaxis"] |= title(axis_title(sensor)) | axis_range(value_range)
        add_limits(figure, limits, value_range, self.palette)
        self._add_newest_marker(figure, history)
        return figure

    def anomalies(
        self,
        sensor: Sensor,
        history: pd.DataFrame,
        scores: pd.DataFrame,
        *,
        mean: float | None,
        deviation: float | None,
        limits: Sequence[LimitLine] = (),
    ) -> Figure:
        """Readings with anomalies marked, above their scores and the threshold.

        `scores` has `timestamp, value, anomaly_score, is_anomaly, threshold, reason`.
        """
        _, value_range = self.translator, find_value_range(history["value"].to_numpy(), limits)
        figure = self._empty_figure(CHART_HEIGHT + 90)
        figure["data"] = [
            self._measured_line(history),
            self._anomaly_markers(scores),
            self._score_line(scores),
        ]
        layout = figure["layout"]
        layout["xaxis2"] = layout["xaxis"] | {"anchor": "y2"}
        layout["xaxis"] |= {"matches": "x2", "showticklabels": False}
        layout["yaxis2"] = layout["yaxis"] | {
            **title(_("Score")),
            "anchor": "x2",
            "domain": [0, SCORE_PANEL_SHARE],
            "range": [0, 1.02],
            "dtick": 0.5,
        }
        layout["yaxis"] |= {
            **title(axis_title(sensor)),
            "anchor": "x",
            "domain": [SCORE_PANEL_SHARE + 0.05, 1],
            **axis_range(value_range),
        }
        if mean is not None and deviation is not None:
            self._add_normal_range(figure, mean, deviation, value_range)
        add_limits(figure, limits, value_range, self.palette)
        self._add_threshold(figure, scores)
        return figure

    def component(self, frame: pd.DataFrame, *, unit: str, season: str | None) -> Figure:
        """One component of a forecaster: the trend, or one turn of a seasonality in local time."""
        figure = self._empty_figure(210)
        local_frame = frame.assign(timestamps=self._local_times(frame["timestamps"]))
        if season in SEASON_TICKS:
            local_frame = align_season(frame, local_frame)
            count, pattern = SEASON_TICKS[season]
            tick_times = local_frame["timestamps"].iloc[:: max(1, len(local_frame) // count)]
            tick_texts = [
                format_datetime(time, pattern, locale=self.translator.language) for time in tick_times
            ]
            figure["layout"]["xaxis"] |= {"tickvals": tick_times, "ticktext": tick_texts, "showspikes": False}
            figure["layout"]["hovermode"] = "closest"
        times, values = local_frame["timestamps"], local_frame["value"]
        drawn = line(times, values, "", self.palette.forecast, 2, hovertemplate="%{y:.4g}")
        figure["data"] = [drawn | {"showlegend": False}]
        figure["layout"]["yaxis"] |= title(unit_symbol(unit))
        return figure

    def _empty_figure(self, height: int) -> Figure:
        return empty_figure(self.palette, self.translator.language, height)

    def _local_times(self, times: pd.Series | Sequence[datetime]) -> pd.Series:
        return to_local_times(pd.Series(times), self.translator.zone)

    def _measured_line(self, history: pd.DataFrame) -> Figure:
        _, times = self.translator, self._local_times(history["timestamp"])
        return line(times, history["value"], _("Measured"), self.palette.history, 1.6)

    def _forecast_lines(self, joined: pd.DataFrame) -> list[Figure]:
        """The edges of the interval, then the forecast."""
        _, colours, times = self.translator, self.palette, self._local_times(joined["timestamps"])
        upper, lower = (
            line(times, joined[column], _("95 % prediction interval"), colours.forecast, 0.6)
            | {"hoverinfo": "skip", "showlegend": filled}
            | ({"fill": "tonexty", "fillcolor": colours.band} if filled else {})
            for column, filled in (("upper_bound", False), ("lower_bound", True))
        )
        expected = line(times, joined["forecasted_values"], _("Forecast"), colours.forecast, 2.4, dash="dash")
        expected["customdata"] = np.column_stack([joined["lower_bound"], joined["upper_bound"]])
        expected["hovertemplate"] = "%{y:.5g}  (%{customdata[0]:.5g} … %{customdata[1]:.5g})"
        return [upper, lower, expected]

    def _anomaly_markers(self, scores: pd.DataFrame) -> Figure:
        _, colours = self.translator, self.palette
        anomalies = scores[scores["is_anomaly"].fillna(value=False).astype(bool)]
        reasons = [escape(text or "") for text in anomalies["reason"].fillna("")]
        return {
            "type": "scatter",
            "x": self._local_times(anomalies["timestamp"]),
            "y": anomalies["value"],
            "name": _("Anomaly"),
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
        _, colours, times = self.translator, self.palette, self._local_times(scores["timestamp"])
        values = scores["anomaly_score"]
        drawn = line(times, values, _("Score"), colours.forecast, 1.3, hovertemplate="%{y:.2f}")
        return drawn | {"fill": "tozeroy", "fillcolor": colours.band, "xaxis": "x2", "yaxis": "y2"}

    def _crossing_marker(self, crossing: LimitCrossing) -> Figure:
        [moment] = self._local_times([crossing.at])
        return {
            "type": "scatter",
            "x": [moment],
            "y": [crossing.limit.value],
            "mode": "markers",
            "marker": {"symbol": "diamond", "size": 12, "color": self.palette.of(crossing.weight)},
            "name": escape(crossing.text),
            "hovertemplate": escape(crossing.text),
        }

    def _add_newest_marker(self, figure: Figure, history: pd.DataFrame) -> None:
        if history.empty:
            return
        _, [moment] = self.translator, self._local_times([history["timestamp"].iloc[-1]])
        style = {"color": self.palette.usual, "width": 1, "dash": "dot"}
        figure["layout"]["shapes"].append(
            {"type": "line", "x0": moment, "x1": moment, "yref": "y domain", "y0": 0, "y1": 1, "line": style}
        )
        note = annotation(_("newest reading"), self.palette.faint, "right", 12)
        position = {"x": moment, "xref": "x", "xshift": -4, "y": 1, "yref": "paper", "yanchor": "top"}
        figure["layout"]["annotations"].append(note | position)

    def _add_normal_range(
        self, figure: Figure, mean: float, deviation: float, value_range: ValueRange | None
    ) -> None:
        _, colours = self.translator, self.palette
        band = {"type": "rect", "xref": "x domain", "x0": 0, "x1": 1, "y0": mean - deviation}
        style = {"y1": mean + deviation, "fillcolor": colours.usual, "opacity": 0.12, "line": {"width": 0}}
        figure["layout"]["shapes"].append(band | style)
        labels_fit = value_range is None or deviation > MIN_LABEL_GAP_SHARE * (
            value_range[1] - value_range[0]
        )
        for value, label, dash in (
            (mean, _("mean") if labels_fit else _("mean ± SD"), "solid"),
            (mean + deviation, _("+1 SD") if labels_fit else "", "dot"),
            (mean - deviation, _("-1 SD") if labels_fit else "", "dot"),
        ):
            options = {"label_colour": colours.faint, "side": "right", "dash": dash}
            add_horizontal_line(figure, value, label, colours.usual, width=1, size=11, **options)

    def _add_threshold(self, figure: Figure, scores: pd.DataFrame) -> None:
        thresholds = scores["threshold"].dropna()
        if thresholds.empty:
            return
        label, colour = self.translator("threshold"), self.palette.danger
        options = {"dash": "dot", "side": "left", "axis": "2"}
        add_horizontal_line(figure, float(thresholds.iloc[-1]), label, colour, width=1.2, size=11, **options)


def align_season(utc: pd.DataFrame, local: pd.DataFrame) -> pd.DataFrame:
    """One turn of a seasonality, rotated to start where it starts in local time."""
    first, step = utc["timestamps"].iloc[0], utc["timestamps"].iloc[1] - utc["timestamps"].iloc[0]
    elapsed = (local["timestamps"] - first) % (len(utc) * step)
    return local.assign(timestamps=first + elapsed).sort_values("timestamps").reset_index(drop=True)


def _join_forecast(history: pd.DataFrame, forecast: pd.DataFrame) -> pd.DataFrame:
    """The forecast, starting at the newest reading so that the lines meet."""
    columns = ["timestamps", "forecasted_values", "lower_bound", "upper_bound"]
    if history.empty:
        return forecast[columns]
    last = history.iloc[-1]
    first = pd.DataFrame([[last["timestamp"], *[last["value"]] * 3]], columns=columns)
    return pd.concat([first, forecast[columns]], ignore_index=True)
