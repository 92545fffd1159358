"""How far a forecaster is believed beside the plain naive forecast it has to beat.

Knows errors of both from the same origins. A gain that a few weeks of rehearsal show by chance is gone the
week after, so the naive forecast keeps the share that the evidence leaves it.
"""

import numpy as np

from training.common.arrays import Floats
from training.forecasting.naive_forecasts import LAST_VALUE
from training.forecasting.rolling_origin import RollingBacktest

CANDIDATE_SHARES = np.linspace(0.0, 1.0, 21)
CAUTION_STANDARD_ERRORS = (
    2.0  # standard errors by which a mean gain is taken to be smaller than the rehearsal shows it
)
# By how much more than in the rehearsal a forecaster errs later, for it was chosen by that rehearsal: the
# same choice made without the quarter it is judged on erred 10 % more in the median, 18 % in the mean.
OPTIMISM_BIAS = 0.15
LAST_VALUE_MIN_SHARE = 0.5


def forecaster_share(
    backtest: RollingBacktest, paths: Floats, naive: Floats, *, optimism: float = OPTIMISM_BIAS
) -> float:
    """The forecaster's share of the forecast, in [0, 1], the naive one's being the rest.

    `paths` and `naive` are what both would have forecast: one row an origin. Each share is judged by what the
    blend gains on the naive forecast less what chance may have given it. The gain of the first half is dear
    and certain, for two that err differently err less together; that of the last is often neither.
    """
    naive_errors = _mean_errors(backtest.truth - naive)
    known = ~np.isnan(naive_errors)
    if not known.any():
        return 0.0
    weights = backtest.weights[known] / backtest.weights[known].sum()
    # Origins whose horizons overlap are no independent witnesses.
    effective_origins = max(2.0, min(backtest.independent, float(known.sum())))

    def sure_gain(share: float) -> float:
        blended = _mean_errors(backtest.truth - (share * paths + (1 - share) * naive))
        gains = (naive_errors - (1 + optimism * share) * blended)[known]
        mean = float(weights @ gains)
        return mean - CAUTION_STANDARD_ERRORS * float(
            np.sqrt(weights @ (gains - mean) ** 2 / effective_origins)
        )

    return float(max(CANDIDATE_SHARES, key=sure_gain))


def select_baseline(backtest: RollingBacktest) -> str:
    """The naive forecast to beat, or to serve: yesterday, unless the last value is more than half believed.

    Which naive erred least changes from month to month, and what everyone compares with is yesterday; last
    week is among what the forecaster may average.
    """
    usual = backtest.reference_naive
    share = forecaster_share(
        backtest, backtest.forecast_naive(LAST_VALUE), backtest.forecast_naive(usual), optimism=0.0
    )
    return LAST_VALUE if share > LAST_VALUE_MIN_SHARE else usual


def _mean_errors(errors: Floats) -> Floats:
    known = ~np.isnan(errors)
    counts = known.sum(axis=1)
    sums = np.where(known, np.abs(errors), 0.0).sum(axis=1)
    mean: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return mean
