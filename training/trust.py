"""How far a forecaster is believed beside the plain naive forecast it has to beat.

Knows errors of both from the same origins. A gain that a few weeks of rehearsal show by chance is gone the
week after, so the naive forecast keeps the share that the evidence leaves it.
"""

import numpy as np

from training.rolling import Rehearsal
from training.timegrid import Floats

CLEARLY = 5.0  # standard errors of the mean gain at which the forecaster is believed wholly
# By how much more than in the rehearsal a forecaster errs later, for it was chosen by that rehearsal.
FLATTERED = 0.15
HALF = 0.5


def trust_in(rehearsal: Rehearsal, paths: Floats, naive: Floats) -> float:
    """The forecaster's share of the forecast, in [0, 1], the naive one's being the rest.

    `paths` and `naive` are what both would have forecast: one row an origin.
    """
    ours, theirs = (_mean_errors(rehearsal.truth - made) for made in (paths, naive))
    known = ~np.isnan(ours)
    if not known.any():
        return 0.0
    gains = (theirs - (1 + FLATTERED) * ours)[known]
    weights = rehearsal.weights[known] / rehearsal.weights[known].sum()
    mean = float(weights @ gains)
    # Origins whose horizons overlap are no independent witnesses.
    witnesses = max(2.0, min(rehearsal.independent, float(known.sum())))
    error = float(np.sqrt(weights @ (gains - mean) ** 2 / witnesses))
    return float(np.clip(mean / max(CLEARLY * error, 1e-300), 0.0, 1.0))


def plainest_naive(rehearsal: Rehearsal) -> str:
    """The naive forecast to beat, or to serve: the usual one, unless the best is more than half believed."""
    usual, (best, _) = rehearsal.usual_naive, rehearsal.best_naive()
    if best == usual or trust_in(rehearsal, rehearsal.of_naive(best), rehearsal.of_naive(usual)) <= HALF:
        return usual
    return best


def _mean_errors(errors: Floats) -> Floats:
    known = ~np.isnan(errors)
    counts = known.sum(axis=1)
    sums = np.where(known, np.abs(errors), 0.0).sum(axis=1)
    mean: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return mean
