"""Draw drift charts as inline SVG: readings before and after training, and past checks.

The charts need no script and no other file.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from monitoring.drift.report.wording import verdict_name
from monitoring.drift.statistics import Readings
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from training.common.downsampling import downsample_indices
from training.common.times import to_seconds

# The order of every list: the most urgent first.
VERDICT_ORDER = (
    DriftVerdict.DRIFTED,
    DriftVerdict.NO_DATA,
    DriftVerdict.AGED,
    DriftVerdict.WITHHELD,
    DriftVerdict.STEADY,
)
VERDICT_COLOURS = {
    DriftVerdict.DRIFTED: "#c0392b",
    DriftVerdict.NO_DATA: "#7f8c8d",
    DriftVerdict.AGED: "#d68910",
    DriftVerdict.WITHHELD: "#95a5a6",
    DriftVerdict.STEADY: "#2e8b57",
}
SPARKLINE_SIZE = (220, 36)  # pixels
MAX_CHECKS = 60  # in the history


def render_sparkline(
    window: Readings,
    since: Readings,
    *,
    begun: datetime | None = None,
    size: tuple[int, int] = SPARKLINE_SIZE,
) -> str:
    """The end of the window and, shaded, the readings since; a line marks the onset."""
    if len(since) and len(window):
        # As much of the window as came since, or a quarter of it, so that the change is visible.
        window_seconds_shown = max(
            since.seconds[-1] - window.seconds[-1], (window.seconds[-1] - window.seconds[0]) / 4
        )
        window = window.between(window.seconds[-1] - window_seconds_shown, np.inf)
    width, height = size
    seconds = np.concatenate([window.seconds, since.seconds])
    values = np.concatenate([window.values, since.values])
    if len(values) < 2:
        return ""
    indices = downsample_indices((seconds * 1e6).astype(np.int64), values, width // 3)
    seconds, values = seconds[indices], values[indices]
    low, high = float(values.min()), float(values.max())
    x = (seconds - seconds[0]) / max(seconds[-1] - seconds[0], 1e-9) * (width - 2) + 1
    y = height - 2 - (values - low) / max(high - low, 1e-300) * (height - 4)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    marks = ""
    if len(since):
        x_position = float(np.interp(since.seconds[0], seconds, x))
        marks = (
            f'<rect x="{x_position:.0f}" width="{width - x_position:.0f}" height="{height}" class="since"/>'
        )
    if begun is not None and len(since):
        x_position = float(np.interp(to_seconds(begun), seconds, x))
        marks += f'<line x1="{x_position:.0f}" x2="{x_position:.0f}" y2="{height}" class="begun"/>'
    return (
        f'<svg width="{width}" height="{height}" role="img">{marks}'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1"/></svg>'
    )


def render_check_history(history: Sequence[DriftCheck], words: Translator) -> str:
    """Bars of past checks, one per check time: the number of models by verdict; empty below two."""
    counts: dict[datetime, Counter[DriftVerdict]] = {}
    for check in history:
        counts.setdefault(check.checked_at, Counter())[check.verdict] += 1
    moments = sorted(counts)[-MAX_CHECKS:]
    if len(moments) < 2:
        return ""
    tallest = max(counts[moment].total() for moment in moments)
    height, bar = 90, min(640 / len(moments), 40)
    rectangles = []
    for index, moment in enumerate(moments):
        top = float(height)
        for verdict in VERDICT_ORDER:
            bar_height = counts[moment][verdict] / tallest * height
            top -= bar_height
            if bar_height:
                tooltip = f"{words.moment(moment)}: {counts[moment][verdict]} {verdict_name(words, verdict)}"
                rectangles.append(
                    f'<rect x="{index * bar + 1:.1f}" y="{top:.1f}" width="{max(bar - 2, 1):.1f}" '
                    f'height="{bar_height:.1f}" fill="{VERDICT_COLOURS[verdict]}">'
                    f"<title>{tooltip}</title></rect>"
                )
    period = words("{start} to {end}", start=words.moment(moments[0]), end=words.moment(moments[-1]))
    return (
        f'<svg width="{bar * len(moments):.0f}" height="{height}" role="img">{"".join(rectangles)}</svg>'
        f'<p class="sub">{period}</p>'
    )
