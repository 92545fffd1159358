"""Prophet's own object holds our optimum, and Prophet still has the attributes that the adapter sets."""

import numpy as np
import pandas as pd
import pytest
from prophet import Prophet

from tests.support.prophet_fits import CASES, SEASONS, fit_ours
from training.common.times import epoch_seconds
from training.forecasting.prophet_adapter import import_prophet, to_prophet
from training.forecasting.prophet_model import Priors

# What Prophet's `fit` sets and ours sets instead: a version that renames or adds one must fail here.
SET_BY_PREPROCESSING = {
    "changepoints", "changepoints_t", "component_modes", "fit_kwargs", "history", "history_dates", "start",
    "t_scale", "train_component_cols", "y_min", "y_scale",
}  # fmt: skip


def genuine(frame: pd.DataFrame, priors: Priors, seasons=SEASONS) -> Prophet:
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))
    return to_prophet(fit_ours(frame, priors, seasons), seconds, frame["y"].to_numpy())


def fitted_by_prophet(frame: pd.DataFrame) -> Prophet:
    return Prophet(
        weekly_seasonality=3, daily_seasonality=4, yearly_seasonality=False, scaling="minmax",
        uncertainty_samples=0,
    ).fit(frame)  # fmt: skip


@pytest.fixture(scope="module")
def theirs() -> Prophet:
    import_prophet()  # silences the log of its fit
    return fitted_by_prophet(CASES[0].frame())


def test_the_object_has_every_attribute_that_prophet_gives_a_fitted_model(theirs):
    ours = genuine(CASES[0].frame(), Priors("linear"))

    # The raw result of Stan, which only Prophet's own plots of the sampler use.
    assert set(vars(theirs)) - set(vars(ours)) <= {"stan_fit"}
    assert set(vars(ours)) <= set(vars(theirs))


def test_prophet_itself_sets_what_the_adapter_sets(theirs):
    """An attribute that Prophet no longer fills would be set by us to no effect."""
    empty = vars(Prophet())
    filled = {name for name, value in vars(theirs).items() if value is not None}

    assert filled >= SET_BY_PREPROCESSING | {"params"}
    assert set(theirs.params) >= {"k", "m", "delta", "beta", "sigma_obs"}
    assert set(empty) | {"history_dates"} >= SET_BY_PREPROCESSING


@pytest.mark.parametrize("name", ["params", "history"])
def test_parameters_and_history_have_the_form_that_prophet_gives_them(theirs, name):
    ours = getattr(genuine(CASES[0].frame(), Priors("linear")), name)

    expected = getattr(theirs, name)
    if name == "history":
        assert set(ours) == set(expected)
    else:
        assert {key: np.ndim(ours[key]) for key in ours} == {key: np.ndim(expected[key]) for key in ours}
        assert {key: np.size(ours[key]) for key in ours} == {key: np.size(expected[key]) for key in ours}


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize("seasons", [(), SEASONS], ids=["bare", "seasonal"])
def test_the_object_predicts_as_the_curve_does(growth, seasons):
    frame = CASES[2].frame()
    curve = fit_ours(frame, Priors(growth, 0.05, 10.0), seasons)
    times = pd.date_range("2025-12-31 12:17", periods=300, freq="53min")

    predicted = genuine(frame, Priors(growth, 0.05, 10.0), seasons).predict(pd.DataFrame({"ds": times}))

    np.testing.assert_allclose(predicted["yhat"], curve.at(epoch_seconds(times)), rtol=1e-9)


def test_the_future_frame_starts_after_the_newest_reading():
    frame = CASES[0].frame()
    curve = fit_ours(frame, Priors())
    model = to_prophet(curve, epoch_seconds(pd.DatetimeIndex(frame["ds"])), frame["y"].to_numpy())

    future = model.make_future_dataframe(2, freq="h", include_history=False)

    assert future["ds"].iloc[0] == frame["ds"].iloc[-1] + pd.Timedelta(hours=1)
