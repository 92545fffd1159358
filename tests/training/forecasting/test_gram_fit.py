"""The optimum found from the Gram matrix is Prophet's optimum, or better."""

import logging

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from prophet import Prophet

from tests.support.prophet_fits import CASES, SEASONS, fit_ours
from training.common.times import epoch_seconds
from training.forecasting.gram_fit import DesignSums
from training.forecasting.prophet_model import Priors
from training.forecasting.seasonality import fourier_columns
from training.forecasting.time_grid import DAY


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("cmdstanpy").disabled = True


def empty_prophet(priors: Priors):
    return Prophet(
        growth=priors.growth,
        changepoint_prior_scale=priors.changepoint_scale,
        seasonality_prior_scale=priors.season_scale,
        daily_seasonality=4,
        weekly_seasonality=3,
        yearly_seasonality=False,
        scaling="minmax",
        uncertainty_samples=0,
    )


def objective(model, *, k: float, m: float, delta: NDArray, beta: NDArray, sigma: float) -> float:
    """Prophet's Stan model written out: minus its log density without constants."""
    history = model.history
    features, scales, _, _ = model.make_all_seasonality_features(history)
    t = history["t"].to_numpy()
    linear = model.growth == "linear"
    trend = model.piecewise_linear(t, delta, k, m, model.changepoints_t) if linear else model.flat_trend(t, m)
    residuals = history["y_scaled"].to_numpy() - trend - features.to_numpy() @ beta
    priors = (k**2 + m**2) / 50 + np.abs(delta).sum() / model.changepoint_prior_scale
    priors += 2 * sigma**2 + (beta**2 / np.square(scales)).sum() / 2
    return float(len(t) * np.log(sigma) + residuals @ residuals / (2 * sigma**2) + priors)


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize("scale", [0.005, 0.5])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_our_optimum_is_never_worse_than_cmdstans(case, scale, growth):
    """By Prophet's own objective, to one millionth."""
    priors = Priors(growth, scale, 10.0)
    theirs = empty_prophet(priors).fit(case.frame())
    result = {name: np.asarray(value).ravel() for name, value in theirs.params.items()}

    ours = fit_ours(case.frame(), priors).fitted

    delta = ours.delta if growth == "linear" else np.zeros_like(result["delta"])
    of_theirs = objective(
        theirs,
        k=result["k"][0],
        m=result["m"][0],
        delta=result["delta"],
        beta=result["beta"],
        sigma=result["sigma_obs"][0],
    )
    of_ours = objective(theirs, k=ours.k, m=ours.m, delta=delta, beta=ours.beta, sigma=ours.sigma)
    assert of_ours <= of_theirs + 1e-6 * abs(of_theirs)


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forecasts_agree_with_cmdstans(case, growth):
    """One day ahead, to a quarter of the noise with a linear trend, to a thousandth with a flat one."""
    priors = Priors(growth, 0.05, 10.0)
    frame = case.frame()
    theirs = empty_prophet(priors).fit(frame)
    ahead = pd.DataFrame({"ds": pd.date_range(frame["ds"].iloc[-1], periods=25, freq="h")[1:]})

    ours = fit_ours(frame, priors).at(epoch_seconds(pd.DatetimeIndex(ahead["ds"])))

    noise = 0.4
    tolerance = (0.25 if growth == "linear" else 0.001) * noise
    assert np.abs(ours - theirs.predict(ahead)["yhat"].to_numpy()).max() < tolerance


@pytest.mark.parametrize(("first", "last"), [(0, 500), (17, 300), (120, 140), (128, 384)])
def test_running_sums_give_the_gram_matrix_of_any_rows(first, last):
    frame = CASES[2].frame()
    days = epoch_seconds(pd.DatetimeIndex(frame["ds"])) / DAY
    seasons = fourier_columns(days, SEASONS)
    y = frame["y"].to_numpy()[first:last]
    changes = np.array([0.2, 0.55])
    columns = np.array([0, 3, 9])

    problem = DesignSums(days, seasons).problem(y, first, last, changes=changes, columns=columns)

    time = (days[first:last] - days[first]) / (days[last - 1] - days[first])
    ramps = np.maximum(time[:, None] - changes, 0)
    design = np.column_stack((time, ramps, np.ones_like(time), seasons[first:last, columns]))
    np.testing.assert_allclose(problem.gram, design.T @ design, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(problem.moments, design.T @ y, rtol=1e-9)


def test_a_constant_series_is_fitted_exactly():
    frame = CASES[0].frame().assign(y=7.5)

    curve = fit_ours(frame, Priors("linear"))

    np.testing.assert_array_equal(curve.at(epoch_seconds(pd.DatetimeIndex(frame["ds"]))), 7.5)
