"""Draw the two charts of a training run: history with forecast interval, and scores with threshold.

Chooses which part of a sensor's readings is drawn. Turning lines into SVG is in
`training.registry.svg_charts`.
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from training.common.arrays import Floats, Ints
from training.common.times import epoch_seconds
from training.registry.svg_charts import BOTTOM, HEIGHT, INK, TOP, Panel, render_svg

MODEL_COLOR, ANOMALY_COLOR = "#1a6fb0", "#c2452d"
MAX_POINTS = 4000  # more than the chart's width can show
MARGIN_SHARE = 0.06  # of the range of values, left free above and below
PLOT_HEIGHT = HEIGHT - TOP - BOTTOM


def render_forecast(
    history: pd.Series, forecast: pd.DataFrame, truth: pd.Series, *, title: str, unit: str = ""
) -> bytes:
    """Draw readings, a forecast from a held-out origin with its interval, and the readings that followed.

    `forecast` has columns `timestamps, forecasted_values, lower_bound, upper_bound`.
    """
    recent = history.iloc[-6 * max(len(forecast), 24) :]
    before, after = _seconds(recent.index), _seconds(truth.index)
    ahead = _seconds(pd.DatetimeIndex(forecast["timestamps"]))
    values, lower, upper = (
        forecast[name].to_numpy(np.float64) for name in ("forecasted_values", "lower_bound", "upper_bound")
    )
    known = [recent.to_numpy(np.float64), truth.to_numpy(np.float64)]
    panel = Panel(
        TOP, PLOT_HEIGHT, _time_range(before, after, ahead), _padded_range(*known, values, lower, upper)
    )
    parts = [
        panel.axes(unit, dated=True),
        panel.band(ahead, lower, upper, color=MODEL_COLOR),
        panel.line(before, known[0], color=INK, width=1.1),
        panel.line(after, known[1], color=INK, width=1.1, dashes="2 3"),
        panel.line(ahead, values, color=MODEL_COLOR, width=1.6),
    ]
    legend = [("readings", INK), ("actual readings (dotted)", INK), ("forecast with interval", MODEL_COLOR)]
    return render_svg(title, parts, legend)


def render_scores(
    readings: pd.Series, scores: Floats, threshold: float, *, title: str, unit: str = ""
) -> bytes:
    """Draw readings above and their scores below, with anomalies marked in both."""
    shown = _peak_positions(scores)
    anomalous = shown[scores[shown] >= threshold]
    seconds, values = _seconds(readings.index), readings.to_numpy(np.float64)
    upper = Panel(TOP, 0.6 * PLOT_HEIGHT, _time_range(seconds), _padded_range(values))
    lower = Panel(TOP + 0.67 * PLOT_HEIGHT, 0.33 * PLOT_HEIGHT, _time_range(seconds), (0.0, 1.05))
    limit = np.full(2, threshold)
    return render_svg(
        title,
        [
            upper.axes(unit, dated=False),
            upper.line(seconds[shown], values[shown], color=INK, width=1.0),
            upper.dots(seconds[anomalous], values[anomalous], color=ANOMALY_COLOR),
            lower.axes("score", dated=True),
            lower.line(seconds[shown], scores[shown], color=MODEL_COLOR, width=1.0),
            lower.dots(seconds[anomalous], scores[anomalous], color=ANOMALY_COLOR),
            lower.line(np.array(_time_range(seconds)), limit, color=ANOMALY_COLOR, width=0.9, dashes="5 4"),
        ],
        [(f"anomaly: score of at least {threshold:g}", ANOMALY_COLOR)],
    )


def _seconds(index: pd.Index) -> Floats:
    return np.asarray(epoch_seconds(pd.DatetimeIndex(index)), np.float64)


def _time_range(*seconds: Floats) -> tuple[float, float]:
    joined = np.concatenate(seconds)
    return float(joined.min()), float(joined.max())


def _padded_range(*values: Floats) -> tuple[float, float]:
    """The range of all values with a margin, also for a constant."""
    joined = np.concatenate(values)
    joined = joined[np.isfinite(joined)]
    low, high = (float(joined.min()), float(joined.max())) if joined.size else (0.0, 1.0)
    margin = MARGIN_SHARE * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _peak_positions(scores: Floats) -> Ints:
    """The positions to draw: all, or the highest score of each bin, so that no anomaly is left out."""
    if len(scores) <= MAX_POINTS:
        return np.arange(len(scores))
    edges = np.linspace(0, len(scores), MAX_POINTS + 1).astype(int)
    filled = np.nan_to_num(scores, nan=-1.0)
    return np.array([start + int(np.argmax(filled[start:stop])) for start, stop in pairwise(edges)])
