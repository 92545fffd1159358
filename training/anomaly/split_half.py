"""What the detector of one half of the readings says of the other half.

Knows how a window is cut in two, with a gap between. Readings held out from the voices lie between those
learned from, and centre, course and the idea of the next step have seen them: they stand for tomorrow, not
for a time as far away as the training is long, when a sensor that wanders will have wandered on. Leaves what
the surprises mean to `calibration`.
"""

import numpy as np

from training.anomaly.base_detectors import DetectorParameters, fit_base_detectors
from training.anomaly.ensemble import fit_ensemble
from training.anomaly.profile import compute_features, fit_profile
from training.anomaly.sequence import ReadingSequence
from training.common.arrays import Floats

MIN_HALF_READINGS = 60  # readings of a half: with fewer, its detector is another one
# A half's detector may be smaller than the one it stands for: its scores are calibrated by themselves.
MAX_TREES, MAX_LOF_ROWS = 32, 400
GAP_SHARE = 0.1  # of a half, at most a window: rows that look back into what was learned from are left out


def split_half_surprises(
    sequence: ReadingSequence, parameters: DetectorParameters, *, seed: int
) -> list[Floats]:
    """How surprising each half is to the other's detector, in order of time; empty with too few readings."""
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
