"""Score rows of many sensors by their packed detectors: base detectors first, then the calibration.

Forests are scored on a second core while densities are computed. The features come from
`training.anomaly.features`, the calibration from `training.anomaly.ensemble`.
"""

from collections.abc import Sequence

import numpy as np

from serving.vectorized.packed_detector import PackedDetector, calibration_tables, table_rows
from serving.vectorized.packed_forest import ForestBatch, score_forests
from serving.vectorized.packed_lof import compute_lof
from training.anomaly.features import Design
from training.anomaly.models.base_detectors import BASE_DETECTORS, family_of
from training.common.arrays import Floats, Ints

# From this number of rows on, a thread for the forests saves time; fewer rows would wait for the GIL.
MIN_PARALLEL_ROWS = 200


def compute_scores(detectors: Sequence[PackedDetector], of_row: Ints, design: Design) -> Floats:
    """The score of each row in [0, 1]; `of_row` is the index of the row's detector and ascends.

    All detectors belong to one runtime.
    """
    runtime = detectors[0].runtime
    table_row = table_rows(detectors)[of_row]
    raw_scores = np.full((len(of_row), len(BASE_DETECTORS)), np.nan)
    raw_scores[:, -1] = design.deviation

    def score_family(family: str) -> None:
        for column, name in enumerate(BASE_DETECTORS[:-1]):
            if family_of(name) != family:
                continue
            is_windows = name.endswith("windows")
            active = runtime.parameters.column(f"{name}.active")[table_row]
            rows = np.flatnonzero(active & design.full if is_windows else active)
            if not rows.size:
                continue
            features = (design.windows if is_windows else design.points)[rows]
            if family == "forest":
                batch = ForestBatch.from_table(runtime.parameters, name, table_row[rows])
                raw_scores[rows, column] = score_forests(runtime.forests, batch, features)
            else:
                lofs = [detector.lofs.get(name) for detector in detectors]
                raw_scores[rows, column] = compute_lof(lofs, of_row[rows], features)

    if len(of_row) < MIN_PARALLEL_ROWS:
        score_family("forest")
        score_family("density")
    else:
        forests = runtime.pool.submit(score_family, "forest")
        try:
            score_family("density")
        finally:
            forests.result()
    return calibration_tables(runtime.parameters).score(table_row, raw_scores)
