"""Peer forecasters, each as its own documentation shows it.

Each peer gets a history on a regular grid (gaps are NaN) and answers with values and bounds. Peers that
cannot take gaps get them filled by straight lines. Limits on a peer's cost are in LIMITS, which the
benchmark prints.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
import pandas as pd
from prophet import Prophet, diagnostics
from scipy.stats import norm
from statsforecast.models import MSTL, AutoETS, AutoTheta

from training.common.arrays import Floats
from training.forecasting.forecaster import Forecaster
from training.forecasting.parameters import ForecasterParameters
from training.tuning.forecaster_search import tune_forecaster
from training.tuning.study import StudyPlan

TRIALS = 40  # of ours, the default of `safeplan train`
STATISTICAL_ROWS = 2000  # the latest, for AutoETS, AutoTheta and MSTL, which need minutes a fit for 17,000
PROPHET_TRIALS = 5  # of Prophet + Optuna, each with three cut-offs of Prophet's own cross-validation
PROPHET_SECONDS = 120.0  # after which it begins no further trial
LIMITS = (
    f"ours: {TRIALS} trials at each origin, as `safeplan train` does by default",
    f"Prophet + Optuna: at most {PROPHET_TRIALS} trials, none begun after {PROPHET_SECONDS:.0f} s, searched "
    "at a series' first origin and fitted again at each",
    f"AutoETS, AutoTheta, MSTL: the latest {STATISTICAL_ROWS:,} rows of the history",
)


@dataclass(frozen=True)
class PeerInput:
    """A history and how far ahead of it to forecast; season and week in steps."""

    history: pd.Series
    horizon: int
    season: int
    week: int | None
    width: float
    memory: dict[str, Any] = field(
        default_factory=dict
    )  # what a peer keeps from this series' earlier origins

    @property
    def step(self) -> pd.Timedelta:
        """From one row of the history to the next."""
        step: pd.Timedelta = self.history.index[1] - self.history.index[0]
        return step


@dataclass(frozen=True)
class PeerForecast:
    """Values and bounds, one a step."""

    values: Floats
    lower: Floats
    upper: Floats
    note: str = ""


Peer = Callable[[PeerInput], PeerForecast]


def ours(peer_input: PeerInput) -> PeerForecast:
    """The product: tuned with its default budget, then fitted; it is given neither season nor week."""
    known_readings = peer_input.history.dropna()
    tuned = tune_forecaster(
        known_readings,
        step=peer_input.step,
        plan=StudyPlan(trials=TRIALS, seed=0),
        horizon=peer_input.horizon,
    )
    return _ours(peer_input, tuned.parameters)


def ours_untuned(peer_input: PeerInput) -> PeerForecast:
    """The product at its defaults."""
    return _ours(peer_input, ForecasterParameters(horizon=peer_input.horizon))


def _ours(peer_input: PeerInput, parameters: ForecasterParameters) -> PeerForecast:
    known_readings = peer_input.history.dropna()
    forecaster = Forecaster(parameters, interval_width=peer_input.width, step=peer_input.step)
    forecast = forecaster.fit(known_readings.index, known_readings.to_numpy()).forecast(peer_input.horizon)
    return PeerForecast(
        forecast["forecasted_values"].to_numpy(),
        forecast["lower_bound"].to_numpy(),
        forecast["upper_bound"].to_numpy(),
        note=f"{forecaster.method}, skill {forecaster.skill:.2f}",
    )


def last_value(peer_input: PeerInput) -> PeerForecast:
    """The last reading, held."""
    return _naive(peer_input, 1)


def seasonal_naive_day(peer_input: PeerInput) -> PeerForecast:
    """Yesterday again."""
    return _naive(peer_input, peer_input.season)


def seasonal_naive_week(peer_input: PeerInput) -> PeerForecast:
    """Last week again; where the set has no week, yesterday."""
    return _naive(peer_input, peer_input.week or peer_input.season)


def _naive(peer_input: PeerInput, lag: int) -> PeerForecast:
    """Repeat what was `lag` ago; bounds from the spread of its errors in sample, as textbooks do."""
    values = peer_input.history.to_numpy()
    filled = peer_input.history.ffill().to_numpy()
    steps = np.arange(1, peer_input.horizon + 1)
    cycles = -(-steps // lag)
    forecast = filled[len(filled) - 1 + steps - cycles * lag]
    errors = values[lag:] - values[:-lag]
    spread = np.nanstd(errors if np.isfinite(errors).any() else values)
    reach = norm.ppf((1 + peer_input.width) / 2) * spread * np.sqrt(cycles)
    return PeerForecast(forecast, forecast - reach, forecast + reach)


def prophet_default(peer_input: PeerInput) -> PeerForecast:
    """Prophet as its quick start has it."""
    return _prophet(peer_input, {})


def prophet_optuna(peer_input: PeerInput) -> PeerForecast:
    """Prophet with the search of its diagnostics page: the same ranges, Optuna in place of the grid."""
    if "Prophet + Optuna" not in peer_input.memory:
        peer_input.memory["Prophet + Optuna"] = _search_prophet(peer_input)
    return _prophet(peer_input, peer_input.memory["Prophet + Optuna"])


def _search_prophet(peer_input: PeerInput) -> dict[str, Any]:
    frame = _prophet_frame(peer_input)
    span = peer_input.history.index[-1] - peer_input.history.index[0]

    def loss(trial: optuna.Trial) -> float:
        settings = {
            "changepoint_prior_scale": trial.suggest_float("changepoint_prior_scale", 0.001, 0.5, log=True),
            "seasonality_prior_scale": trial.suggest_float("seasonality_prior_scale", 0.01, 10, log=True),
            "seasonality_mode": trial.suggest_categorical("seasonality_mode", ["additive", "multiplicative"]),
        }
        model = _quiet_prophet(peer_input.width, settings | {"uncertainty_samples": 0}).fit(frame)
        forecast = diagnostics.cross_validation(
            model,
            horizon=peer_input.horizon * peer_input.step,
            initial=span * 0.6,
            period=span * 0.13,
            disable_tqdm=True,
        )
        return float((forecast["y"] - forecast["yhat"]).abs().mean())

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(loss, n_trials=PROPHET_TRIALS, timeout=PROPHET_SECONDS, catch=(ValueError, RuntimeError))
    has_result = any(trial.value is not None for trial in study.trials)
    return dict(study.best_params) if has_result else {}


def _prophet(peer_input: PeerInput, settings: dict[str, Any]) -> PeerForecast:
    model = _quiet_prophet(peer_input.width, settings).fit(_prophet_frame(peer_input))
    times = pd.date_range(
        peer_input.history.index[-1] + peer_input.step, periods=peer_input.horizon, freq=peer_input.step
    )
    forecast = model.predict(pd.DataFrame({"ds": times}))
    return PeerForecast(
        forecast["yhat"].to_numpy(), forecast["yhat_lower"].to_numpy(), forecast["yhat_upper"].to_numpy()
    )


def _quiet_prophet(width: float, settings: dict[str, Any]) -> Prophet:
    logging.getLogger("cmdstanpy").disabled = True
    logging.getLogger("prophet").setLevel(logging.ERROR)
    return Prophet(interval_width=width, **settings)


def _prophet_frame(peer_input: PeerInput) -> pd.DataFrame:
    return pd.DataFrame({"ds": peer_input.history.index, "y": peer_input.history.to_numpy()}).dropna()


def auto_ets(peer_input: PeerInput) -> PeerForecast:
    """Exponential smoothing, its form chosen by information criterion."""
    return _statsforecast(peer_input, AutoETS(season_length=peer_input.season))


def auto_theta(peer_input: PeerInput) -> PeerForecast:
    """Theta, its form chosen by error."""
    return _statsforecast(peer_input, AutoTheta(season_length=peer_input.season))


def mstl(peer_input: PeerInput) -> PeerForecast:
    """Seasons of day and week taken out by LOESS, the rest smoothed."""
    seasons = [peer_input.season, peer_input.week] if peer_input.week else peer_input.season
    return _statsforecast(peer_input, MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ZZN")))


def _statsforecast(peer_input: PeerInput, model: Any) -> PeerForecast:
    values = peer_input.history.interpolate().bfill().to_numpy(dtype=np.float64)[-STATISTICAL_ROWS:]
    level = round(100 * peer_input.width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forecast = model.forecast(y=values, h=peer_input.horizon, level=[level])
    return PeerForecast(forecast["mean"], forecast[f"lo-{level}"], forecast[f"hi-{level}"])


PEERS: dict[str, Peer] = {
    "ours": ours,
    "ours, untuned": ours_untuned,
    "last value": last_value,
    "seasonal naive (day)": seasonal_naive_day,
    "seasonal naive (week)": seasonal_naive_week,
    "Prophet": prophet_default,
    "Prophet + Optuna": prophet_optuna,
    "AutoETS": auto_ets,
    "AutoTheta": auto_theta,
    "MSTL": mstl,
}
