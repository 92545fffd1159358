"""What the voices of many sensors' detectors say of readings, brought to scores together.

Says of each reading just what `training.ensemble` says of it; a test holds the two equal. Knows packed
detectors and designs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving import grove
from serving.packed_detector import PackedDetector
from serving.surroundings import factors
from training.calibration import scores_at
from training.features import Design
from training.voices import VOICES, deviation, family_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def scores_of(detectors: Sequence[PackedDetector], of_row: Ints, design: Design) -> Floats:
    """The score of each row in [0, 1] by its own sensor's detector; `of_row` ascends."""
    said = np.full((len(of_row), len(VOICES)), np.nan)
    for column, voice in enumerate(VOICES[:-1]):
        full = voice.endswith("windows")
        rows = design.windows if full else design.points
        speaking = np.array([voice in one.forests or voice in one.surroundings for one in detectors])
        heard = np.flatnonzero(speaking[of_row] & (design.full if full else True))
        if heard.size:
            number = (np.cumsum(speaking) - 1)[of_row[heard]]
            said[heard, column] = _said(voice, detectors, number, rows[heard])
    said[:, -1] = deviation(design)
    return _calibrated(detectors, of_row, said)


def _said(voice: str, detectors: Sequence[PackedDetector], number: Ints, rows: Floats) -> Floats:
    """One voice of those detectors that have it; `number` says whose among them each row is."""
    if family_of(voice) == "forest":
        return grove.scores([one.forests[voice] for one in detectors if voice in one.forests], number, rows)
    near = [one.surroundings[voice] for one in detectors if voice in one.surroundings]
    return factors(near, number, rows)


def _calibrated(detectors: Sequence[PackedDetector], of_row: Ints, said: Floats) -> Floats:
    tables = [one.tables for one in detectors]
    knots = np.stack([one.knots for one in tables])
    rarities = np.stack([one.rarities for one in tables])
    slopes = np.stack([one.slopes for one in tables])
    last = np.stack([one.last for one in tables])
    weights = np.stack([one.weights for one in tables])
    total, spoken = np.zeros(len(of_row)), np.zeros(len(of_row))
    for column in range(len(VOICES)):
        weight = weights[of_row, column]
        heard = np.flatnonzero(np.isfinite(said[:, column]) & (weight > 0))
        owner = of_row[heard]
        total[heard] += weight[heard] * _rarity(
            said[heard, column],
            knots[owner, column],
            rarities[owner, column],
            slopes[owner, column],
            last[owner, column],
        )
        spoken[heard] += weight[heard]
    surprise = total / np.maximum(spoken, 1e-12)
    rarity = _rarity(surprise, knots[of_row, -1], rarities[of_row, -1], slopes[of_row, -1], last[of_row, -1])
    return scores_at(rarity, np.array([one.budget for one in tables])[of_row])


def _rarity(scores: Floats, knots: Floats, rarities: Floats, slopes: Floats, last: Floats) -> Floats:
    """`Rarity.of` with a table for each score."""
    rows = np.arange(len(scores))
    inside = np.maximum(scores, knots[:, 0])
    left = (inside[:, None] >= knots).sum(axis=1) - 1
    left = np.minimum(left, knots.shape[1] - 2)
    rise = (rarities[rows, left + 1] - rarities[rows, left]) / (knots[rows, left + 1] - knots[rows, left])
    inside = rarities[rows, left] + rise * (inside - knots[rows, left])
    return np.asarray(inside + slopes * np.maximum(scores - last, 0.0))
