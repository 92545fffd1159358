"""Check a forecaster that was read from a file: every number in its range, every list of its length.

A well-formed file may still ask for gigabytes, or for a day of computing, at its first forecast; it is
refused before that. Reading is `training.forecasting.serialization`.
"""

from collections.abc import Iterable

import numpy as np

from training.common.arrays import Floats
from training.forecasting.fitted_forecaster import FittedForecaster
from training.forecasting.intervals import Bands
from training.forecasting.prophet_model import Curve
from training.forecasting.residual_autoregression import Autoregression
from training.forecasting.structures import Member
from training.forecasting.time_grid import TimeGrid

MAX_MEMBERS = 64  # tuning averages 10
MAX_HARMONICS = 100  # in a season; tuning goes up to 28
MAX_CHANGEPOINTS = 1_000  # Prophet's default is 25
MAX_SLOTS = 200_000  # of readings; training uses 20,000
MAX_LAG_COUNT = 1_000  # tuning goes up to 48 and six seasonal ones
MAX_LAG = 1_300_000  # slots: two weeks of readings every second, and a margin
CENTURY = 100 * 366 * 86_400.0  # seconds


def check_fitted(fitted: FittedForecaster) -> None:
    """Check that training can have produced this forecaster.

    Raises:
        ValueError: names the number that is not finite or out of range, or the list of the wrong length.
    """
    _check(1 <= len(fitted.members) <= MAX_MEMBERS, f"{len(fitted.members)} structures")
    _check(
        len(fitted.shares) == len(fitted.members) + len(fitted.naives),
        "the number of shares is not the number of forecasts",
    )
    _check_finite("a share", fitted.shares, low=0.0, high=1.0)
    _check(sum(fitted.shares) > 0, "no forecast has a share")
    _check_finite("the range", (fitted.lowest, fitted.highest, fitted.skill, fitted.rows))
    _check(fitted.lowest <= fitted.highest, "the lowest value is above the highest")
    _check_state(fitted.state)
    _check_bands(fitted.bands)
    for naive in fitted.naives:
        _check(1 <= naive.season <= MAX_LAG, f"a season of {naive.season} slots")
    for member in fitted.members:
        _check_member(member)


def _check_state(state: TimeGrid) -> None:
    _check_finite("a time", (state.start,), low=-CENTURY, high=CENTURY)
    _check_finite("the step", (state.step,), low=1e-3, high=CENTURY)
    _check(1 <= len(state) <= MAX_SLOTS, f"{len(state)} slots of readings")
    _check(bool(state.known.any()), "no readings")
    _check(state.last < CENTURY, "readings more than a century after 1970")
    _check_finite("a reading", state.values[state.known])


def _check_bands(bands: Bands) -> None:
    _check(1 <= len(bands.sizes) <= MAX_SLOTS, f"{len(bands.sizes)} error sizes")
    _check_finite("an error size", bands.sizes, low=0.0)
    _check(bool((bands.sizes > 0).all()), "an error size is 0")
    _check_finite("an interval bound", np.concatenate((bands.below, bands.above)), low=0.0)
    _check_finite("the growth of the errors", (bands.growth,), low=0.0, high=1.0)
    _check_finite("the limit of the errors", (bands.limit,), low=0.0)


def _check_member(member: Member) -> None:
    _check_curve(member.curve)
    _check_autoregression(member.autoregression)


def _check_curve(curve: Curve) -> None:
    names = [season.name for season in curve.seasons]
    _check(len(set(names)) == len(names), "a season occurs twice")
    for season in curve.seasons:
        _check(1 <= season.order <= MAX_HARMONICS, f"{season.order} harmonics")
    _check(
        len(curve.fitted.beta) == sum(2 * season.order for season in curve.seasons),
        "the number of season weights does not match the seasons",
    )
    _check(1 <= len(curve.changes) <= MAX_CHANGEPOINTS, f"{len(curve.changes)} changepoints")
    linear = curve.priors.growth == "linear"
    _check(
        not linear or len(curve.fitted.delta) == len(curve.changes),
        "the number of trend changes is not the number of changepoints",
    )
    _check(len(curve.fitted.delta) <= MAX_CHANGEPOINTS, f"{len(curve.fitted.delta)} trend changes")
    _check_finite("a time", (curve.start,), low=-CENTURY, high=CENTURY)
    _check_finite("the span or scale", (curve.span, curve.scale))
    _check(curve.span > 0 and curve.scale > 0, "the span or the scale is 0")
    solution = curve.fitted
    _check_finite("a weight", (curve.floor, solution.k, solution.m, solution.sigma, *solution.beta))
    _check_finite("a changepoint", (*curve.changes, *solution.delta))


def _check_autoregression(autoregression: Autoregression) -> None:
    _check(
        len(autoregression.lags) == len(autoregression.weights) <= MAX_LAG_COUNT,
        f"{len(autoregression.lags)} lags, {len(autoregression.weights)} weights",
    )
    _check_finite("a lag", autoregression.lags, low=1, high=MAX_LAG)
    _check_finite("the weight of a lag", autoregression.weights)
    _check_finite("the decay over a gap", (autoregression.carry,), low=0.0, high=1.0)


def _check_finite(
    name: str, numbers: Iterable[float] | Floats, *, low: float = -np.inf, high: float = np.inf
) -> None:
    values = np.asarray(list(numbers), dtype=np.float64)
    wrong = values[~(np.isfinite(values) & (values >= low) & (values <= high))]
    _check(not len(wrong), f"{name} is {wrong[:1]}")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
