"""Why a reading is odd, in words with numbers.

Knows how to say what a feature saw; leaves whether a reading is odd to the detector.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.anomaly.features import POINTS, SHORT_WINDOW, Design, Profile
from training.anomaly.sequence import ReadingSequence
from training.common.arrays import Floats

SEVERITIES = np.array(["normal", "look", "probable", "certain"], dtype=object)
STARTS = (0.3, 0.6, 0.9)
PLAINEST = tuple(
    POINTS.index(name)
    for name in ("unmoved", "deviation", "level", "change", "unforeseen", "drift", "spread", "unrest")
)
PLAIN_ENOUGH = 0.5  # a plainer feature is named if it is at least half as loud as the loudest
LOUD = 3.0  # robust deviations from which one feature alone is a reason


def severity_of(scores: Floats) -> NDArray[np.object_]:
    """The band of each score; a reading that was not judged is `normal`."""
    return SEVERITIES[np.searchsorted(STARTS, np.nan_to_num(scores), side="right")]


def reasons(profile: Profile, design: Design, sequence: ReadingSequence, scores: Floats) -> list[str]:
    """One sentence for each reading worth a look, an empty one for the others."""
    words = [""] * len(scores)
    loudness = _loudness(design)
    for row in np.flatnonzero(scores >= STARTS[0]):
        words[row] = _sentence(profile, design, sequence, int(row), loudness[row])
    return words


def trailing_statistics(sequence: ReadingSequence, profile: Profile) -> tuple[Floats, Floats]:
    """Mean and standard deviation of up to two windows of readings before each one asked about."""
    before = pd.Series(sequence.values).where(np.isfinite(sequence.values)).shift()
    rolling = before.rolling(2 * profile.window, min_periods=profile.window // 2)
    average = rolling.mean().fillna(profile.centre).to_numpy()
    deviation = rolling.std().fillna(profile.spread).to_numpy()
    return average[sequence.history_size :], deviation[sequence.history_size :]


def _loudness(design: Design) -> Floats:
    """How many robust deviations each feature is from usual; time unmoved on a like scale."""
    points = np.abs(design.points).copy()
    points[:, :4] = np.sinh(points[:, :4])
    unmoved, unforeseen, unrest = (POINTS.index(name) for name in ("unmoved", "unforeseen", "unrest"))
    points[:, unmoved] = np.where(points[:, unmoved] > 0, LOUD * (1 + points[:, unmoved]), 0.0)
    points[:, unforeseen] = np.sinh(points[:, unforeseen])
    points[:, unrest] *= LOUD
    return points


def _sentence(profile: Profile, design: Design, sequence: ReadingSequence, row: int, loudness: Floats) -> str:
    loudest = next(place for place in PLAINEST if loudness[place] >= PLAIN_ENOUGH * loudness.max())
    if loudness.max() < LOUD:
        return (
            f"no single feature stands out (the loudest at {loudness.max():.1f} robust sd); "
            f"together the last {profile.window} readings are unlike those learned from"
        )
    value = sequence.values[sequence.history_size + row]
    size = f"{_number(loudness[loudest])} robust sd"
    sign = design.points[row, loudest]
    side = "above" if sign > 0 else "below"
    match POINTS[loudest]:
        case "unmoved":
            words = _unmoved(profile, int(design.run[row]), sequence.clocked)
        case "spread":
            words = (
                f"the last {SHORT_WINDOW} readings scatter {size} {'more' if sign > 0 else 'less'} than usual"
            )
        case "drift":
            words = f"the last {SHORT_WINDOW} readings run {size} {side} the last {profile.window}"
        case "unforeseen":
            words = f"{value:.5g} is {size} {side} what the readings before it foretold"
        case "unrest":
            times = f"{np.exp(abs(sign)):.1f} times {'worse' if sign > 0 else 'better'}"
            words = f"the last {SHORT_WINDOW} readings could be foretold {times} than usual"
        case "change":
            step = value - sequence.values[sequence.history_size + row - 1]
            words = f"changed by {step:+.4g} in one step, {size} of its usual step"
        case "deviation" if profile.course is not None:
            at = sequence.seconds[[sequence.history_size + row]]
            usual = profile.centre + profile.spread * float(profile.course.at(at)[0])
            words = f"level {value:.5g} is {size} {side} its usual course of {usual:.5g} at this time"
        case _:
            words = f"level {value:.5g} is {size} {side} the usual {profile.centre:.5g}"
    return words


def _unmoved(profile: Profile, run: int, clocked: bool) -> str:
    least = "at least " if run >= profile.context else ""
    if not clocked:
        return f"has not moved for {least}{run} readings, usually at most {profile.longest_unmoved:.0f}"
    longest = _duration(profile.longest_unmoved * profile.step)
    return f"has not moved for {least}{_duration(run * profile.step)}, usually at most {longest}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _number(size: float) -> str:
    # On a sensor that hardly ever moves, any move is thousands of its usual ones; the number says no more.
    return f"{size:.1f}" if size < 100 else "over 100"
