"""Draw lines, bands and dots over time as SVG text, with axes.

matplotlib takes 0.2 s for such a chart, as long as tuning a sensor; joining strings takes milliseconds. What
a chart shows is decided in `training.registry.run_charts`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np

from training.common.arrays import Floats, true_runs

INK, MUTED = "#35424f", "#8b97a3"
WIDTH, HEIGHT = 1000, 420  # pixels
LEFT, RIGHT, TOP, BOTTOM = 70, 14, 34, 30  # margins
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
TICKS = (
    *(1, 5, 15, 30),
    *(k * MINUTE for k in (1, 5, 15, 30)),
    *(k * HOUR for k in (1, 3, 6, 12)),
    *(k * DAY for k in (1, 2, 7, 14, 28, 91, 364)),
)


@dataclass(frozen=True)
class Panel:
    """One pair of axes: its place on the page, and the range of times and values it shows."""

    top: float
    height: float
    times: tuple[float, float]  # seconds of the epoch
    values: tuple[float, float]

    def x(self, seconds: Floats) -> Floats:
        """Pixels from the left."""
        return LEFT + (seconds - self.times[0]) / _span(self.times) * (WIDTH - LEFT - RIGHT)

    def y(self, values: Floats) -> Floats:
        """Pixels from the top."""
        return self.top + (self.values[1] - values) / _span(self.values) * self.height

    def line(self, seconds: Floats, values: Floats, *, color: str, width: float, dashes: str = "") -> str:
        """A line through the points; it is interrupted where a value is missing."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        strokes = [
            f'<polyline points="{_points(self.x(seconds[part]), self.y(values[part]))}"/>'
            for part in true_runs(np.isfinite(values)).slices()
        ]
        return f'<g fill="none" stroke="{color}" stroke-width="{width}"{dashed}>{"".join(strokes)}</g>'

    def band(self, seconds: Floats, lower: Floats, upper: Floats, *, color: str) -> str:
        """The filled area between two lines."""
        x = np.concatenate([self.x(seconds), self.x(seconds[::-1])])
        y = np.concatenate([self.y(upper), self.y(lower[::-1])])
        return f'<polygon points="{_points(x, y)}" fill="{color}" fill-opacity="0.18"/>'

    def dots(self, seconds: Floats, values: Floats, *, color: str) -> str:
        """One dot per point."""
        places = zip(self.x(seconds).tolist(), self.y(values).tolist(), strict=True)
        circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
        return f'<g fill="{color}">{circles}</g>'

    def axes(self, unit: str, *, dated: bool) -> str:
        """The value axis with grid lines and numbers, and the time axis if `dated`."""
        ticks = value_ticks(*self.values)
        heights = self.y(np.array(ticks)).tolist()
        elements = [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{MUTED}" stroke-opacity="0.25"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
            for tick, y in zip(ticks, heights, strict=True)
        ]
        middle = self.top + self.height / 2
        rotation = f'transform="rotate(-90 14 {middle:.1f})"'
        elements.append(
            f'<text x="14" y="{middle:.1f}" text-anchor="middle" {rotation}>{escape(unit)}</text>'
        )
        elements.append(
            f'<path d="M{LEFT} {self.top}V{self.top + self.height}H{WIDTH - RIGHT}" stroke="{MUTED}"/>'
        )
        if dated:
            elements += self._dates()
        return f'<g fill="{MUTED}" font-size="11">{"".join(elements)}</g>'.replace(
            "<path", '<path fill="none"'
        )

    def _dates(self) -> Iterator[str]:
        ticks, form = time_ticks(*self.times)
        below = self.top + self.height + 16
        for tick, x in zip(ticks, self.x(np.array(ticks)).tolist(), strict=True):
            label = np.datetime64(int(tick), "s").item().strftime(form)
            yield f'<text x="{x:.1f}" y="{below:.1f}" text-anchor="middle">{label}</text>'


def render_svg(title: str, parts: Sequence[str], legend: Sequence[tuple[str, str]] = ()) -> bytes:
    """An SVG file with a title, and a legend of words in their colours."""
    legend_text = "".join(f'<tspan fill="{color}" dx="14">{escape(word)}</tspan>' for word, color in legend)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" stroke-linejoin="round">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<text x="{LEFT}" y="20" font-size="14" fill="{INK}">{escape(title)}</text>{"".join(parts)}'
        f'<text x="{WIDTH - RIGHT}" y="20" text-anchor="end" font-size="11">{legend_text}</text></svg>\n'
    ).encode()


def value_ticks(low: float, high: float, *, max_ticks: int = 6) -> list[float]:
    """Round numbers between two values, in steps of 1, 2 or 5 times a power of ten.

    >>> value_ticks(18.2, 31.0)
    [20.0, 25.0, 30.0]
    """
    rough = max(high - low, 1e-300) / max_ticks
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9)))
    first = int(np.ceil(low / step - 1e-9))
    return [
        float(f"{number * step:.12g}")
        for number in range(first, first + max_ticks + 2)
        if number * step <= high
    ]


def time_ticks(first: float, last: float, *, max_ticks: int = 8) -> tuple[list[float], str]:
    """Whole seconds, minutes, hours or days between two times in seconds, and their `strftime` format.

    >>> time_ticks(0.0, 86_400.0)
    ([0.0, 21600.0, 43200.0, 64800.0, 86400.0], '%d %b %H:%M')
    """
    span = max(last - first, 1.0)
    step = next(
        (tick for tick in TICKS if span / tick <= max_ticks - 1),
        TICKS[-1] * np.ceil(span / TICKS[-1] / max_ticks),
    )
    ticks = np.arange(np.ceil(first / step) * step, last + 1e-6, step).tolist()
    if step >= 28 * DAY:
        return ticks, "%b %Y"
    if step >= DAY:
        return ticks, "%d %b"
    return ticks, "%d %b %H:%M" if step >= MINUTE else "%H:%M:%S"


def _span(ends: tuple[float, float]) -> float:
    return max(ends[1] - ends[0], 1e-300)


def _points(x: Floats, y: Floats) -> str:
    return " ".join(map("%.1f,%.1f".__mod__, zip(x.tolist(), y.tolist(), strict=True)))
