"""Whether a forecaster read from a file can be one: each number in its range, each list of its length.

Knows what honest forecasters never exceed. A file may be well formed and still ask for gigabytes, or for a
day of computing, at its first forecast; it is refused before that.
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

MAX_MEMBERS = 64  # tuning averages ten
MAX_HARMONICS = 100  # of a season; tuning goes up to 28
MAX_CHANGEPOINTS = 1_000  # Prophet's default is 25
MAX_SLOTS = 200_000  # of readings kept; training learns from 20,000
MAX_LAG_COUNT = 1_000  # tuning goes up to 48 and six seasonal ones
MAX_LAG = 1_300_000  # slots: two weeks of seconds, and to spare
CENTURY = 100 * 366 * 86_400.0  # seconds


def check_sound(fitted: FittedForecaster) -> None:
    """Refuse a forecaster that no training makes.

    Raises:
        ValueError: a number is not finite or out of its range, or a list has another length; which one.
    """
    _check(1 <= len(fitted.members) <= MAX_MEMBERS, f"{len(fitted.members)} structures")
    _check(len(fitted.shares) == len(fitted.members) + len(fitted.naives), "shares without a forecast")
    _check_finite("a share", fitted.shares, low=0.0, high=1.0)
    _check(sum(fitted.shares) > 0, "no forecast has a share")
    _check_finite("the range", (fitted.lowest, fitted.highest, fitted.skill, fitted.rows))
    _check(fitted.lowest <= fitted.highest, "a range upside down")
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
    _check(bool(state.known.any()), "no reading")
    _check(state.last < CENTURY, "readings of the next century")
    _check_finite("a reading", state.values[state.known])


def _check_bands(bands: Bands) -> None:
    _check(1 <= len(bands.sizes) <= MAX_SLOTS, f"{len(bands.sizes)} sizes of errors")
    _check_finite("the size of an error", bands.sizes, low=0.0)
    _check(bool((bands.sizes > 0).all()), "an error of size 0")
    _check_finite("a reach of an interval", np.concatenate((bands.below, bands.above)), low=0.0)
    _check_finite("the growth of errors", (bands.growth,), low=0.0, high=1.0)
    _check_finite("the largest error", (bands.limit,), low=0.0)


def _check_member(member: Member) -> None:
    _check_curve(member.curve)
    _check_autoregression(member.autoregression)


def _check_curve(curve: Curve) -> None:
    names = [season.name for season in curve.seasons]
    _check(len(set(names)) == len(names), "a season twice")
    for season in curve.seasons:
        _check(1 <= season.order <= MAX_HARMONICS, f"{season.order} harmonics")
    _check(len(curve.fitted.beta) == sum(2 * season.order for season in curve.seasons), "weights of seasons")
    _check(1 <= len(curve.changes) <= MAX_CHANGEPOINTS, f"{len(curve.changes)} changepoints")
    linear = curve.priors.growth == "linear"
    _check(not linear or len(curve.fitted.delta) == len(curve.changes), "changepoints without a bend")
    _check(len(curve.fitted.delta) <= MAX_CHANGEPOINTS, "bends without a changepoint")
    _check_finite("a time", (curve.start,), low=-CENTURY, high=CENTURY)
    _check_finite("the span or scale", (curve.span, curve.scale))
    _check(curve.span > 0 and curve.scale > 0, "a span or scale of 0")
    solution = curve.fitted
    _check_finite("a weight", (curve.floor, solution.k, solution.m, solution.sigma, *solution.beta))
    _check_finite("a changepoint", (*curve.changes, *solution.delta))


def _check_autoregression(autoregression: Autoregression) -> None:
    _check(
        len(autoregression.lags) == len(autoregression.weights) <= MAX_LAG_COUNT,
        "lags without a weight, or too many",
    )
    _check_finite("a lag", autoregression.lags, low=1, high=MAX_LAG)
    _check_finite("a lag's weight", autoregression.weights)
    _check_finite("the carry", (autoregression.carry,), low=0.0, high=1.0)


def _check_finite(
    name: str, numbers: Iterable[float] | Floats, *, low: float = -np.inf, high: float = np.inf
) -> None:
    values = np.asarray(list(numbers), dtype=np.float64)
    wrong = values[~(np.isfinite(values) & (values >= low) & (values <= high))]
    _check(not len(wrong), f"{name} is {wrong[:1]}")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
