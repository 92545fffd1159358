"""The Optuna study that both searches use: sampler, seed, storage, resuming and the table of trials.

The only module that configures Optuna. Search spaces and objectives are in
`training.tuning.detector_search` and `training.tuning.forecaster_search`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import optuna
import pandas as pd

P = TypeVar("P")

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class StudyPlan:
    """How long to search, and where the study is stored."""

    trials: int = 40
    seed: int = 0
    budget_seconds: float | None = None
    storage: str | None = None  # an Optuna storage URL; None keeps the study in memory
    name: str = "study"  # key of the study in the storage; the same name resumes it


@dataclass(frozen=True)
class TuningResult(Generic[P]):
    """The best parameters, their loss, and all trials.

    `trials` has one row per trial: `trial, state, loss, seconds`, then its parameters and notes.
    """

    parameters: P
    loss: float
    trials: pd.DataFrame


def run_study(
    objective: Callable[[optuna.Trial], float],
    plan: StudyPlan,
    *,
    first: Sequence[Mapping[str, Any]] = (),
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Minimise the objective; `first` are known good settings, tried before any are sampled.

    A study that is in the storage is continued with the missing trials only.
    """
    study = optuna.create_study(
        storage=plan.storage,
        study_name=plan.name,
        load_if_exists=True,
        direction="minimize",
        # Every option is set, because Optuna 5.0 changed TPE's defaults.
        sampler=optuna.samplers.TPESampler(
            seed=plan.seed, n_startup_trials=10, n_ei_candidates=24, multivariate=True, group=False
        ),
        pruner=pruner or optuna.pruners.NopPruner(),
    )
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    if not done:
        for parameters in first:
            study.enqueue_trial(dict(parameters), skip_if_exists=True)
    missing = plan.trials - len(done)
    if missing > 0:
        study.optimize(objective, n_trials=missing, timeout=plan.budget_seconds)
    return study


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """One row per finished trial: number, state, loss, seconds, parameters and notes."""
    return pd.DataFrame(
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "loss": trial.value,
            "seconds": trial.duration.total_seconds() if trial.duration else None,
            **trial.params,
            **trial.user_attrs,
        }
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished()
    )
