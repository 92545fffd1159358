"""Search the structures of one sensor's forecaster, then average the best few.

All trials are backtested over the same rolling origins, so that their forecasts can be averaged and compared.
Sampler and storage are in `training.tuning.study`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

import numpy as np
import optuna
import pandas as pd

from training.common.arrays import Floats
from training.forecasting.fitted_forecaster import allowed_range
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.rolling_origin import RollingBacktest
from training.forecasting.structures import SeasonalityOption, Structure, TrainingHistory
from training.forecasting.time_grid import build_grid
from training.tuning.study import StudyPlan, TuningResult, run_study, trials_table

MAX_SLOTS = 20_000  # slots that are backtested
ENSEMBLE_SIZE = 10  # forecasts in the average; one that is picked twice counts twice
PRUNE_PERCENTILE = 75.0  # trials worse than this percentile of the trials so far are stopped
MAX_DAILY_HARMONICS, MAX_WEEKLY_HARMONICS = 12, 28

# Each was the best on some series; none is good on all.
STARTING_STRUCTURES = (
    Structure(),
    Structure(growth="linear", changepoint_scale=0.005),
    Structure(halvings=2),
    Structure(halvings=3),
    Structure(lags=0, halvings=3),
    Structure(seasonal_lags=False),
    Structure(daily=12, weekly=28, season_scale=0.1),
    Structure(daily=4, weekly=3, season_scale=10.0),
    Structure(daily=0, weekly=0),
    Structure(growth="linear", changepoint_scale=0.5, halvings=1),
)


def tune_forecaster(
    values: pd.Series,
    *,
    step: timedelta | None = None,
    plan: StudyPlan,
    horizon: int,
    first: Sequence[Mapping[str, Any]] = (),
    seasonality: Mapping[str, SeasonalityOption] | None = None,
) -> TuningResult[ForecasterParameters]:
    """Find the structures whose average has the smallest error over rolling origins, `horizon` steps ahead.

    `first` are parameters of earlier trials (see `starting_points`), tried before the default starting
    points. The loss is the error relative to that of the best naive forecast.
    """
    grid = build_grid(
        pd.DatetimeIndex(values.index), values.to_numpy(dtype=np.float64), step=step, slots=MAX_SLOTS
    )
    max_orders = {"daily": MAX_DAILY_HARMONICS, "weekly": MAX_WEEKLY_HARMONICS, "yearly": Structure.yearly}
    history = TrainingHistory(grid, max_orders, seasonality or {})
    backtest = RollingBacktest(history, ForecasterParameters(horizon=horizon).horizon_for(grid))
    lowest, highest = allowed_range(grid.values)
    _, naive_error = backtest.best_naive()
    unit = naive_error if 0 < naive_error < np.inf else 1.0
    forecasts: dict[Structure, Floats] = {}

    def paths_of(structure: Structure) -> Floats:
        if structure not in forecasts:
            forecasts[structure] = np.clip(backtest.forecast_structure(structure), lowest, highest)
        return forecasts[structure]

    def loss(trial: optuna.Trial) -> float:
        structure = suggest_structure(trial)
        if structure not in forecasts:
            partial = np.zeros((0, backtest.horizon))
            for number, paths in enumerate(backtest.iter_fold_forecasts(structure)):
                partial = np.concatenate([partial, np.clip(paths, lowest, highest)])
                trial.report(backtest.error(partial) / unit, number)
                if trial.should_prune():
                    raise optuna.TrialPruned
            forecasts[structure] = partial
        return backtest.error(forecasts[structure]) / unit

    starts = [*first, *[asdict(structure) for structure in STARTING_STRUCTURES]]
    # No trial is stopped before the starting points are finished.
    pruner = optuna.pruners.PercentilePruner(PRUNE_PERCENTILE, n_startup_trials=len(STARTING_STRUCTURES))
    study = run_study(loss, plan, first=[to_trial_params(start) for start in starts], pruner=pruner)
    # Trials of a resumed study were backtested in another process.
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    structures = [structure_of(trial.params) for trial in done]
    for structure in structures:
        paths_of(structure)
    parameters, error = select_ensemble(backtest, forecasts, horizon=horizon)
    return TuningResult(parameters, error / unit, trials_table(study))


def suggest_structure(trial: optuna.Trial) -> Structure:
    """One structure of the search space."""
    return structure_of(
        {
            "growth": trial.suggest_categorical("growth", ["flat", "linear"]),
            "changepoint_scale": trial.suggest_float("changepoint_scale", 0.001, 0.5, log=True),
            "season_scale": trial.suggest_float("season_scale", 0.01, 10.0, log=True),
            "halvings": trial.suggest_int("halvings", 0, 4),
            "daily": trial.suggest_int("daily", 0, MAX_DAILY_HARMONICS),
            "weekly": trial.suggest_int("weekly", 0, MAX_WEEKLY_HARMONICS),
            "lags": trial.suggest_categorical("lags", [0, 12, 48]),
            "seasonal_lags": trial.suggest_categorical("seasonal_lags", [False, True]),
        }
    )


def structure_of(trial: Mapping[str, Any]) -> Structure:
    """The structure with a trial's parameters."""
    return Structure(**trial)


def to_trial_params(start: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a starting point that the search varies."""
    names = {field.name for field in fields(Structure)} - {"yearly"}
    return {name: value for name, value in start.items() if name in names}


def starting_points(parameters: ForecasterParameters) -> list[dict[str, Any]]:
    """Starting points for another study: each structure once."""
    return [to_trial_params(asdict(structure)) for structure in dict.fromkeys(parameters.structures)]


def select_ensemble(
    backtest: RollingBacktest, forecasts: Mapping[Structure, Floats], *, horizon: int
) -> tuple[ForecasterParameters, float]:
    """Average the best structure and, one after another, the forecasts that reduce the error most."""
    best = min(forecasts, key=lambda structure: backtest.error(forecasts[structure]))
    candidates: list[tuple[Structure | str, Floats]] = [
        *forecasts.items(),
        *[(name, backtest.forecast_naive(name)) for name in backtest.naives],
    ]
    picked: list[Structure | str] = [best]
    total = forecasts[best]
    while len(picked) < ENSEMBLE_SIZE:
        size = len(picked) + 1
        errors = [backtest.error((total + paths) / size) for _, paths in candidates]
        name, paths = candidates[int(np.argmin(errors))]
        picked.append(name)
        total = total + paths
    structures = tuple(name for name in picked if isinstance(name, Structure))
    names = tuple(name for name in picked if isinstance(name, str))
    return ForecasterParameters(structures, names, horizon), backtest.error(total / ENSEMBLE_SIZE)
