"""How far a forecaster is believed beside the plain naive forecast it has to beat.

Knows errors of both from the same origins. A gain that a few weeks of rehearsal show by chance is gone the
week after, so the naive forecast keeps the share that the evidence leaves it.
"""

import numpy as np

from training.forecasting.naive_forecasts import LAST
from training.forecasting.rolling_origin import Rehearsal
from training.forecasting.time_grid import Floats

SHARES = np.linspace(0.0, 1.0, 21)
CAUTION = 2.0  # standard errors by which a mean gain is taken to be smaller than the rehearsal shows it
# By how much more than in the rehearsal a forecaster errs later, for it was chosen by that rehearsal: the
# same choice made without the quarter it is judged on erred 10 % more in the median, 18 % in the mean.
FLATTERED = 0.15
HALF = 0.5


def trust_in(rehearsal: Rehearsal, paths: Floats, naive: Floats, *, flattered: float = FLATTERED) -> float:
    """The forecaster's share of the forecast, in [0, 1], the naive one's being the rest.

    `paths` and `naive` are what both would have forecast: one row an origin. Each share is judged by what the
    blend gains on the naive forecast less what chance may have given it. The gain of the first half is dear
    and certain, for two that err differently err less together; that of the last is often neither.
    """
    alone = _mean_errors(rehearsal.truth - naive)
    known = ~np.isnan(alone)
    if not known.any():
        return 0.0
    weights = rehearsal.weights[known] / rehearsal.weights[known].sum()
    # Origins whose horizons overlap are no independent witnesses.
    witnesses = max(2.0, min(rehearsal.independent, float(known.sum())))

    def sure_gain(share: float) -> float:
        blended = _mean_errors(rehearsal.truth - (share * paths + (1 - share) * naive))
        gains = (alone - (1 + flattered * share) * blended)[known]
        mean = float(weights @ gains)
        return mean - CAUTION * float(np.sqrt(weights @ (gains - mean) ** 2 / witnesses))

    return float(max(SHARES, key=sure_gain))


def plainest_naive(rehearsal: Rehearsal) -> str:
    """The naive forecast to beat, or to serve: yesterday, unless the last value is more than half believed.

    Which naive erred least changes from month to month, and what everyone compares with is yesterday; last
    week is among what the forecaster may average.
    """
    usual = rehearsal.usual_naive
    share = trust_in(rehearsal, rehearsal.of_naive(LAST), rehearsal.of_naive(usual), flattered=0.0)
    return LAST if share > HALF else usual


def _mean_errors(errors: Floats) -> Floats:
    known = ~np.isnan(errors)
    counts = known.sum(axis=1)
    sums = np.where(known, np.abs(errors), 0.0).sum(axis=1)
    mean: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return mean
