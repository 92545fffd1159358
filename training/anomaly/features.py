"""What a detector looks at: one sensor's readings as two causal designs of features.

Knows what is usual for the sensor (`Profile`, learned once). `points` says how far each reading is from it
in level, course, change, drift, spread, time unmoved and from what the readings before foretold; `windows`
holds the last readings in spans that double going back, the newest sharp, the older as a whole. A row looks
at its own and earlier readings only, never across a gap, and never further back than `Profile.context`.
Leaves what is odd about a row to the detector.
"""

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from training.anomaly.one_step_forecast import NextStep, fit_next_step
from training.anomaly.robust_statistics import robust_spread
from training.anomaly.seasonal_profile import SeasonalProfile, fit_seasonal_profile
from training.common.arrays import Floats, Ints
from training.common.sampling import resolution_of

POINTS = ("level", "deviation", "change", "trend", "spread", "unchanged", "forecast_error", "recent_errors")
SHORT_WINDOW = 8  # readings that spread, drift and unrest call recent
MAX_DEVIATIONS = 1e9  # robust standard deviations; nothing is said beyond, so that squares stay finite
GAP_STEPS = 5  # a pause longer than this many steps ends the windows
# How much the last step's change counts beside the distance from level and course. Without it, one in five
# spikes of hourly weather was missed; added instead, it made alerts come and go with every reading.
CHANGE_WEIGHT = 0.6


class Profile(BaseModel):
    """What is usual for one sensor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    centre: FiniteFloat
    spread: FiniteFloat = Field(gt=0, description="robust standard deviation of the level")
    course: SeasonalProfile | None
    remaining: FiniteFloat = Field(gt=0, description="spread around the course, in spreads of the level")
    noise: FiniteFloat = Field(gt=0, description="spread of one step's change, in spreads of the level")
    wobble: FiniteFloat = Field(description="usual log of the recent spread around its own mean")
    wobble_spread: FiniteFloat = Field(gt=0)
    next_step: NextStep = Field(description="in spreads around the course")
    unrest: FiniteFloat = Field(gt=0, description="usual mean size of recent errors of the next step")
    longest_unmoved: FiniteFloat = Field(ge=1, description="readings in a row without a move, 99.9 %")
    resolution: FiniteFloat = Field(ge=0, description="step of a quantised sensor; 0: continuous")
    step: FiniteFloat = Field(gt=0, description="seconds between readings, the median")
    window: Literal[8, 16, 32, 64] = Field(description="readings in one window")
    constant: bool
    clocked: bool = Field(description="learned from readings with times")
    sudden: FiniteFloat = Field(
        0.0, ge=0, description="weight of a change in the deviation; at first it had none"
    )
    last: FiniteFloat = Field(description="time of the last reading learned from, seconds")

    @property
    def context(self) -> int:
        """Earlier readings that a row's features can depend on."""
        return int(min(max(2 * self.window, 2 * self.longest_unmoved + 1), 2048))


@dataclass(frozen=True)
class Design:
    """The features of each row; windows are valid only where `full` says so."""

    points: Floats
    windows: Floats
    full: NDArray[np.bool_]
    run: Ints  # readings in a row without a move, this one included
    deviation: Floats  # from the usual level or course, or from the reading before, as `deviation_of` has it

    def select(self, selected: Ints | slice) -> "Design":
        """The features of some rows only."""
        return Design(*(getattr(self, part.name)[selected] for part in fields(self)))

    @classmethod
    def concat(cls, parts: list["Design"]) -> "Design":
        """The rows of all parts, one after another."""
        columns = ([getattr(part, one.name) for part in parts] for one in fields(cls))
        return cls(*map(np.concatenate, columns))


def fit_profile(seconds: Floats, values: Floats, *, clocked: bool) -> Profile:
    """Learn what is usual from finite readings in order of time."""
    unit = _scale_of(values)
    scaled = values / unit
    centre, spread, constant = _centre_and_spread(scaled)
    level = _clip((scaled - centre) / spread)
    step = float(np.median(np.diff(seconds))) if seconds.size > 1 else 1.0
    step = step if step > 0 else 1.0
    course = fit_seasonal_profile(seconds, level, step=step) if clocked and not constant else None
    residual = level - course.at(seconds) if course else level
    resolution = resolution_of(scaled)
    finest = max(0.3 * resolution / spread, 1e-6)
    window = _window_length(values.size)
    remaining = max(robust_spread(residual), finest)
    noise = max(robust_spread(np.diff(residual)), finest)
    segment_starts = _segment_starts(seconds, GAP_STEPS * step)
    residual = residual / remaining
    windows = _recent_windows(residual, segment_starts, window)
    spans = _doubling_spans(windows)
    next_step = fit_next_step(spans[np.arange(values.size) - segment_starts >= SHORT_WINDOW])
    wobble = _log_spread(windows[:, -SHORT_WINDOW:], noise / remaining)
    run = _runs(level, segment_starts)
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
        unrest=float(
            np.median(_recent_error_size(_errors(next_step, spans, segment_starts), segment_starts))
        ),
        longest_unmoved=float(np.quantile(run[ends], 0.999)),
        resolution=resolution * unit,
        step=step,
        window=window,
        constant=constant,
        clocked=clocked,
        sudden=CHANGE_WEIGHT,
        last=float(seconds[-1]),
    )


def compute_features(profile: Profile, seconds: Floats, values: Floats) -> Design:
    """The features of finite readings in order of time."""
    segment_starts = _segment_starts(seconds, GAP_STEPS * profile.step)
    with np.errstate(over="ignore"):
        level = _clip((values - profile.centre) / profile.spread)
    course = profile.course.at(seconds) if profile.course else np.zeros_like(level)
    residual = (level - course) / profile.remaining
    readings_before = np.arange(values.size) - segment_starts
    run = np.minimum(_runs(level, segment_starts), profile.context)
    windows = _recent_windows(residual, segment_starts, profile.window)
    recent = windows[:, -SHORT_WINDOW:]
    spans = _doubling_spans(windows)
    wobble = _log_spread(recent, profile.noise / profile.remaining)
    errors = _errors(profile.next_step, spans, segment_starts)
    has_history = readings_before >= SHORT_WINDOW - 1
    change = np.diff(residual, prepend=residual[:1]) * profile.remaining / profile.noise
    change[readings_before == 0] = 0.0
    points = np.column_stack(
        [
            np.arcsinh(level),
            np.arcsinh(residual),
            np.arcsinh(change),
            np.arcsinh(recent.mean(axis=1) - windows.mean(axis=1)),
            np.where(has_history, (wobble - profile.wobble) / profile.wobble_spread, 0.0),
            np.log(np.maximum(run / profile.longest_unmoved, 1.0)),
            errors,
            np.where(has_history, np.log(_recent_error_size(errors, segment_starts) / profile.unrest), 0.0),
        ]
    )
    full = readings_before >= profile.window // 2
    return Design(points, np.arcsinh(spans), full, run, deviation_of(points, profile.sudden))


def deviation_of(points: Floats, sudden: Floats | float) -> Floats:
    """Distance from the usual level, from the course, or this share of the last change: whichever is largest.

    All in compressed robust deviations, by the columns of POINTS.
    """
    distance, change = np.abs(points[:, :2]).max(axis=1), np.abs(points[:, 2])
    return np.asarray(np.maximum(distance, sudden * change))


def _centre_and_spread(scaled: Floats) -> tuple[float, float, bool]:
    centre = float(np.median(scaled))
    spread = robust_spread(scaled)
    # Numbers hold sixteen digits: less than the thirteenth of the level is rounding, not movement.
    if spread > 1e-13 * abs(centre):
        return centre, spread, False
    return centre, max(1e-3 * abs(centre), 1e-12), True


def _scale_of(values: Floats) -> float:
    """A power of two near the largest value: dividing by it is exact and keeps squares finite."""
    largest = float(np.max(np.abs(values)))
    return float(2.0 ** np.clip(np.floor(np.log2(largest)), -1000, 1000)) if largest > 0 else 1.0


def _clip(level: Floats) -> Floats:
    return np.clip(level, -MAX_DEVIATIONS, MAX_DEVIATIONS)


def _segment_starts(seconds: Floats, longest_pause: float) -> Ints:
    """For each row, where its unbroken stretch of readings begins."""
    rows = np.arange(seconds.size)
    broken = np.append(True, np.diff(seconds) > longest_pause) if seconds.size else np.zeros(0, bool)
    return np.maximum.accumulate(np.where(broken, rows, 0)) if seconds.size else rows


def _recent_windows(values: Floats, segment_starts: Ints, length: int) -> Floats:
    """The last readings of each row, oldest first; before a stretch begins, its first value repeats."""
    if not values.size:
        return np.empty((0, length))
    padded = np.concatenate([np.zeros(length - 1), values])
    windows = sliding_window_view(padded, length)
    behind = np.arange(values.size) - segment_starts
    short = np.flatnonzero(behind < length - 1)
    if short.size:
        windows = windows.copy()
        rows = np.maximum(short[:, None] + np.arange(1 - length, 1), segment_starts[short, None])
        windows[short] = values[rows]
    return windows


def _log_spread(recent: Floats, noise: float) -> Floats:
    """The log of the recent spread; a tenth of the noise is added, for frozen readings have none."""
    return np.asarray(np.log(recent.std(axis=1) + 0.1 * noise))


def _errors(next_step: NextStep, spans: Floats, segment_starts: Ints) -> Floats:
    """Compressed errors of the next step; nothing is foreseen where a stretch begins."""
    first = segment_starts == np.arange(segment_starts.size)
    return np.where(first, 0.0, np.arcsinh(next_step.errors(spans)))


def _recent_error_size(errors: Floats, segment_starts: Ints) -> Floats:
    """How large recent errors were on average; a tenth is added, for a silent sensor has none."""
    return np.asarray(_recent_windows(np.abs(errors), segment_starts, SHORT_WINDOW).mean(axis=1) + 0.1)


def _doubling_spans(windows: Floats) -> Floats:
    """Means of the last reading, the one before, the two before that, the four before those..."""
    length = windows.shape[1]
    borders = [length, *(length - 2**power for power in range(length.bit_length()))]
    spans = [windows[:, first:last].mean(axis=1) for last, first in pairwise(borders)]
    return np.column_stack(spans)


def _runs(level: Floats, segment_starts: Ints) -> Ints:
    """How many readings in a row, up to and with each, have not moved."""
    rows = np.arange(level.size)
    moved = np.append(True, np.abs(np.diff(level)) > 1e-9)[: level.size] | (segment_starts == rows)
    return rows - np.maximum.accumulate(np.where(moved, rows, 0)) + 1


def _window_length(readings: int) -> Literal[8, 16, 32, 64]:
    """A tenth of what there is to learn from, as a power of two."""
    if readings >= 640:
        return 64
    if readings >= 320:
        return 32
    return 16 if readings >= 160 else 8
