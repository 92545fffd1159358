"""What the voices of many sensors' detectors say of readings, brought to scores together.

Says of each reading just what `training.anomaly.ensemble` says of it; a test holds the two equal. Knows
packed detectors and designs, and that forests can be asked on a second core while densities are measured.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serving.vectorized import packed_forest
from serving.vectorized.packed_detector import PackedDetector, table_rows
from serving.vectorized.packed_lof import compute_lof
from serving.vectorized.parameter_table import PARAMETER_TABLE, ParameterTable
from training.anomaly.base_detectors import BASE_DETECTORS, family_of
from training.anomaly.calibration import score_rarities
from training.anomaly.features import Design
from training.common.arrays import Floats, Ints

# From so many rows on the forests are worth a thread of their own; few would wait for the GIL.
MIN_PARALLEL_ROWS = 200
FOREST_POOL = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="forests")


def compute_scores(
    detectors: Sequence[PackedDetector],
    of_row: Ints,
    design: Design,
    *,
    parameters: ParameterTable = PARAMETER_TABLE,
) -> Floats:
    """The score of each row in [0, 1] by its own sensor's detector; `of_row` ascends."""
    raw_scores = np.full((len(of_row), len(BASE_DETECTORS)), np.nan)
    table_row = table_rows(detectors)[of_row]

    def score_family(family: str) -> None:
        for column, name in enumerate(BASE_DETECTORS[:-1]):
            if family_of(name) != family:
                continue
            full = name.endswith("windows")
            active = parameters.column(f"{name}.speaks")[table_row]
            scored_rows = np.flatnonzero(active & design.full if full else active)
            if not scored_rows.size:
                continue
            rows = (design.windows if full else design.points)[scored_rows]
            if family == "forest":
                raw_scores[scored_rows, column] = packed_forest.score_forests(
                    packed_forest.ForestBatch.from_table(name, table_row[scored_rows]), rows
                )
            else:
                lofs = [one.lofs.get(name) for one in detectors]
                raw_scores[scored_rows, column] = compute_lof(lofs, of_row[scored_rows], rows)

    _run_both(
        lambda: score_family("forest"),
        lambda: score_family("density"),
        at_once=len(of_row) >= MIN_PARALLEL_ROWS,
    )
    raw_scores[:, -1] = design.deviation
    return _calibrate(parameters, table_row, raw_scores)


def _run_both(first: Callable[[], None], second: Callable[[], None], *, at_once: bool) -> None:
    """Do both, each on a core of its own if `at_once`."""
    if not at_once:
        first()
        second()
        return
    future = FOREST_POOL.submit(first)
    try:
        second()
    finally:
        future.result()


def _calibrate(parameters: ParameterTable, table_row: Ints, raw_scores: Floats) -> Floats:
    knots, rarities, slopes, last = (
        parameters.column(name) for name in ("knots", "rarities", "slopes", "last")
    )
    weights = parameters.column("weights")[table_row]
    total, weight_sum = np.zeros(len(table_row)), np.zeros(len(table_row))
    for column in range(len(BASE_DETECTORS)):
        weight = weights[:, column]
        scored_rows = np.flatnonzero(np.isfinite(raw_scores[:, column]) & (weight > 0))
        owner = table_row[scored_rows]
        total[scored_rows] += weight[scored_rows] * _interpolate_rarity(
            raw_scores[scored_rows, column],
            knots[owner, column],
            rarities[owner, column],
            slopes[owner, column],
            last[owner, column],
        )
        weight_sum[scored_rows] += weight[scored_rows]
    surprise = total / np.maximum(weight_sum, 1e-12)
    rarity = _interpolate_rarity(
        surprise, knots[table_row, -1], rarities[table_row, -1], slopes[table_row, -1], last[table_row, -1]
    )
    return score_rarities(rarity, parameters.column("budget")[table_row])


def _interpolate_rarity(
    scores: Floats, knots: Floats, rarities: Floats, slopes: Floats, last: Floats
) -> Floats:
    """`Rarity.of` with a table for each score."""
    rows = np.arange(len(scores))
    inside = np.maximum(scores, knots[:, 0])
    left = (inside[:, None] >= knots).sum(axis=1) - 1
    left = np.minimum(left, knots.shape[1] - 2)
    rise = (rarities[rows, left + 1] - rarities[rows, left]) / (knots[rows, left + 1] - knots[rows, left])
    inside = rarities[rows, left] + rise * (inside - knots[rows, left])
    return np.asarray(inside + slopes * np.maximum(scores - last, 0.0))
