"""Prophet's own object made from a fitted curve, for its plots and tools.

The only module that imports Prophet and sets its attributes; its test fails where a new version of Prophet
names or fills them differently. Does not fit; that is `training.forecasting.gram_fit`.
"""

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.common.arrays import Floats
from training.common.times import to_times
from training.forecasting.prophet_model import HISTORY_ROWS, Curve, changepoint_times

if TYPE_CHECKING:
    from prophet import Prophet


def to_prophet(curve: Curve, seconds: Floats, values: Floats) -> "Prophet":
    """A Prophet that predicts as the curve does; it holds the last rows of the history only."""
    Prophet = import_prophet()  # noqa: N806
    model = Prophet(
        growth=curve.priors.growth,
        changepoints=[],  # set below: Prophet would refuse those before the last rows
        changepoint_prior_scale=curve.priors.changepoint_scale,
        seasonality_prior_scale=curve.priors.season_scale,
        yearly_seasonality=False,
        weekly_seasonality=False,
        daily_seasonality=False,
        uncertainty_samples=0,
        scaling="minmax",
    )
    for season in curve.seasons:
        model.add_seasonality(season.name, season.period, season.order)
    _set_history(model, curve, seconds, values)
    model.params = {
        "k": np.array([[curve.fitted.k]]),
        "m": np.array([[curve.fitted.m]]),
        "delta": curve.fitted.delta[None, :],
        "beta": curve.fitted.beta[None, :] if len(curve.fitted.beta) else np.zeros((1, 1)),
        "sigma_obs": np.array([[curve.fitted.sigma]]),
    }
    return model


def import_prophet() -> type["Prophet"]:
    """Prophet's class, without its log messages about plotly and backends."""
    for name in ("prophet", "cmdstanpy"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from prophet import Prophet  # noqa: PLC0415 - takes 2 s, which prediction does not need

    logging.getLogger("prophet").setLevel(logging.ERROR)
    return Prophet


def _set_history(model: "Prophet", curve: Curve, seconds: Floats, values: Floats) -> None:
    """Prepare from the last rows, then set the scales, which are those of the whole history."""
    recent = pd.DataFrame({"ds": to_times(seconds[-HISTORY_ROWS:]), "y": values[-HISTORY_ROWS:]})
    model.preprocess(recent)
    model.changepoints = pd.Series(changepoint_times(curve), name="ds")
    model.changepoints_t = curve.changes.astype(np.float64)
    model.start = pd.Timestamp(curve.start, unit="s")
    model.t_scale = pd.Timedelta(seconds=curve.span)
    model.y_min, model.y_scale = curve.floor, curve.scale
    model.history = model.setup_dataframe(recent)
