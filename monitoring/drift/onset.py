"""Find when a drift began, and whether it came at once or gradually, by fitting a step and a ramp.

Whether there is drift is decided before, by `judgement`.
"""

from dataclasses import dataclass

import numpy as np

from monitoring.drift.blocks import WindowBlocks
from monitoring.drift.judgement import DriftFinding
from monitoring.drift.statistics import Readings, WindowScale, compute_series_since
from training.anomaly.seasonal_profile import DAY
from training.common.arrays import Floats

MAX_RAMP_RESIDUAL_SHARE = 0.7  # of the best step's residual; a worse ramp counts as a step
MIN_RAMP_CELLS = 6  # cells needed to distinguish a ramp from a step
MAX_CANDIDATE_STARTS = 200


@dataclass(frozen=True)
class Onset:
    """When a drift began (seconds since 1970) and, if it came gradually, its change per day."""

    began_at: float
    per_day: float | None = None


def fit_onset(
    since: Readings, blocks: WindowBlocks, scale: WindowScale, window: Readings, finding: DriftFinding
) -> Onset:
    """Fit a step and a ramp, each lasting until the newest reading, to the readings since the window."""
    series, starts = compute_series_since(since, window, blocks, scale, finding.statistic)
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
