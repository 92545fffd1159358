"""What the voices of many sensors' detectors say of readings, brought to scores together.

Says of each reading just what `training.ensemble` says of it; a test holds the two equal. Knows packed
detectors and designs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving import grove
from serving.packed_detector import PackedDetector
from training.features import Design
from training.neighbours import NEVER_ZERO
from training.voices import VOICES, deviation, family_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def scores_of(detectors: Sequence[PackedDetector], of_row: Ints, design: Design) -> Floats:
    """The score of each row in [0, 1] by its own sensor's detector; `of_row` ascends."""
    said = np.full((len(of_row), len(VOICES)), np.nan)
    for column, voice in enumerate(VOICES[:-1]):
        speak = _forests if family_of(voice) == "forest" else _densities
        usable = design.full if voice.endswith("windows") else np.ones(len(of_row), bool)
        rows = design.windows if voice.endswith("windows") else design.points
        speak(voice, detectors, of_row, rows, usable, said[:, column])
    said[:, -1] = deviation(design)
    return _calibrated(detectors, of_row, said)


def _forests(
    voice: str,
    detectors: Sequence[PackedDetector],
    of_row: Ints,
    rows: Floats,
    usable: NDArray[np.bool_],
    said: Floats,
) -> None:
    speaking = [place for place, one in enumerate(detectors) if voice in one.forests]
    if not speaking:
        return
    number = np.full(len(detectors), -1)
    number[speaking] = np.arange(len(speaking))
    heard = np.flatnonzero(usable & (number[of_row] >= 0))
    plots = [detectors[place].forests[voice] for place in speaking]
    if heard.size:
        said[heard] = grove.scores(plots, number[of_row[heard]], rows[heard])


def _densities(
    voice: str,
    detectors: Sequence[PackedDetector],
    of_row: Ints,
    rows: Floats,
    usable: NDArray[np.bool_],
    said: Floats,
) -> None:
    """LOF: one search a sensor, the rest for all that have the same number of neighbours."""
    heard = np.flatnonzero(usable)
    if not heard.size:
        return
    owners, firsts = np.unique(of_row[heard], return_index=True)
    found: dict[int, list[tuple[Ints, Floats, Floats]]] = {}
    for owner, some in zip(owners.tolist(), np.split(heard, firsts[1:]), strict=True):
        near = detectors[owner].densities.get(voice)
        if near is not None:
            distances, indices = near.tree.query(rows[some], near.k)
            reached = np.maximum(distances, near.reach[indices])
            found.setdefault(near.k, []).append((some, reached, near.density[indices]))
    for parts in found.values():
        where, reached, density = (np.concatenate(part) for part in zip(*parts, strict=True))
        own = 1.0 / (reached.mean(axis=1) + NEVER_ZERO)
        said[where] = density.mean(axis=1) / own


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
    return _scale(rarity, np.array([one.budget for one in tables])[of_row])


def _rarity(scores: Floats, knots: Floats, rarities: Floats, slopes: Floats, last: Floats) -> Floats:
    """`Rarity.of` with a table for each score."""
    rows = np.arange(len(scores))
    inside = np.maximum(scores, knots[:, 0])
    left = (inside[:, None] >= knots).sum(axis=1) - 1
    left = np.minimum(left, knots.shape[1] - 2)
    rise = (rarities[rows, left + 1] - rarities[rows, left]) / (knots[rows, left + 1] - knots[rows, left])
    inside = rarities[rows, left] + rise * (inside - knots[rows, left])
    return np.asarray(inside + slopes * np.maximum(scores - last, 0.0))


def _scale(rarity: Floats, budget: Floats) -> Floats:
    """`Scale.of` with a budget for each rarity."""
    steps = rarity - budget
    ordinary = 0.3 * np.maximum(rarity, 0.0) / (budget - 1.0)
    beyond = np.maximum(steps - 2.0, 0.0)
    certain = 0.9 + 0.1 * (1.0 - 1.0 / (1.0 + 2.0 * beyond))
    return np.select([steps < -1.0, steps <= 2.0], [ordinary, 0.5 + 0.2 * steps], certain)
