"""What is normal for one sensor: learned once from its readings, and compared with later ones.

The features themselves are computed in `features`, base detectors are fitted in `base_detectors`.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from training.anomaly.features import (
    SHORT_WINDOW,
    Design,
    ReadingBatch,
    SensorParameters,
    clip_level,
    compute_feature_batch,
    doubling_spans,
    log_spread,
    recent_error_size,
    recent_positions,
    recent_windows,
    segment_starts,
    unchanged_runs,
)
from training.anomaly.one_step_forecast import MAX_SPANS, NextStep, fit_next_step
from training.anomaly.robust_statistics import robust_spread
from training.anomaly.seasonal_profile import SeasonalProfile, fit_seasonal_profile
from training.common.arrays import Floats
from training.common.sampling import resolution_of

GAP_STEPS = 5  # a pause longer than this number of steps starts a new segment
# The weight of the last change beside the distance from level and profile. Without it, one in five spikes of
# hourly weather was missed; added to the distance instead, it made alerts open and close at every reading.
CHANGE_WEIGHT = 0.6


class Profile(BaseModel):
    """What is normal for one sensor. The names are stored in `detector.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    centre: FiniteFloat
    spread: FiniteFloat = Field(gt=0, description="robust standard deviation of the level")
    course: SeasonalProfile | None
    remaining: FiniteFloat = Field(gt=0, description="spread around the course, in spreads of the level")
    noise: FiniteFloat = Field(gt=0, description="spread of one step's change, in spreads of the level")
    wobble: FiniteFloat = Field(description="normal log of the recent spread around its own mean")
    wobble_spread: FiniteFloat = Field(gt=0)
    next_step: NextStep = Field(description="in spreads around the course")
    unrest: FiniteFloat = Field(gt=0, description="normal mean size of recent one-step forecast errors")
    longest_unmoved: FiniteFloat = Field(ge=1, description="unchanged readings in a row, 99.9 % quantile")
    resolution: FiniteFloat = Field(ge=0, description="step of a quantised sensor; 0: continuous")
    step: FiniteFloat = Field(gt=0, description="seconds between readings, the median")
    window: Literal[8, 16, 32, 64] = Field(description="readings in one window")
    constant: bool
    clocked: bool = Field(description="learned from readings with times")
    sudden: FiniteFloat = Field(
        0.0, ge=0, description="weight of the last change in the deviation; 0 in the first versions"
    )
    last: FiniteFloat = Field(description="time of the last reading of the training, seconds since 1970")

    @property
    def context(self) -> int:
        """The number of earlier readings that a row's features can depend on."""
        return int(min(max(2 * self.window, 2 * self.longest_unmoved + 1), 2048))

    def parameters(self) -> dict[str, ArrayLike]:
        """The entries of `SensorParameters` for this sensor, without `window`."""
        course = self.course
        weights = np.zeros(MAX_SPANS)
        weights[: len(self.next_step.weights)] = self.next_step.weights
        return {
            "centre": self.centre,
            "spread": self.spread,
            "remaining": self.remaining,
            "noise": self.noise,
            "wobble": self.wobble,
            "wobble_spread": self.wobble_spread,
            "sudden": self.sudden,
            "unrest": self.unrest,
            "longest_unmoved": self.longest_unmoved,
            "max_gap": GAP_STEPS * self.step,
            "context": self.context,
            "cycle": course.cycle if course else 0.0,
            "slots": len(course.usual) if course else 1,
            "course": np.asarray(course.usual if course else (0.0,), np.float64),
            "next_step": weights,
            "next_step_spread": self.next_step.spread,
        }


def compute_features(profile: Profile, seconds: Floats, values: Floats, *, first: int = 0) -> Design:
    """The features of one sensor's finite readings in order of time, from position `first` on."""
    arrays = {name: np.asarray(entry)[None] for name, entry in profile.parameters().items()}
    batch = ReadingBatch(seconds, values, np.zeros(len(values), np.int64), np.arange(first, len(values)))
    return compute_feature_batch(SensorParameters(profile.window, **arrays), batch)


def fit_profile(seconds: Floats, values: Floats, *, clocked: bool) -> Profile:
    """Learn what is normal from finite readings in order of time."""
    unit = _scale_of(values)
    scaled = values / unit
    centre, spread, constant = _centre_and_spread(scaled)
    level = clip_level((scaled - centre) / spread)
    step = float(np.median(np.diff(seconds))) if seconds.size > 1 else 1.0
    step = step if step > 0 else 1.0
    course = fit_seasonal_profile(seconds, level, step=step) if clocked and not constant else None
    residual = level - course.at(seconds) if course else level
    resolution = resolution_of(scaled)
    finest = max(0.3 * resolution / spread, 1e-6)
    window = _window_length(values.size)
    remaining = max(robust_spread(residual), finest)
    noise = max(robust_spread(np.diff(residual)), finest)
    starts = segment_starts(seconds, np.zeros(len(seconds), np.int64), np.array([GAP_STEPS * step]))
    rows = np.arange(values.size)
    windows = recent_windows(residual / remaining, rows, starts, window)
    spans = doubling_spans(windows)
    next_step = fit_next_step(spans[rows - starts >= SHORT_WINDOW])
    errors = np.where(starts == rows, 0.0, np.arcsinh(next_step.errors(spans)))
    wobble = log_spread(windows[:, -SHORT_WINDOW:], noise / remaining)
    run = unchanged_runs(level, starts)
    ends = np.append(run[1:] == 1, True)
    return Profile(
        centre=centre * unit,
        spread=spread * unit,
        course=course,
        remaining=remaining,
        noise=noise,
        wobble=float(np.median(wobble)),
        wobble_spread=max(robust_spread(wobble), 0.1),
        next_step=next_step,
        unrest=float(np.median(recent_error_size(errors[recent_positions(rows, starts, SHORT_WINDOW)]))),
        longest_unmoved=float(np.quantile(run[ends], 0.999)),
        resolution=resolution * unit,
        step=step,
        window=window,
        constant=constant,
        clocked=clocked,
        sudden=CHANGE_WEIGHT,
        last=float(seconds[-1]),
    )


def _centre_and_spread(scaled: Floats) -> tuple[float, float, bool]:
    centre = float(np.median(scaled))
    spread = robust_spread(scaled)
    # A float holds sixteen digits: movement below the thirteenth digit of the level is rounding.
    if spread > 1e-13 * abs(centre):
        return centre, spread, False
    return centre, max(1e-3 * abs(centre), 1e-12), True


def _scale_of(values: Floats) -> float:
    """A power of two near the largest value: division by it is exact and keeps squares finite."""
    largest = float(np.max(np.abs(values)))
    return float(2.0 ** np.clip(np.floor(np.log2(largest)), -1000, 1000)) if largest > 0 else 1.0


def _window_length(readings: int) -> Literal[8, 16, 32, 64]:
    """A tenth of the training readings, as a power of two."""
    if readings >= 640:
        return 64
    if readings >= 320:
        return 32
    return 16 if readings >= 160 else 8
