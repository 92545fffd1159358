"""Explain why a reading is anomalous: the feature that is furthest from normal, as a reason with numbers.

Does not decide what is anomalous (`detector`) and does not write the text (`training.reasons`).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.anomaly.features import POINTS, SHORT_WINDOW, Design
from training.anomaly.profile import Profile
from training.anomaly.sequence import ReadingSequence
from training.common.arrays import Floats
from training.reasons import Reason, ReasonCode

SEVERITIES = np.array(["normal", "look", "probable", "certain"], dtype=object)
SEVERITY_SCORES = (0.3, 0.6, 0.9)  # the lowest score of each severity above normal
MIN_EXPLAINED_SCORE = SEVERITY_SCORES[0]
# Features from the easiest to the hardest to understand.
BY_CLARITY = tuple(
    POINTS.index(name)
    for name in (
        "unchanged",
        "deviation",
        "level",
        "change",
        "forecast_error",
        "trend",
        "spread",
        "recent_errors",
    )
)
CLEARER_SHARE = 0.5  # a clearer feature is named if it is at least this share of the largest one
MIN_SIZE = 3.0  # robust standard deviations from which one feature alone explains a reading


def severity_of(scores: Floats) -> NDArray[np.object_]:
    """The severity of each score; a reading without a score is `normal`."""
    return SEVERITIES[np.searchsorted(SEVERITY_SCORES, np.nan_to_num(scores), side="right")]


def explain(
    profile: Profile, design: Design, seconds: Floats, values: Floats, scores: Floats
) -> list[Reason | None]:
    """A reason for each row of a design whose score is at least 0.3, None for the others.

    `seconds` and `values` are the readings of the rows, and of the row before the first where there is one.
    """
    reasons: list[Reason | None] = [None] * len(scores)
    explained = np.flatnonzero(scores >= MIN_EXPLAINED_SCORE)
    if explained.size:
        sizes = feature_sizes(design.points[explained])
        offset = len(values) - len(scores)
        for row, row_sizes in zip(explained.tolist(), sizes, strict=True):
            reasons[row] = _reason(profile, design, row, row_sizes, seconds, values, offset + row)
    return reasons


def trailing_statistics(sequence: ReadingSequence, profile: Profile) -> tuple[Floats, Floats]:
    """Mean and standard deviation of up to two windows of readings before each one."""
    before = pd.Series(sequence.values).where(np.isfinite(sequence.values)).shift()
    rolling = before.rolling(2 * profile.window, min_periods=profile.window // 2)
    average = rolling.mean().fillna(profile.centre).to_numpy()
    deviation = rolling.std().fillna(profile.spread).to_numpy()
    return average[sequence.history_size :], deviation[sequence.history_size :]


def feature_sizes(points: Floats) -> Floats:
    """How many robust standard deviations each feature is from normal; time unchanged on a similar scale."""
    sizes = np.abs(points)
    sizes[:, :4] = np.sinh(sizes[:, :4])
    unchanged, error, recent = (
        POINTS.index(name) for name in ("unchanged", "forecast_error", "recent_errors")
    )
    sizes[:, unchanged] = np.where(sizes[:, unchanged] > 0, MIN_SIZE * (1 + sizes[:, unchanged]), 0.0)
    sizes[:, error] = np.sinh(sizes[:, error])
    sizes[:, recent] *= MIN_SIZE
    return sizes


def _reason(
    profile: Profile,
    design: Design,
    row: int,
    sizes: Floats,
    seconds: Floats,
    values: Floats,
    position: int,
) -> Reason:
    if sizes.max() < MIN_SIZE:
        return Reason(ReasonCode.COMBINATION, {"size": float(sizes.max()), "readings": profile.window})
    feature = next(place for place in BY_CLARITY if sizes[place] >= CLEARER_SHARE * sizes.max())
    value, size, signed = float(values[position]), float(sizes[feature]), float(design.points[row, feature])
    above = signed > 0
    shown: dict[str, float]
    match POINTS[feature]:
        case "unchanged":
            return _unchanged(profile, int(design.run[row]))
        case "spread":
            code = ReasonCode.SPREAD_HIGH if above else ReasonCode.SPREAD_LOW
            shown = {"readings": SHORT_WINDOW, "size": size}
        case "trend":
            code = ReasonCode.TREND_ABOVE if above else ReasonCode.TREND_BELOW
            shown = {"readings": SHORT_WINDOW, "size": size, "window": profile.window}
        case "forecast_error":
            code = ReasonCode.FORECAST_ABOVE if above else ReasonCode.FORECAST_BELOW
            shown = {"value": value, "size": size}
        case "recent_errors":
            code = ReasonCode.ERRORS_HIGH if above else ReasonCode.ERRORS_LOW
            shown = {"readings": SHORT_WINDOW, "factor": float(np.exp(abs(signed)))}
        case "change":
            code = ReasonCode.STEP_CHANGE
            shown = {"change": value - float(values[position - 1]), "size": size}
        case "deviation" if profile.course is not None:
            code = ReasonCode.PROFILE_ABOVE if above else ReasonCode.PROFILE_BELOW
            level = float(profile.course.at(seconds[[position]])[0])
            shown = {"value": value, "size": size, "normal": profile.centre + profile.spread * level}
        case _:
            code = ReasonCode.LEVEL_ABOVE if above else ReasonCode.LEVEL_BELOW
            shown = {"value": value, "size": size, "normal": profile.centre}
    return Reason(code, shown)


def _unchanged(profile: Profile, run: int) -> Reason:
    # The detector looks back no further than its context: a longer run may have begun earlier.
    at_least = run >= profile.context
    if not profile.clocked:
        code = ReasonCode.UNCHANGED_READINGS_AT_LEAST if at_least else ReasonCode.UNCHANGED_READINGS
        return Reason(code, {"readings": run, "normal": round(profile.longest_unmoved)})
    code = ReasonCode.UNCHANGED_DURATION_AT_LEAST if at_least else ReasonCode.UNCHANGED_DURATION
    return Reason(code, {"duration": run * profile.step, "normal": profile.longest_unmoved * profile.step})
