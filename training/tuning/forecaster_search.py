"""The search for one sensor's forecaster: structures tried by Optuna, the best few averaged.

Knows the search space and where to start. Every trial is rehearsed over the same rolling origins, so that the
trials' forecasts can be averaged and judged together. Leaves samplers and storage to `tuning`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

import numpy as np
import optuna
import pandas as pd

from training.forecasting.fitted_forecaster import allowed_range
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.rolling_origin import Rehearsal
from training.forecasting.structures import History, Structure, Wanted
from training.forecasting.time_grid import Floats, grid_of
from training.tuning.study import StudyPlan, Tuned, run_study, trials_table

LONGEST = 20_000  # slots rehearsed on
PICKS = 10  # forecasts averaged; one that is picked twice counts twice
HOPEFUL = 75.0  # percent of the trials, the best, whose error so far is worth going on for
MOST_DAILY, MOST_WEEKLY = 12, 28

# Each was the best of its kind on some series; none is good on all.
STARTS = (
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
    wanted: Mapping[str, Wanted] | None = None,
) -> Tuned[ForecasterParameters]:
    """Find the structures whose average errs least over rolling origins `horizon` steps ahead.

    `first` are trials of an earlier or a sibling's study (`starting_points` makes them of parameters), tried
    before the usual starts. The loss is the error as a share of the best naive's.
    """
    grid = grid_of(
        pd.DatetimeIndex(values.index), values.to_numpy(dtype=np.float64), step=step, slots=LONGEST
    )
    most = {"daily": MOST_DAILY, "weekly": MOST_WEEKLY, "yearly": Structure.yearly}
    history = History(grid, most, wanted or {})
    rehearsal = Rehearsal(history, ForecasterParameters(horizon=horizon).horizon_for(grid))
    lowest, highest = allowed_range(grid.values)
    _, naive_error = rehearsal.best_naive()
    unit = naive_error if 0 < naive_error < np.inf else 1.0
    rehearsed: dict[Structure, Floats] = {}

    def paths_of(structure: Structure) -> Floats:
        if structure not in rehearsed:
            rehearsed[structure] = np.clip(rehearsal.of(structure), lowest, highest)
        return rehearsed[structure]

    def loss(trial: optuna.Trial) -> float:
        structure = suggest(trial)
        if structure not in rehearsed:
            made = np.zeros((0, rehearsal.horizon))
            for number, paths in enumerate(rehearsal.cut_by_cut(structure)):
                made = np.concatenate([made, np.clip(paths, lowest, highest)])
                trial.report(rehearsal.error(made) / unit, number)
                if trial.should_prune():
                    raise optuna.TrialPruned
            rehearsed[structure] = made
        return rehearsal.error(rehearsed[structure]) / unit

    starts = [*first, *[asdict(structure) for structure in STARTS]]
    # Nothing is stopped before there is enough to compare with; then what is among the worst so far.
    pruner = optuna.pruners.PercentilePruner(HOPEFUL, n_startup_trials=len(STARTS))
    study = run_study(loss, plan, first=[searched(start) for start in starts], pruner=pruner)
    # A resumed study brings trials that were rehearsed in another process.
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    structures = [structure_of(trial.params) for trial in done]
    for structure in structures:
        paths_of(structure)
    parameters, error = pick(rehearsal, rehearsed, horizon=horizon)
    return Tuned(parameters, error / unit, trials_table(study))


def suggest(trial: optuna.Trial) -> Structure:
    """One structure of the search space."""
    return structure_of(
        {
            "growth": trial.suggest_categorical("growth", ["flat", "linear"]),
            "changepoint_scale": trial.suggest_float("changepoint_scale", 0.001, 0.5, log=True),
            "season_scale": trial.suggest_float("season_scale", 0.01, 10.0, log=True),
            "halvings": trial.suggest_int("halvings", 0, 4),
            "daily": trial.suggest_int("daily", 0, MOST_DAILY),
            "weekly": trial.suggest_int("weekly", 0, MOST_WEEKLY),
            "lags": trial.suggest_categorical("lags", [0, 12, 48]),
            "seasonal_lags": trial.suggest_categorical("seasonal_lags", [False, True]),
        }
    )


def structure_of(trial: Mapping[str, Any]) -> Structure:
    """The structure that a trial's parameters describe."""
    return Structure(**trial)


def searched(start: Mapping[str, Any]) -> dict[str, Any]:
    """What of a start the search varies."""
    names = {field.name for field in fields(Structure)} - {"yearly"}
    return {name: value for name, value in start.items() if name in names}


def starting_points(parameters: ForecasterParameters) -> list[dict[str, Any]]:
    """Trials to start another study from: each structure once."""
    return [searched(asdict(structure)) for structure in dict.fromkeys(parameters.structures)]


def pick(
    rehearsal: Rehearsal, rehearsed: Mapping[Structure, Floats], *, horizon: int
) -> tuple[ForecasterParameters, float]:
    """Average a few: the best structure, then whatever, naives too, makes the average err least."""
    best = min(rehearsed, key=lambda structure: rehearsal.error(rehearsed[structure]))
    candidates: list[tuple[Structure | str, Floats]] = [
        *rehearsed.items(),
        *[(name, rehearsal.of_naive(name)) for name in rehearsal.naives],
    ]
    picked: list[Structure | str] = [best]
    total = rehearsed[best]
    while len(picked) < PICKS:
        size = len(picked) + 1
        errors = [rehearsal.error((total + paths) / size) for _, paths in candidates]
        name, paths = candidates[int(np.argmin(errors))]
        picked.append(name)
        total = total + paths
    structures = tuple(name for name in picked if isinstance(name, Structure))
    names = tuple(name for name in picked if isinstance(name, str))
    return ForecasterParameters(structures, names, horizon), rehearsal.error(total / PICKS)
