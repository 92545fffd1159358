"""Look of the page: palettes of the light and dark theme, CSS, and small HTML elements.

Palettes have a contrast of at least 4.5 to 1 for text and 3 to 1 for lines. Severities are shown by symbol
and word, not by colour alone. Charts are in `charts`, the wording of figures in `wording`.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import streamlit as st

from monitoring.alerts.kinds import SEVERITY_SYMBOLS

FONT_FAMILY = '"Source Sans", "Source Sans Pro", system-ui, sans-serif'


@dataclass(frozen=True)
class Palette:
    """The colours of one theme."""

    text: str
    faint: str  # secondary text
    line: str  # borders and grids
    card: str
    primary: str
    history: str
    forecast: str
    band: str
    usual: str
    good: str
    warning: str
    danger: str
    critical: str

    def of(self, weight: int) -> str:
        """The colour of a severity: 0 good, 1 information, 2 warning, 3 danger, 4 critical."""
        return (self.good, self.primary, self.warning, self.danger, self.critical)[weight]


LIGHT_PALETTE = Palette(
    text="#15202b",
    faint="#526071",
    line="#dde3ea",
    card="#f6f8fa",
    primary="#0b6470",
    history="#2f4a63",
    forecast="#0b7285",
    band="rgba(11, 114, 133, 0.16)",
    usual="#6b7a8c",
    good="#1a7f4b",
    warning="#8a5a00",
    danger="#b93a0b",
    critical="#b3123c",
)
DARK_PALETTE = Palette(
    text="#e6edf3",
    faint="#9fb0c0",
    line="#2b3947",
    card="#17212c",
    primary="#5cc8d3",
    history="#a9c1d9",
    forecast="#5cc8d3",
    band="rgba(92, 200, 211, 0.18)",
    usual="#8698aa",
    good="#5fd39a",
    warning="#f0b849",
    danger="#ff9466",
    critical="#ff8095",
)

THEME_OPTIONS: dict[str, Any] = {
    f"theme.{name}.{option}": value
    for name, palette, background in (("light", LIGHT_PALETTE, "#ffffff"), ("dark", DARK_PALETTE, "#0f1720"))
    for option, value in {
        "primaryColor": palette.primary,
        "backgroundColor": background,
        "secondaryBackgroundColor": palette.card,
        "textColor": palette.text,
        "borderColor": palette.line,
        "linkColor": palette.primary,
        "dataframeBorderColor": palette.line,
        "dataframeHeaderBackgroundColor": palette.card,
    }.items()
} | {"theme.baseRadius": "8px", "theme.showWidgetBorder": True, "theme.baseFontSize": 15}

CSS = """
<style>
.stMainBlockContainer { padding: 1.1rem 2rem 3rem; max-width: 1500px; }
.stAppHeader { background: transparent; pointer-events: none; }
.stAppHeader > * { pointer-events: auto; }
.sp-name { font-size: 1.35rem; font-weight: 650; letter-spacing: -0.01em; line-height: 2.2rem; }
.sp-name span { color: light-dark(%(faint_light)s, %(faint_dark)s); font-weight: 400; margin-left: .5rem; }
/* Streamlit captions have a contrast of 4.4 in the light theme, primary buttons even less in the dark one. */
[data-testid="stCaptionContainer"] { opacity: 1; color: light-dark(%(faint_light)s, %(faint_dark)s); }
[data-testid="stCaptionContainer"] p { opacity: 1; color: inherit; }
[data-tag], [data-tag] span, [data-tag] button, [data-testid="stBaseButton-primary"]:enabled,
[data-testid="stBaseButton-primary"]:enabled p, [data-testid="stBaseButton-primaryFormSubmit"]:enabled,
[data-testid="stBaseButton-primaryFormSubmit"]:enabled p { color: light-dark(#ffffff, #0f1720); }
/* Streamlit fades what is being redrawn to a third; a periodic refresh must stay readable. */
.stElementContainer[data-stale="true"], .stTabs [role="tablist"], .stTabs [role="tab"] { opacity: 1; }
.sp-faint { color: light-dark(%(faint_light)s, %(faint_dark)s); }
.sp-cards dl.sp-card { margin: 0; padding: .7rem .9rem; }
.sp-cards dl dt, .sp-cards dl dd, .sp-cards dl p { margin-left: 0; padding-left: 0; }
.sp-cards .sp-mark { white-space: normal; }
.sp-cards dd small { font-size: .85rem; font-weight: 400; }
.sp-cards dd small.sp-mark { display: block; font-weight: 600; line-height: 1.3; margin-top: .15rem; }
.sp-cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: .75rem; }
/* Rows of equal length: six cards in one row, two or three; four in one row or two. */
.stHtml:has(> .sp-cards) { container-type: inline-size; }
@container (max-width: 880px) {
  .sp-cards:has(> :nth-child(6):last-child) { grid-template-columns: repeat(3, 1fr); }
}
@container (max-width: 560px) {
  .sp-cards.sp-cards:has(> :nth-child(4)) { grid-template-columns: repeat(2, 1fr); }
}
/* Buttons of a period: on a line of their own, or on two, where they would be cut off. */
.stColumn:has([class*="st-key-hours-"]) { min-width: min(100%%, 27rem); }
.stButtonGroup [role="radiogroup"] { flex-wrap: wrap; row-gap: .3rem; }
/* Labels in a chart stay readable where a line runs through them. */
.js-plotly-plot .annotation-text { paint-order: stroke; stroke-width: 4px;
  stroke: light-dark(#ffffff, #0f1720); }
[data-testid="stLayoutWrapper"]:has(> .st-key-refresh-errors:empty) { display: none; }
.sp-card { background: light-dark(%(card_light)s, %(card_dark)s); border-radius: 8px; padding: .7rem .9rem;
  border: 1px solid light-dark(%(line_light)s, %(line_dark)s); min-width: 0; }
.sp-card dt { font-size: .82rem; color: light-dark(%(faint_light)s, %(faint_dark)s); margin: 0; }
.sp-card dd { font-size: 1.45rem; font-weight: 600; margin: .1rem 0 0; line-height: 1.25;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.sp-card p { font-size: .82rem; margin: .15rem 0 0; color: light-dark(%(faint_light)s, %(faint_dark)s); }
.sp-mark { font-weight: 650; white-space: nowrap; }
%(marks)s
.sp-spark { width: 100%%; max-width: 180px; display: block; }
.st-key-concerns .sp-mark { white-space: normal; }
.st-key-concerns [data-testid="stHorizontalBlock"] { padding: .35rem 0;
  border-top: 1px solid light-dark(%(line_light)s, %(line_dark)s); }
.sp-scale { position: relative; height: .55rem; border-radius: 4px; margin: .5rem 0 1.5rem; display: flex;
  gap: 2px; }
.sp-scale i { display: block; border-radius: 2px; opacity: .45; }
.sp-scale b { position: absolute; top: -.3rem; width: 4px; height: 1.15rem; border-radius: 2px;
  background: light-dark(%(text_light)s, %(text_dark)s); transform: translateX(-2px); }
.sp-scale u { position: absolute; top: .75rem; font-size: .75rem; text-decoration: none;
  transform: translateX(-50%%); color: light-dark(%(faint_light)s, %(faint_dark)s); white-space: nowrap; }
.stHtml ul.sp-life { list-style: none; margin: 0; padding: 0; }
.sp-life li { padding: .15rem 0 .15rem 1rem; margin: 0; font-size: .9rem;
  border-left: 2px solid light-dark(%(line_light)s, %(line_dark)s); }
</style>
"""


def apply_style() -> None:
    """Add the CSS to the page."""
    values = {f"{part}_{name}": getattr(palette, part) for name, palette in _themes() for part in CSS_COLOURS}
    colours = [f"light-dark({LIGHT_PALETTE.of(weight)}, {DARK_PALETTE.of(weight)})" for weight in range(5)]
    marks = "\n".join(
        f".sp-{weight} {{ color: {colour}; }} .sp-fill-{weight} {{ background: {colour}; }}"
        for weight, colour in enumerate(colours)
    )
    st.html(CSS % {**values, "marks": marks})


def current_palette() -> Palette:
    """The palette of the theme that this reader uses."""
    return DARK_PALETTE if st.context.theme.type == "dark" else LIGHT_PALETTE


def severity_badge(weight: int, text: str, tag: str = "span") -> str:
    """A severity as HTML: colour, symbol and text."""
    return f'<{tag} class="sp-mark sp-{weight}">{SEVERITY_SYMBOLS[weight]} {escape(text)}</{tag}>'


def show_cards(rows: list[tuple[str, str, str]]) -> None:
    """Figures in a row: label, value as HTML, and a note below it."""
    cards = "".join(
        f'<dl class="sp-card"><dt>{escape(label)}</dt><dd>{value}</dd>'
        + (f"<p>{escape(note)}</p>" if note else "")
        + "</dl>"
        for label, value, note in rows
    )
    st.html(f'<div class="sp-cards">{cards}</div>')


def table_height(rows: int, max_height: int) -> int | Literal["content"]:
    """Height of a table in pixels: that of its rows, at most `max_height`, beyond which it scrolls."""
    return "content" if HEADER_HEIGHT + ROW_HEIGHT * rows <= max_height else max_height


def sparkline_html(values: Sequence[float], colours: Palette, weight: int, alt_text: str) -> str:
    """The newest readings as a small image with the last one marked; empty for fewer than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    extent = (high - low) or 1.0
    points = [
        (SPARKLINE_WIDTH * index / (len(values) - 1), SPARKLINE_HEIGHT * (1 - (value - low) / extent))
        for index, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    view_box = f"-2 -5 {SPARKLINE_WIDTH + 8} {SPARKLINE_HEIGHT + 10}"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view_box}">'
        f'<polyline points="{line}" fill="none" stroke="{colours.history}" stroke-width="1.5" '
        f'stroke-linejoin="round"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colours.of(weight)}"/></svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    return f'<img class="sp-spark" alt="{escape(alt_text)}" src="data:image/svg+xml;base64,{data}">'


def escape_markdown(text: str) -> str:
    """Text with Markdown characters escaped, so that it is shown literally.

    >>> escape_markdown("PT_1 [a](b) <script>")
    'PT\\\\_1 \\\\[a\\\\](b) \\\\<script\\\\>'
    """
    return "".join(f"\\{sign}" if sign in MARKDOWN_CHARACTERS else sign for sign in text)


MARKDOWN_CHARACTERS = frozenset("\\`*_{}[]<>#+|~$:!&")
CSS_COLOURS = ("text", "faint", "line", "card")
SPARKLINE_WIDTH, SPARKLINE_HEIGHT = 160, 30  # viewBox units
HEADER_HEIGHT, ROW_HEIGHT = 38, 35  # of a table, in pixels


def _themes() -> tuple[tuple[str, Palette], ...]:
    return (("light", LIGHT_PALETTE), ("dark", DARK_PALETTE))
