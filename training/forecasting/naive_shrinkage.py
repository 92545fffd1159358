"""The share of the forecaster in a blend with the naive forecast that it must beat.

A gain that a few weeks of backtest show by chance is gone a week later, so the naive forecast keeps the
share that the evidence leaves it.
"""

import numpy as np

from training.common.arrays import Floats
from training.forecasting.naive_forecasts import LAST_VALUE
from training.forecasting.rolling_origin import RollingBacktest

CANDIDATE_SHARES = np.linspace(0.0, 1.0, 21)
CAUTION_STANDARD_ERRORS = 2.0  # subtracted from the mean gain
# Share by which errors are larger after the backtest, because the forecaster was chosen by it: chosen without
# the quarter that it was judged on, it erred 10 % more in the median, 18 % in the mean.
OPTIMISM_BIAS = 0.15
LAST_VALUE_MIN_SHARE = 0.5


def forecaster_share(
    backtest: RollingBacktest, paths: Floats, naive: Floats, *, optimism: float = OPTIMISM_BIAS
) -> float:
    """The forecaster's share in [0, 1]; the rest is the naive forecast's.

    `paths` and `naive` are both forecasts: one row per origin. The share is the one whose blend gains most
    on the naive forecast, less what may be chance. The first half gains most, because two forecasts with
    different errors have smaller errors together; the last half often gains nothing.
    """
    naive_errors = _mean_errors(backtest.truth - naive)
    known = ~np.isnan(naive_errors)
    if not known.any():
        return 0.0
    weights = backtest.weights[known] / backtest.weights[known].sum()
    # Origins whose horizons overlap are not independent.
    effective_origins = max(2.0, min(backtest.independent, float(known.sum())))

    def cautious_gain(share: float) -> float:
        blended = _mean_errors(backtest.truth - (share * paths + (1 - share) * naive))
        gains = (naive_errors - (1 + optimism * share) * blended)[known]
        mean = float(weights @ gains)
        return mean - CAUTION_STANDARD_ERRORS * float(
            np.sqrt(weights @ (gains - mean) ** 2 / effective_origins)
        )

    return float(max(CANDIDATE_SHARES, key=cautious_gain))


def select_baseline(backtest: RollingBacktest) -> str:
    """The naive forecast to beat or to serve: yesterday, unless the last value gets over half of a blend.

    Which naive forecast has the smallest error changes from month to month, and yesterday is the usual
    reference. Last week is a candidate for the forecaster's own average.
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
