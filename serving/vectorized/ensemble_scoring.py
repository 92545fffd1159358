"""What the voices of many sensors' detectors say of readings, brought to scores together.

Says of each reading just what `training.anomaly.ensemble` says of it; a test holds the two equal. Knows
packed detectors and designs, and that forests can be asked on a second core while densities are measured.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from serving.vectorized import packed_forest
from serving.vectorized.packed_detector import PackedDetector, rows_of
from serving.vectorized.packed_lof import factors
from serving.vectorized.parameter_table import SHELF, Shelf
from training.anomaly.base_detectors import VOICES, family_of
from training.anomaly.calibration import scores_at
from training.anomaly.features import Design

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# From so many rows on the forests are worth a thread of their own; few would wait for the GIL.
MANY_ROWS = 200
FORESTERS = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="forests")


def scores_of(
    detectors: Sequence[PackedDetector], of_row: Ints, design: Design, *, shelf: Shelf = SHELF
) -> Floats:
    """The score of each row in [0, 1] by its own sensor's detector; `of_row` ascends."""
    said = np.full((len(of_row), len(VOICES)), np.nan)
    place = rows_of(detectors)[of_row]

    def ask(family: str) -> None:
        for column, voice in enumerate(VOICES[:-1]):
            if family_of(voice) != family:
                continue
            full = voice.endswith("windows")
            speaking = shelf.table(f"{voice}.speaks")[place]
            heard = np.flatnonzero(speaking & design.full if full else speaking)
            if not heard.size:
                continue
            rows = (design.windows if full else design.points)[heard]
            if family == "forest":
                said[heard, column] = packed_forest.scores(
                    packed_forest.Lots.on_shelf(voice, place[heard]), rows
                )
            else:
                near = [one.surroundings.get(voice) for one in detectors]
                said[heard, column] = factors(near, of_row[heard], rows)

    _beside(lambda: ask("forest"), lambda: ask("density"), at_once=len(of_row) >= MANY_ROWS)
    said[:, -1] = design.deviation
    return _calibrated(shelf, place, said)


def _beside(one: Callable[[], None], other: Callable[[], None], *, at_once: bool) -> None:
    """Do both, each on a core of its own if `at_once`."""
    if not at_once:
        one()
        other()
        return
    waiting = FORESTERS.submit(one)
    try:
        other()
    finally:
        waiting.result()


def _calibrated(shelf: Shelf, place: Ints, said: Floats) -> Floats:
    knots, rarities, slopes, last = (shelf.table(name) for name in ("knots", "rarities", "slopes", "last"))
    weights = shelf.table("weights")[place]
    total, spoken = np.zeros(len(place)), np.zeros(len(place))
    for column in range(len(VOICES)):
        weight = weights[:, column]
        heard = np.flatnonzero(np.isfinite(said[:, column]) & (weight > 0))
        owner = place[heard]
        total[heard] += weight[heard] * _rarity(
            said[heard, column],
            knots[owner, column],
            rarities[owner, column],
            slopes[owner, column],
            last[owner, column],
        )
        spoken[heard] += weight[heard]
    surprise = total / np.maximum(spoken, 1e-12)
    rarity = _rarity(surprise, knots[place, -1], rarities[place, -1], slopes[place, -1], last[place, -1])
    return scores_at(rarity, shelf.table("budget")[place])


def _rarity(scores: Floats, knots: Floats, rarities: Floats, slopes: Floats, last: Floats) -> Floats:
    """`Rarity.of` with a table for each score."""
    rows = np.arange(len(scores))
    inside = np.maximum(scores, knots[:, 0])
    left = (inside[:, None] >= knots).sum(axis=1) - 1
    left = np.minimum(left, knots.shape[1] - 2)
    rise = (rarities[rows, left + 1] - rarities[rows, left]) / (knots[rows, left + 1] - knots[rows, left])
    inside = rarities[rows, left] + rise * (inside - knots[rows, left])
    return np.asarray(inside + slopes * np.maximum(scores - last, 0.0))
