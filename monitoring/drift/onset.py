"""Since when, and at once or slowly: the loudest statistic among all readings since the window.

Knows cells of time, a step and a ramp. Whether there is drift was decided before.
"""

from dataclasses import dataclass

import numpy as np

from monitoring.drift.blocks import WindowBlocks
from monitoring.drift.judgement import DriftFinding
from monitoring.drift.statistics import Readings, WindowScale, compute_series_since
from training.anomaly.seasonal_profile import DAY
from training.common.arrays import Floats

MAX_RAMP_RESIDUAL_SHARE = 0.7  # a ramp must leave this share of what the best step leaves, to be told as one
MIN_RAMP_CELLS = 6  # cells, to tell a ramp from a step
MAX_CANDIDATE_STARTS = 200  # beginnings


@dataclass(frozen=True)
class Onset:
    """When a drift began, in seconds of the epoch; where it came slowly, by how much a day."""

    began_at: float
    per_day: float | None = None


def fit_onset(
    since: Readings, blocks: WindowBlocks, ruler: WindowScale, window: Readings, finding: DriftFinding
) -> Onset:
    """Fit a step and a ramp, each lasting to the newest reading, to what came since the window."""
    series, starts = compute_series_since(since, window, blocks, ruler, finding.statistic)
    known_cells = np.flatnonzero(np.isfinite(series))
    if len(known_cells) < MIN_RAMP_CELLS:
        return Onset(max(blocks.checked_from, float(since.seconds[0])))
    deviations = series[known_cells] - finding.before
    days = starts[known_cells] / DAY
    step_left, step = min(
        _step_residual(deviations, place) for place in _candidate_starts(len(deviations) - 1)
    )
    ramp_left, ramp = min(
        _ramp_residual(deviations, days, place)
        for place in _candidate_starts(len(deviations) - MIN_RAMP_CELLS + 1)
    )
    if ramp_left < MAX_RAMP_RESIDUAL_SHARE * step_left:
        onset_start = float(starts[known_cells[ramp]])
        elapsed_days = days[ramp:] - days[ramp]
        return Onset(onset_start, float(deviations[ramp:] @ elapsed_days / (elapsed_days @ elapsed_days)))
    return Onset(max(float(starts[known_cells[step]]), float(since.seconds[0])))


def _candidate_starts(count: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, max(count - 1, 0), MAX_CANDIDATE_STARTS)})


def _step_residual(deviations: Floats, start: int) -> tuple[float, int]:
    after_step = deviations[start:]
    return float((deviations[:start] ** 2).sum() + ((after_step - after_step.mean()) ** 2).sum()), start


def _ramp_residual(deviations: Floats, days: Floats, start: int) -> tuple[float, int]:
    elapsed_days = days[start:] - days[start]
    slope = float(deviations[start:] @ elapsed_days / max(elapsed_days @ elapsed_days, 1e-12))
    return float(
        (deviations[:start] ** 2).sum() + ((deviations[start:] - slope * elapsed_days) ** 2).sum()
    ), start
