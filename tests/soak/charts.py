"""Draw the measurements of a soak test as one SVG: memory, handles, threads and rows over time, with faults.

Joins strings only, so that equal measurements give an equal file.
"""

from collections.abc import Sequence
from html import escape

from tests.soak.evaluation import FLAT_ROWS, Note

WIDTH, HEIGHT, LEFT, TOP, GAP = 860, 130, 60, 40, 46
COLOURS = {"endpoint": "#1b6ca8", "scheduler": "#b3541e", "page": "#2e7d32", "mlflow": "#6a4c93"}
EXTRA_COLOURS = ("#1b6ca8", "#b3541e", "#2e7d32", "#6a4c93", "#8d6e00", "#ad1457")

Line = list[tuple[float, float]]


def render_svg(notes: Sequence[Note]) -> str:
    """All panels, one below the other; time in minutes."""
    end = max(n["t"] for n in notes) / 60
    processes = [n for n in notes if n["what"] == "process"]
    panels = {
        "memory of each process, MB": _by_role(processes, "mb"),
        "open handles of each process": _by_role(processes, "handles"),
        "threads of each process": _by_role(processes, "threads"),
        "files: temporary, and artifacts of all versions and runs": {
            name: _line([n for n in notes if n["what"] == "files"], name)
            for name in ("temporary", "artifacts")
        },
        "rows of tables that retention limits": {
            name: _line([n for n in notes if n["what"] == "rows" and name in n], name) for name in FLAT_ROWS
        },
    }
    faults = [n["t"] / 60 for n in notes if n["what"] == "fault" and n["state"] == "begins"]
    parts = [_panel(place, title, lines, faults, end) for place, (title, lines) in enumerate(panels.items())]
    height = TOP + len(panels) * (HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _by_role(processes: Sequence[Note], name: str) -> dict[str, Line]:
    roles = sorted({n["role"] for n in processes})
    return {role: _line([n for n in processes if n["role"] == role], name) for role in roles}


def _line(notes: Sequence[Note], name: str) -> Line:
    return [(n["t"] / 60, float(n[name])) for n in notes]


def _panel(panel_index: int, title: str, lines: dict[str, Line], faults: Sequence[float], end: float) -> str:
    top = TOP + panel_index * (HEIGHT + GAP)
    maximum = max((value for line in lines.values() for _, value in line), default=1.0) or 1.0
    across, down = WIDTH / end, HEIGHT / (1.1 * maximum)
    parts = [
        f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>',
        f'<text x="{LEFT - 6}" y="{top + HEIGHT - maximum * down + 4:.1f}" text-anchor="end">'
        f"{maximum:.0f}</text>",
        f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 14}" text-anchor="end">{end:.0f} min</text>',
    ]
    for fault in faults:
        x = LEFT + fault * across
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + HEIGHT}" stroke="#ddd" stroke-width="1"/>'
        )
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS.get(name, EXTRA_COLOURS[number % len(EXTRA_COLOURS)])
        points = " ".join(f"{LEFT + t * across:.1f},{top + HEIGHT - value * down:.1f}" for t, value in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        x = LEFT + WIDTH - 130 * (len(lines) - number)
        parts.append(f'<text x="{x}" y="{top - 8}" fill="{colour}">{escape(name)}</text>')
    return "".join(parts)
