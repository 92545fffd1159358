"""Compute the features of readings: how far each one is from normal for its sensor.

Features of many sensors are computed at once; a single sensor is a batch of one (`profile.compute_features`).
A row depends on its own and earlier readings only, never on readings before a gap, and never on more than
`SensorParameters.context` earlier readings. What is normal is learned in `profile`; what is anomalous is
decided in `base_detectors` and `ensemble`.
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from training.anomaly.one_step_forecast import forecast_errors
from training.anomaly.seasonal_profile import interpolate_cycles
from training.common.arrays import Flags, Floats, Ints

POINTS = ("level", "deviation", "change", "trend", "spread", "unchanged", "forecast_error", "recent_errors")
SHORT_WINDOW = 8  # readings of the features trend, spread and recent_errors
MAX_DEVIATIONS = 1e9  # robust standard deviations at which a level is clipped, so that squares stay finite


@dataclass(frozen=True)
class Design:
    """The features of each row: eight numbers about the reading (POINTS) and the shape of its window."""

    points: Floats
    windows: Floats  # means of the last readings over spans that double going back
    full: Flags  # whether enough readings came before for `windows` to be used
    run: Ints  # unchanged readings in a row, this one included
    deviation: Floats  # from the normal level, the seasonal profile or the reading before; see `deviation_of`

    def select(self, selected: Ints | slice) -> "Design":
        """The features of some rows only."""
        return Design(*(getattr(self, part.name)[selected] for part in fields(self)))

    @classmethod
    def concat(cls, parts: list["Design"]) -> "Design":
        """The rows of all parts, one after another."""
        columns = ([getattr(part, column.name) for part in parts] for column in fields(cls))
        return cls(*map(np.concatenate, columns))


@dataclass(frozen=True)
class SensorParameters:
    """What is normal for sensors whose windows have one length: in each array one entry per sensor.

    Named as in `profile.Profile`.
    """

    window: int
    centre: Floats
    spread: Floats
    remaining: Floats
    noise: Floats
    wobble: Floats
    wobble_spread: Floats
    sudden: Floats
    unrest: Floats
    longest_unmoved: Floats
    max_gap: Floats  # seconds
    context: Ints
    cycle: Floats  # seconds; 0 without a seasonal profile
    slots: Ints
    course: Floats  # (sensors, slots of the longest profile)
    next_step: Floats  # (sensors, spans)
    next_step_spread: Floats


@dataclass(frozen=True)
class ReadingBatch:
    """Finite readings of some sensors, each sensor's in order of time and behind the sensor's before."""

    seconds: Floats
    values: Floats
    sensor: Ints  # the index of each reading's sensor
    rows: Ints  # positions of the readings whose features are wanted


def compute_feature_batch(parameters: SensorParameters, batch: ReadingBatch) -> Design:
    """The features of the batch's `rows`."""
    sensor, rows, window = batch.sensor, batch.rows, parameters.window
    with np.errstate(over="ignore"):
        level = clip_level((batch.values - parameters.centre[sensor]) / parameters.spread[sensor])
    starts = segment_starts(batch.seconds, sensor, parameters.max_gap)
    # The forecast error is needed of each row and of the readings shortly before it.
    recent = recent_positions(rows, starts, SHORT_WINDOW)
    is_needed = np.zeros(len(sensor), bool)
    is_needed[recent] = True
    needed = np.flatnonzero(is_needed)
    place = (np.cumsum(is_needed) - 1)[recent]
    own = place[:, -1]

    residuals = _residuals(parameters, batch, level, _covered(needed, starts, window))
    windows = recent_windows(residuals, needed, starts, window)
    spans = doubling_spans(windows)
    errors = _compressed_errors(parameters, spans, sensor[needed], needed == starts[needed])

    of = sensor[rows]
    if len(needed) > len(rows):  # else both are the same rows, and copies would take a third of the time
        windows, spans = windows[own], spans[own]
    short = windows[:, -SHORT_WINDOW:]
    readings_before = rows - starts[rows]
    has_short_window = readings_before >= SHORT_WINDOW - 1
    noise, remaining = parameters.noise[of], parameters.remaining[of]
    wobble = log_spread(short, noise / remaining)
    change = np.where(readings_before == 0, 0.0, residuals[rows] - residuals[rows - 1]) * remaining / noise
    run = np.minimum(unchanged_runs(level, starts)[rows], parameters.context[of])
    recent_error = recent_error_size(errors[place])
    points = np.column_stack(
        [
            np.arcsinh(level[rows]),
            np.arcsinh(residuals[rows]),
            np.arcsinh(change),
            np.arcsinh(short.mean(axis=1) - windows.mean(axis=1)),
            np.where(has_short_window, (wobble - parameters.wobble[of]) / parameters.wobble_spread[of], 0.0),
            np.log(np.maximum(run / parameters.longest_unmoved[of], 1.0)),
            errors[own],
            np.where(has_short_window, np.log(recent_error / parameters.unrest[of]), 0.0),
        ]
    )
    full = readings_before >= window // 2
    return Design(points, np.arcsinh(spans), full, run, deviation_of(points, parameters.sudden[of]))


def deviation_of(points: Floats, change_weights: Floats) -> Floats:
    """The largest of the distances from level and seasonal profile, and the weighted last change.

    All in arcsinh of robust standard deviations, as in the columns of POINTS.
    """
    distance, change = np.abs(points[:, :2]).max(axis=1), np.abs(points[:, 2])
    return np.asarray(np.maximum(distance, change_weights * change))


def clip_level(level: Floats) -> Floats:
    """Levels within MAX_DEVIATIONS."""
    return np.clip(level, -MAX_DEVIATIONS, MAX_DEVIATIONS)


def segment_starts(seconds: Floats, sensor: Ints, max_gap: Floats) -> Ints:
    """For each reading, where its segment without a gap begins; `max_gap` holds seconds per sensor."""
    begins = np.ones(len(seconds), bool)
    begins[1:] = (sensor[1:] != sensor[:-1]) | (np.diff(seconds) > max_gap[sensor[1:]])
    starts: Ints = np.maximum.accumulate(np.where(begins, np.arange(len(seconds)), 0))
    return starts


def recent_positions(rows: Ints, starts: Ints, length: int) -> Ints:
    """The last `length` positions up to each row, oldest first; before its segment, the first one repeats."""
    positions: Ints = np.maximum(rows[:, None] + np.arange(1 - length, 1), starts[rows, None])
    return positions


def recent_windows(values: Floats, rows: Ints, starts: Ints, length: int) -> Floats:
    """The last `length` values up to each row, by `recent_positions`."""
    if not len(values):
        return np.empty((0, length))
    # Copying stretches of a view is twice as fast as gathering by position.
    windows = sliding_window_view(np.concatenate([np.zeros(length - 1), values]), length)[rows]
    short = np.flatnonzero(rows - starts[rows] < length - 1)
    windows[short] = values[recent_positions(rows[short], starts, length)]
    return windows


def doubling_spans(windows: Floats) -> Floats:
    """Means of the last reading, the one before, the two before that, the four before those, and so on."""
    length = windows.shape[1]
    borders = [length, *(length - 2**power for power in range(length.bit_length()))]
    spans = [windows[:, first:last].mean(axis=1) for last, first in pairwise(borders)]
    return np.column_stack(spans)


def log_spread(short: Floats, noise: Floats | float) -> Floats:
    """The log of the spread of each row; a tenth of the noise is added because frozen readings have none."""
    return np.asarray(np.log(short.std(axis=1) + 0.1 * noise))


def recent_error_size(recent_errors: Floats) -> Floats:
    """The mean size of each row of errors; a tenth is added because a constant sensor has none."""
    return np.asarray(np.abs(recent_errors).mean(axis=1) + 0.1)


def unchanged_runs(level: Floats, starts: Ints) -> Ints:
    """The number of unchanged readings in a row, up to and including each reading."""
    positions = np.arange(len(level))
    changed = starts == positions
    changed[1:] |= np.abs(np.diff(level)) > 1e-9
    return positions - np.maximum.accumulate(np.where(changed, positions, 0)) + 1


def _covered(needed: Ints, starts: Ints, window: int) -> Ints:
    """The positions inside the windows of the needed readings; readings before them only count in runs."""
    edges = np.zeros(len(starts) + 1, np.int64)
    firsts = np.maximum(needed - window + 1, starts[needed])
    edges += np.bincount(firsts, minlength=len(edges)) - np.bincount(needed + 1, minlength=len(edges))
    return np.flatnonzero(np.cumsum(edges[:-1]) > 0)


def _residuals(parameters: SensorParameters, batch: ReadingBatch, level: Floats, covered: Ints) -> Floats:
    """Distances from the seasonal profile at these positions, in spreads around it; 0 elsewhere."""
    sensor = batch.sensor[covered]
    residuals = np.zeros(len(level))
    residuals[covered] = level[covered]
    if parameters.cycle.any():
        cycle = np.where(parameters.cycle > 0, parameters.cycle, 1.0)[sensor]
        slots, width = parameters.slots[sensor], parameters.course.shape[1]
        seconds = batch.seconds[covered]
        residuals[covered] -= interpolate_cycles(
            seconds, cycle, slots, parameters.course.ravel(), sensor * width
        )
    residuals[covered] /= parameters.remaining[sensor]
    return residuals


def _compressed_errors(parameters: SensorParameters, spans: Floats, sensor: Ints, is_first: Flags) -> Floats:
    """arcsinh of the one-step forecast errors; 0 at the first reading of a segment, which has no forecast."""
    errors = forecast_errors(spans, parameters.next_step[sensor], parameters.next_step_spread[sensor])
    return np.where(is_first, 0.0, np.arcsinh(errors))
