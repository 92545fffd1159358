"""Score each half of the training by a detector fitted to the other half.

Held-out blocks lie between training blocks, and the sensor's profile is fitted to them: they represent the
near future only. The halves represent a time as far away as the training is long, when a level that wanders
has moved. What the surprises mean is learned in `calibration`.
"""

import numpy as np

from training.anomaly.ensemble import fit_ensemble
from training.anomaly.models.base_detectors import DetectorParameters, fit_base_detectors
from training.anomaly.profile import compute_features, fit_profile
from training.anomaly.sequence import ReadingSequence
from training.common.arrays import Floats

MIN_HALF_READINGS = 60  # with fewer, a half's detector behaves differently
# Smaller than the detector they represent: a half's scores have a calibration of their own.
MAX_TREES, MAX_LOF_ROWS = 32, 400
GAP_SHARE = 0.1  # of a half, at most a window: rows whose windows reach into the other half are left out


def split_half_surprises(
    sequence: ReadingSequence, parameters: DetectorParameters, *, seed: int
) -> list[Floats]:
    """The surprises of each half to the other's detector, in order of time; empty with too few readings."""
    seconds, values = sequence.seconds, sequence.values
    middle = values.size // 2
    if middle < MIN_HALF_READINGS:
        return []
    smaller = parameters.model_copy(update={"trees": min(MAX_TREES, parameters.trees)})
    older, newer = np.arange(middle), np.arange(middle, values.size)
    surprises = []
    for trained, scored in ((newer, older), (older, newer)):
        profile = fit_profile(seconds[trained], values[trained], clocked=sequence.clocked)
        design = compute_features(profile, seconds[trained], values[trained])
        base_detectors, raw_scores = fit_base_detectors(
            design, profile, smaller, seed=seed, density_rows=MAX_LOF_ROWS
        )
        ensemble = fit_ensemble(raw_scores, smaller, step=profile.step, families=())
        behind = scored[0] > trained[0]
        rows = scored[min(profile.window, int(GAP_SHARE * scored.size)) if behind else 0 :]
        whole = compute_features(profile, seconds[: rows[-1] + 1], values[: rows[-1] + 1])
        surprises.append(ensemble.surprise(base_detectors.raw_scores(whole.select(rows))))
    return surprises
