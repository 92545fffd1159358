"""What a user could pick instead of our forecaster, each as its own documentation shows it.

Each peer gets a history on a regular grid (gaps are NaN) and answers with values and bounds. Peers that
cannot take gaps get them filled by straight lines. What bounds a peer's cost is said in LIMITS, which the
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

from training.forecasting.forecaster import Forecaster
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.time_grid import Floats
from training.tuning.forecaster_search import tune_forecaster
from training.tuning.study import StudyPlan

TRIALS = 40  # of ours, the default of `safeplan train`
STATISTICAL_ROWS = 2000  # the latest, for AutoETS, AutoTheta and MSTL, which need minutes a fit for 17,000
PROPHET_TRIALS = 5  # of Prophet + Optuna, each with three cut-offs of Prophet's own cross-validation
PROPHET_SECONDS = 120.0  # after which it begins no further trial
LIMITS = (
    f"ours: {TRIALS} trials at each origin, as `safeplan train` does by default",
    f"Prophet + Optuna: at most {PROPHET_TRIALS} trials, none begun after {PROPHET_SECONDS:.0f} s, searched "
    "at a series' first origin and fitted anew at each",
    f"AutoETS, AutoTheta, MSTL: the latest {STATISTICAL_ROWS:,} rows of the history",
)


@dataclass(frozen=True)
class Question:
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
class Answer:
    """Values and bounds, one a step."""

    values: Floats
    lower: Floats
    upper: Floats
    note: str = ""


Peer = Callable[[Question], Answer]


def ours(asked: Question) -> Answer:
    """The product: tuned with its default budget, then fitted; it is told neither season nor week."""
    known = asked.history.dropna()
    tuned = tune_forecaster(
        known, step=asked.step, plan=StudyPlan(trials=TRIALS, seed=0), horizon=asked.horizon
    )
    return _ours(asked, tuned.parameters)


def ours_untuned(asked: Question) -> Answer:
    """The product at its defaults."""
    return _ours(asked, ForecasterParameters(horizon=asked.horizon))


def _ours(asked: Question, parameters: ForecasterParameters) -> Answer:
    known = asked.history.dropna()
    forecaster = Forecaster(parameters, interval_width=asked.width, step=asked.step)
    made = forecaster.fit(known.index, known.to_numpy()).forecast(asked.horizon)
    return Answer(
        made["forecasted_values"].to_numpy(),
        made["lower_bound"].to_numpy(),
        made["upper_bound"].to_numpy(),
        note=f"{forecaster.method}, skill {forecaster.skill:.2f}",
    )


def last_value(asked: Question) -> Answer:
    """The last reading, held."""
    return _naive(asked, 1)


def seasonal_naive_day(asked: Question) -> Answer:
    """Yesterday again."""
    return _naive(asked, asked.season)


def seasonal_naive_week(asked: Question) -> Answer:
    """Last week again; where the set has no week, yesterday."""
    return _naive(asked, asked.week or asked.season)


def _naive(asked: Question, lag: int) -> Answer:
    """Repeat what was `lag` ago; bounds from the spread of its errors in sample, as textbooks do."""
    values = asked.history.to_numpy()
    filled = asked.history.ffill().to_numpy()
    steps = np.arange(1, asked.horizon + 1)
    cycles = -(-steps // lag)
    made = filled[len(filled) - 1 + steps - cycles * lag]
    errors = values[lag:] - values[:-lag]
    spread = np.nanstd(errors if np.isfinite(errors).any() else values)
    reach = norm.ppf((1 + asked.width) / 2) * spread * np.sqrt(cycles)
    return Answer(made, made - reach, made + reach)


def prophet_default(asked: Question) -> Answer:
    """Prophet as its quick start has it."""
    return _prophet(asked, {})


def prophet_optuna(asked: Question) -> Answer:
    """Prophet with the search of its diagnostics page: the same ranges, Optuna in place of the grid."""
    if "Prophet + Optuna" not in asked.memory:
        asked.memory["Prophet + Optuna"] = _search_prophet(asked)
    return _prophet(asked, asked.memory["Prophet + Optuna"])


def _search_prophet(asked: Question) -> dict[str, Any]:
    frame = _prophet_frame(asked)
    span = asked.history.index[-1] - asked.history.index[0]

    def loss(trial: optuna.Trial) -> float:
        settings = {
            "changepoint_prior_scale": trial.suggest_float("changepoint_prior_scale", 0.001, 0.5, log=True),
            "seasonality_prior_scale": trial.suggest_float("seasonality_prior_scale", 0.01, 10, log=True),
            "seasonality_mode": trial.suggest_categorical("seasonality_mode", ["additive", "multiplicative"]),
        }
        model = _quiet_prophet(asked.width, settings | {"uncertainty_samples": 0}).fit(frame)
        made = diagnostics.cross_validation(
            model,
            horizon=asked.horizon * asked.step,
            initial=span * 0.6,
            period=span * 0.13,
            disable_tqdm=True,
        )
        return float((made["y"] - made["yhat"]).abs().mean())

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(loss, n_trials=PROPHET_TRIALS, timeout=PROPHET_SECONDS, catch=(ValueError, RuntimeError))
    found = any(trial.value is not None for trial in study.trials)
    return dict(study.best_params) if found else {}


def _prophet(asked: Question, settings: dict[str, Any]) -> Answer:
    model = _quiet_prophet(asked.width, settings).fit(_prophet_frame(asked))
    times = pd.date_range(asked.history.index[-1] + asked.step, periods=asked.horizon, freq=asked.step)
    made = model.predict(pd.DataFrame({"ds": times}))
    return Answer(made["yhat"].to_numpy(), made["yhat_lower"].to_numpy(), made["yhat_upper"].to_numpy())


def _quiet_prophet(width: float, settings: dict[str, Any]) -> Prophet:
    logging.getLogger("cmdstanpy").disabled = True
    logging.getLogger("prophet").setLevel(logging.ERROR)
    return Prophet(interval_width=width, **settings)


def _prophet_frame(asked: Question) -> pd.DataFrame:
    return pd.DataFrame({"ds": asked.history.index, "y": asked.history.to_numpy()}).dropna()


def auto_ets(asked: Question) -> Answer:
    """Exponential smoothing, its form chosen by information criterion."""
    return _statsforecast(asked, AutoETS(season_length=asked.season))


def auto_theta(asked: Question) -> Answer:
    """Theta, its form chosen by error."""
    return _statsforecast(asked, AutoTheta(season_length=asked.season))


def mstl(asked: Question) -> Answer:
    """Seasons of day and week taken out by LOESS, the rest smoothed."""
    seasons = [asked.season, asked.week] if asked.week else asked.season
    return _statsforecast(asked, MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ZZN")))


def _statsforecast(asked: Question, model: Any) -> Answer:
    values = asked.history.interpolate().bfill().to_numpy(dtype=np.float64)[-STATISTICAL_ROWS:]
    level = round(100 * asked.width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = model.forecast(y=values, h=asked.horizon, level=[level])
    return Answer(made["mean"], made[f"lo-{level}"], made[f"hi-{level}"])


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
