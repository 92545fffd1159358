"""What the detector of one half of the readings says of the other half.

Knows how a window is cut in two, with a gap between. Readings held out from the voices lie between those
learned from, and centre, course and the idea of the next step have seen them: they stand for tomorrow, not
for a time as far away as the training is long, when a sensor that wanders will have wandered on. Leaves what
the surprises mean to `calibration`.
"""

import numpy as np
from numpy.typing import NDArray

from training.anomaly.base_detectors import DetectorParameters, learn_voices
from training.anomaly.ensemble import learn_ensemble
from training.anomaly.features import describe, learn_profile
from training.anomaly.sequence import Sequence

Floats = NDArray[np.float64]

FEWEST = 60  # readings of a half: with fewer, its detector is another one
# A half's detector may be smaller than the one it stands for: its scores are calibrated by themselves.
TREES, DENSITY_ROWS = 32, 400
GAP = 0.1  # of a half, at most a window: rows that look back into what was learned from are left out


def surprises_by_halves(sequence: Sequence, parameters: DetectorParameters, *, seed: int) -> list[Floats]:
    """How surprising each half is to the other's detector, in order of time; empty with too few readings."""
    seconds, values = sequence.seconds, sequence.values
    middle = values.size // 2
    if middle < FEWEST:
        return []
    smaller = parameters.model_copy(update={"trees": min(TREES, parameters.trees)})
    older, newer = np.arange(middle), np.arange(middle, values.size)
    found = []
    for learned, asked in ((newer, older), (older, newer)):
        profile = learn_profile(seconds[learned], values[learned], clocked=sequence.clocked)
        design = describe(profile, seconds[learned], values[learned])
        voices, said = learn_voices(design, profile, smaller, seed=seed, density_rows=DENSITY_ROWS)
        ensemble = learn_ensemble(said, smaller, step=profile.step, families=())
        behind = asked[0] > learned[0]
        rows = asked[min(profile.window, int(GAP * asked.size)) if behind else 0 :]
        whole = describe(profile, seconds[: rows[-1] + 1], values[: rows[-1] + 1])
        found.append(ensemble.surprise(voices.raw(whole.rows(rows))))
    return found
