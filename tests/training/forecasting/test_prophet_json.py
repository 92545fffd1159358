"""The JSON that is written without Prophet is the JSON that Prophet writes and reads."""

import json

import numpy as np
import pandas as pd
import pytest
from prophet.serialize import model_from_json, model_to_json

from tests.support.prophet_fits import CASES, SEASONS, FitCase, fit_ours
from training.common.times import epoch_seconds
from training.errors import UntrustedModel
from training.forecasting.prophet_adapter import to_prophet
from training.forecasting.prophet_json import curve_from_json, curve_to_json
from training.forecasting.prophet_model import Priors
from training.forecasting.seasonality import Season


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize("seasons", [(), SEASONS], ids=["bare", "seasonal"])
def test_plain_prophet_loads_the_json_and_predicts_the_same(growth, seasons):
    frame = CASES[2].frame()
    curve = fit_ours(frame, Priors(growth, 0.05, 10.0), seasons)
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))
    times = pd.DataFrame({"ds": pd.date_range("2025-12-31 12:17", periods=800, freq="53min")})

    plain = model_from_json(curve_to_json(curve, seconds, frame["y"].to_numpy())).predict(times)

    seconds_ahead = epoch_seconds(pd.DatetimeIndex(times["ds"]))
    np.testing.assert_allclose(plain["yhat"], curve.at(seconds_ahead), rtol=1e-9)
    np.testing.assert_allclose(plain["trend"], curve.trend(seconds_ahead), rtol=1e-9)
    for season in seasons:
        np.testing.assert_allclose(plain[season.name], curve.season(seconds_ahead, season.name), atol=1e-8)


@pytest.mark.parametrize("growth", ["flat", "linear"])
@pytest.mark.parametrize(
    "seasons", [(), SEASONS, (Season("daily", 1),), (*SEASONS, Season("yearly", 2))], ids=str
)
@pytest.mark.parametrize(("rows", "offset"), [(90, 0.0), (40, 0.1234567)])
def test_the_json_equals_the_one_that_prophet_writes(growth, seasons, rows, offset):
    """Field by field, and tables cell by cell. Prophet writes ten digits of its history, we write all."""
    frame = FitCase(rows, 1).frame()
    frame["ds"] += pd.Timedelta(seconds=offset)
    curve = fit_ours(frame, Priors(growth, 0.5, 3.0), seasons)
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))

    ours = parsed(curve_to_json(curve, seconds, frame["y"].to_numpy()))

    theirs = parsed(model_to_json(to_prophet(curve, seconds, frame["y"].to_numpy())))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert_alike(ours[name], value, name)


def parsed(text: str) -> dict:
    """A model's JSON with the JSON strings inside it parsed as well."""
    content = json.loads(text)
    for name in ("changepoints", "history_dates", "history", "train_component_cols"):
        content[name] = json.loads(content[name])
    return content


def assert_alike(ours, theirs, where):
    """Equal in type and order, numbers to ten digits."""
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


def test_the_curve_is_read_back_without_prophet():
    frame = CASES[1].frame()
    curve = fit_ours(frame, Priors("linear", 0.5, 10.0))
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))

    again = curve_from_json(json.loads(curve_to_json(curve, seconds, frame["y"].to_numpy())))

    np.testing.assert_array_equal(again.at(seconds), curve.at(seconds))


@pytest.mark.parametrize(
    "changes",
    [
        {"scaling": "absmax"},
        {"growth": "logistic"},
        {"params": {}},
        {"seasonalities": [["hourly"], {"hourly": {"fourier_order": 3}}]},
        {"t_scale": "long"},
    ],
    ids=str,
)
def test_a_prophet_that_we_did_not_write_is_refused(changes):
    frame = CASES[0].frame()
    seconds = epoch_seconds(pd.DatetimeIndex(frame["ds"]))
    content = json.loads(curve_to_json(fit_ours(frame, Priors()), seconds, frame["y"].to_numpy()))

    with pytest.raises(UntrustedModel, match="Retrain this sensor"):
        curve_from_json(content | changes)
