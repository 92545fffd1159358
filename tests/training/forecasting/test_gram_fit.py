"""Prophet's optimum from the Gram matrix is Prophet's optimum, or better."""

import json
import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from prophet import Prophet
from prophet.serialize import model_from_json, model_to_json

from training.common.times import epoch_seconds
from training.forecasting.gram_fit import DesignSums
from training.forecasting.prophet_json import curve_from_json, curve_to_json
from training.forecasting.prophet_model import Curve, Priors, fit_curve, to_prophet
from training.forecasting.seasonality import Season, fourier_columns
from training.forecasting.time_grid import DAY

SEASONS = (Season("weekly", 3), Season("daily", 4))  # in the order in which Prophet adds its own


@dataclass(frozen=True)
class FitCase:
    """One series with a daily course, a bend in its trend and noise."""

    rows: int
    seed: int

    def frame(self) -> pd.DataFrame:
        rng = np.random.default_rng(self.seed)
        times = pd.date_range("2026-01-01", periods=self.rows, freq="h")
        hours = np.arange(self.rows)
        bend = np.maximum(hours - self.rows // 2, 0) * 0.02 * (self.seed % 3 - 1)
        daily = np.sin(2 * np.pi * hours / 24 + self.seed)
        return pd.DataFrame({"ds": times, "y": 1000 + bend + daily + rng.normal(0, 0.4, self.rows)})


CASES = [FitCase(rows, seed) for rows, seed in ((90, 0), (336, 1), (500, 2))]


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("cmdstanpy").disabled = True


def fit_ours(frame: pd.DataFrame, priors: Priors, seasons: tuple[Season, ...] = SEASONS) -> Curve:
    days = epoch_seconds(pd.DatetimeIndex(frame["ds"])) / DAY
    sums = DesignSums(days, fourier_columns(days, seasons))
    columns = np.arange(sums.seasons.shape[1])
    return fit_curve(
        sums, frame["y"].to_numpy(), 0, len(frame), priors=priors, seasons=seasons, columns=columns
    )


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
    """Prophet's Stan model, written out: minus its log density without constants."""
    history = model.history
    features, scales, _, _ = model.make_all_seasonality_features(history)
    t = history["t"].to_numpy()
    linear = model.growth == "linear"
    trend = model.piecewise_linear(t, delta, k, m, model.changepoints_t) if linear else model.flat_trend(t, m)
    left = history["y_scaled"].to_numpy() - trend - features.to_numpy() @ beta
    priors = (k**2 + m**2) / 50 + np.abs(delta).sum() / model.changepoint_prior_scale
    priors += 2 * sigma**2 + (beta**2 / np.square(scales)).sum() / 2
    return float(len(t) * np.log(sigma) + left @ left / (2 * sigma**2) + priors)


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize("scale", [0.005, 0.5])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_our_optimum_is_never_worse_than_cmdstans(case, scale, growth):
    """In Prophet's own objective, to a millionth of it."""
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
    """A day ahead, to a quarter of the noise where the trend may bend, to a thousandth where it is flat."""
    priors = Priors(growth, 0.05, 10.0)
    frame = case.frame()
    theirs = empty_prophet(priors).fit(frame)
    ahead = pd.DataFrame({"ds": pd.date_range(frame["ds"].iloc[-1], periods=25, freq="h")[1:]})

    ours = fit_ours(frame, priors).at(epoch_seconds(pd.DatetimeIndex(ahead["ds"])))

    noise = 0.4
    tolerance = (0.25 if growth == "linear" else 0.001) * noise
    assert np.abs(ours - theirs.predict(ahead)["yhat"].to_numpy()).max() < tolerance


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize("seasons", [(), SEASONS], ids=["bare", "seasonal"])
def test_plain_prophet_loads_the_json_and_predicts_the_same(growth, seasons):
    frame = CASES[2].frame()
    curve = fit_ours(frame, Priors(growth, 0.05, 10.0), seasons)
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))
    times = pd.DataFrame({"ds": pd.date_range("2025-12-31 12:17", periods=800, freq="53min")})

    plain = model_from_json(curve_to_json(curve, seconds, frame["y"].to_numpy())).predict(times)

    asked = epoch_seconds(pd.DatetimeIndex(times["ds"]))
    np.testing.assert_allclose(plain["yhat"], curve.at(asked), rtol=1e-9)
    np.testing.assert_allclose(plain["trend"], curve.trend(asked), rtol=1e-9)
    for season in seasons:
        np.testing.assert_allclose(plain[season.name], curve.season(asked, season.name), atol=1e-8)


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize(
    "seasons", [(), SEASONS, (Season("daily", 1),), (*SEASONS, Season("yearly", 2))], ids=str
)
@pytest.mark.parametrize(("rows", "offset"), [(90, 0.0), (40, 0.1234567)])
def test_the_json_says_what_prophet_itself_says(growth, seasons, rows, offset):
    """Field by field; tables inside as tables. Prophet writes ten digits of its history, we write all."""
    frame = FitCase(rows, 1).frame()
    frame["ds"] += pd.Timedelta(seconds=offset)
    curve = fit_ours(frame, Priors(growth, 0.5, 3.0), seasons)
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))

    ours = unfolded(curve_to_json(curve, seconds, frame["y"].to_numpy()))

    theirs = unfolded(model_to_json(to_prophet(curve, seconds, frame["y"].to_numpy())))
    assert ours.keys() == theirs.keys()
    for name, said in theirs.items():
        assert_alike(ours[name], said, name)


def unfolded(text: str) -> dict:
    """A model's JSON with the JSON inside it read too."""
    content = json.loads(text)
    for name in ("changepoints", "history_dates", "history", "train_component_cols"):
        content[name] = json.loads(content[name])
    return content


def assert_alike(ours, theirs, where):
    """Equal in kind and order, numbers to ten digits."""
    assert type(ours) is type(theirs), where
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            assert_alike(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for mine, other in zip(ours, theirs, strict=True):
            assert_alike(mine, other, where)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9), where
    else:
        assert ours == theirs, where


def test_the_json_without_prophet_gives_back_the_curve():
    frame = CASES[1].frame()
    curve = fit_ours(frame, Priors("linear", 0.5, 10.0))
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))

    again = curve_from_json(json.loads(curve_to_json(curve, seconds, frame["y"].to_numpy())))

    np.testing.assert_array_equal(again.at(seconds), curve.at(seconds))


def test_the_genuine_object_plans_its_future_from_the_newest_reading():
    frame = CASES[0].frame()
    curve = fit_ours(frame, Priors())
    model = to_prophet(curve, epoch_seconds(pd.DatetimeIndex(frame["ds"])), frame["y"].to_numpy())

    future = model.make_future_dataframe(2, freq="h", include_history=False)

    assert future["ds"].iloc[0] == frame["ds"].iloc[-1] + pd.Timedelta(hours=1)


@pytest.mark.parametrize(("first", "last"), [(0, 500), (17, 300), (120, 140), (128, 384)])
def test_running_sums_give_any_stretch_its_own_gram_matrix(first, last):
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


def test_a_constant_is_its_own_forecast():
    frame = CASES[0].frame().assign(y=7.5)

    curve = fit_ours(frame, Priors("linear"))

    np.testing.assert_array_equal(curve.at(epoch_seconds(pd.DatetimeIndex(frame["ds"]))), 7.5)
