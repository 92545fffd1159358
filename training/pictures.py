"""The two pictures of a training run: history with forecast band, and scores with threshold.

Knows how a sensor's readings are drawn, as PNG bytes. Leaves numbers to whoever asks.
"""

import io
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

READINGS, MODEL, ODD, MUTED = "#35424f", "#1a6fb0", "#c2452d", "#8b97a3"
MOST_POINTS = 4000  # more than a picture of this width can show


def forecast_picture(
    history: pd.Series, forecast: pd.DataFrame, truth: pd.Series, *, title: str, unit: str = ""
) -> bytes:
    """Readings, the forecast made at a held-out origin with its band, and what then happened.

    `forecast` has columns `timestamps, forecasted_values, lower_bound, upper_bound`.
    """
    figure, axes = _page(title, unit)
    recent = history.iloc[-6 * max(len(forecast), 24) :]
    axes.plot(recent.index, recent.to_numpy(), color=READINGS, linewidth=0.9, label="readings")
    axes.plot(
        truth.index, truth.to_numpy(), color=READINGS, linewidth=0.9, linestyle=":", label="what then came"
    )
    axes.fill_between(
        forecast["timestamps"],
        forecast["lower_bound"],
        forecast["upper_bound"],
        color=MODEL,
        alpha=0.18,
        linewidth=0,
        label="band",
    )
    axes.plot(
        forecast["timestamps"], forecast["forecasted_values"], color=MODEL, linewidth=1.4, label="forecast"
    )
    axes.legend(loc="upper left", frameon=False, ncols=4, fontsize=8)
    return _png(figure)


def score_picture(
    readings: pd.Series, scores: np.ndarray, threshold: float, *, title: str, unit: str = ""
) -> bytes:
    """Readings above, scores below, odd ones marked in both."""
    figure = _figure()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    _dress(upper, title, unit)
    _dress(lower, "", "score")
    kept = _thinned(scores)
    odd = kept[scores[kept] >= threshold]
    for axes, values, color in ((upper, readings.to_numpy(), READINGS), (lower, scores, MODEL)):
        axes.plot(readings.index[kept], values[kept], color=color, linewidth=0.8)
        axes.plot(readings.index[odd], values[odd], "o", color=ODD, markersize=3.5)
    lower.axhline(threshold, color=ODD, linewidth=0.8, linestyle="--")
    lower.annotate(
        f"threshold {threshold:g}",
        (0.005, threshold),
        xycoords=("axes fraction", "data"),
        fontsize=8,
        va="bottom",
    )
    lower.set_ylim(-0.02, 1.05)
    return _png(figure)


def _page(title: str, unit: str) -> tuple[Figure, Axes]:
    figure = _figure()
    axes = figure.subplots()
    _dress(axes, title, unit)
    return figure, axes


def _figure() -> Figure:
    figure = Figure(figsize=(10, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _dress(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel(unit, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color=MUTED)
    axes.grid(axis="y", color=MUTED, alpha=0.2, linewidth=0.6)
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _thinned(scores: np.ndarray) -> np.ndarray:
    """Positions to draw: all, or the loudest of each bin, so that no odd reading is drawn away."""
    if len(scores) <= MOST_POINTS:
        return np.arange(len(scores))
    edges = np.linspace(0, len(scores), MOST_POINTS + 1).astype(int)
    filled = np.nan_to_num(scores, nan=-1.0)
    return np.array([start + int(np.argmax(filled[start:stop])) for start, stop in pairwise(edges)])


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
