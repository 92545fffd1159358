"""The plain pattern from the libraries' own documentation: the peer of the fleet benchmark.

One sensor at a time: Optuna (20 trials) around scikit-learn's Isolation Forest and LOF on the newest readings
with faults put in, Optuna (20 trials) around Prophet's `cross_validation` with the ranges of its diagnostics
page, the best of each fitted once more, and MLflow's `log_model` as its quick start has it, with requirements
inferred and the version registered. Judged on the same newest fifth and by the same grades as ours.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import mlflow
import mlflow.prophet
import mlflow.sklearn
import numpy as np
import optuna
import pandas as pd
from numpy.typing import ArrayLike
from prophet import Prophet, diagnostics
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sqlalchemy import Engine, text

from benchmarks.cpu import CpuClock
from benchmarks.fleet_recall import recall_at_one_alarm_a_day
from training.common.arrays import Floats
from training.common.times import epoch_seconds, to_times
from training.evaluation.backtest import choose_origins
from training.evaluation.fault_injection import grade_detector, inject_faults, measure_noise
from training.forecasting.time_grid import build_grid

TRIALS = 20
HORIZON = 24  # steps
ORIGINS = 20
HOLDOUT_SHARE = 0.2  # the newest share of the readings, kept from tuning
ROLLING_READINGS = 24  # readings


@dataclass(frozen=True)
class GradedRun:
    """The result of one way of training on one sensor."""

    metrics: Mapping[str, float]
    seconds: Mapping[str, float]  # of CPU, by phase


def train_baseline(engine: Engine, sensor_id: str, step: timedelta) -> GradedRun:
    """Both models of one sensor by the plain pattern."""
    logging.getLogger("cmdstanpy").disabled = True
    logging.getLogger("prophet").setLevel(logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    clock = CpuClock()
    with clock.phase("read"):
        values = _read_values(engine, sensor_id)
    older, newest = (
        values.iloc[: int(len(values) * (1 - HOLDOUT_SHARE))],
        values.iloc[int(len(values) * (1 - HOLDOUT_SHARE)) :],
    )
    metrics = _train_detector(clock, sensor_id, older, newest, values, step)
    metrics |= _train_forecaster(clock, sensor_id, older, newest, values, step)
    return GradedRun(metrics, clock.seconds)


def _read_values(engine: Engine, sensor_id: str) -> pd.Series:
    query = text("SELECT timestamp, value FROM sensor_readings WHERE sensor_id = :id ORDER BY timestamp")
    with engine.connect() as connection:
        frame = pd.read_sql_query(query, connection, params={"id": sensor_id}, parse_dates=["timestamp"])
    return frame.set_index("timestamp")["value"]


@dataclass
class BaselineDetector:
    """The mean of both models' scores, each by its share of training readings that score higher."""

    settings: Mapping[str, Any]
    alarm_rate: float
    step_seconds: float
    threshold: float = 0.5

    def fit(self, values: pd.Series) -> "BaselineDetector":
        """Fit both, and put the threshold where the alarm budget is met on the readings learned from."""
        rows = features(values.to_numpy(np.float64))
        self.centre, self.scale = rows.mean(axis=0), rows.std(axis=0) + 1e-9
        rows = (rows - self.centre) / self.scale
        settings_used = self.settings
        self.forest = IsolationForest(
            n_estimators=settings_used["n_estimators"],
            contamination=settings_used["contamination"],
            random_state=0,
        ).fit(rows)
        self.density = LocalOutlierFactor(
            n_neighbors=settings_used["n_neighbors"],
            contamination=settings_used["contamination"],
            novelty=True,
        ).fit(rows)
        self.seen = [np.sort(-model.score_samples(rows)) for model in (self.forest, self.density)]
        self.limit = max(float(np.quantile(self._mean_rank(rows), 1 - self.alarm_rate)), 1e-9)
        return self

    def score(self, data: ArrayLike, *, history: ArrayLike | None = None) -> Floats:
        """0.5 at the limit; `history` gives the rolling features their past."""
        before = (
            np.asarray(history, dtype=np.float64)[-ROLLING_READINGS:] if history is not None else np.empty(0)
        )
        values = np.concatenate([before, np.asarray(data, dtype=np.float64)])
        rows = (features(values)[len(before) :] - self.centre) / self.scale
        return np.asarray(0.5 * self._mean_rank(rows) / self.limit)

    def _mean_rank(self, rows: Floats) -> Floats:
        total = np.zeros(len(rows))
        for training_scores, model in zip(self.seen, (self.forest, self.density), strict=True):
            score = -model.score_samples(rows)
            beyond = np.maximum(score - training_scores[-1], 0) / max(
                training_scores[-1] - training_scores[0], 1e-12
            )
            total += np.searchsorted(training_scores, score) / len(training_scores) + beyond
        return total / 2


def features(values: Floats) -> Floats:
    """Value, change, and the rolling mean and spread, as every tutorial has them."""
    series = pd.Series(values)
    rolling = series.rolling(ROLLING_READINGS, min_periods=1)
    return np.column_stack(
        [values, series.diff().fillna(0.0), series - rolling.mean(), rolling.std().fillna(0.0)]
    )


def _train_detector(
    clock: CpuClock, sensor_id: str, older: pd.Series, newest: pd.Series, values: pd.Series, step: timedelta
) -> dict[str, float]:
    rate = min(0.5, step / timedelta(days=1))
    options = {"alarm_rate": rate, "step_seconds": step.total_seconds()}
    with clock.phase("features"):
        features(values.to_numpy(np.float64))
    with clock.phase("tune"):
        cut = int(0.7 * len(older))
        learn, held_out = older.iloc[:cut], older.iloc[cut:]
        character = measure_noise(learn.to_numpy(np.float64), epoch_seconds(pd.DatetimeIndex(learn.index)))
        injections = inject_faults(held_out.to_numpy(np.float64), character, seed=0)

        def missed(trial: optuna.Trial) -> float:
            settings = {
                "n_estimators": trial.suggest_int("n_estimators", 50, 300),
                "contamination": trial.suggest_float("contamination", 0.001, 0.1, log=True),
                "n_neighbors": trial.suggest_int("n_neighbors", 5, 50),
            }
            detector = BaselineDetector(settings, **options).fit(learn)
            clean_alarms = detector.score(held_out, history=learn) >= 0.5
            found = [
                np.mean(
                    injection.detected(detector.score(injection.values, history=learn) >= 0.5, clean_alarms)
                )
                for injection in injections
            ]
            return 1 - float(np.mean(found)) + max(0.0, float(clean_alarms.mean()) - rate)

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(missed, n_trials=TRIALS)
    with clock.phase("grade"):
        graded = BaselineDetector(study.best_params, **options).fit(older)
        metrics = grade_detector(graded, newest, history=older, seed=0)
    with clock.phase("fit"):
        final = BaselineDetector(study.best_params, **options).fit(values)
    with clock.phase("log"), mlflow.start_run(run_name=sensor_id):
        mlflow.log_params(study.best_params)
        mlflow.log_metrics(metrics)
        for name, model in (("forest", final.forest), ("density", final.density)):
            mlflow.sklearn.log_model(
                model,
                name=name,
                serialization_format="cloudpickle",
                registered_model_name=f"{sensor_id}-{name}",
            )
    graded_metrics = {name: metrics[name] for name in ("recall_mean", "false_alarms_per_day")}
    return graded_metrics | {"recall_at_budget": recall_at_one_alarm_a_day(graded, newest, older)}


def _train_forecaster(
    clock: CpuClock, sensor_id: str, older: pd.Series, newest: pd.Series, values: pd.Series, step: timedelta
) -> dict[str, float]:
    frame = _prophet_frame(older)
    span = older.index[-1] - older.index[0]
    with clock.phase("tune"):

        def error(trial: optuna.Trial) -> float:
            settings: dict[str, Any] = {
                "changepoint_prior_scale": trial.suggest_float(
                    "changepoint_prior_scale", 0.001, 0.5, log=True
                ),
                "seasonality_prior_scale": trial.suggest_float("seasonality_prior_scale", 0.01, 10, log=True),
                "seasonality_mode": trial.suggest_categorical(
                    "seasonality_mode", ["additive", "multiplicative"]
                ),
            }
            options = diagnostics.cross_validation(
                Prophet(**settings).fit(frame),
                horizon=HORIZON * pd.Timedelta(step),
                initial=span * 0.6,
                period=span * 0.13,
                disable_tqdm=True,
            )
            return float((options["y"] - options["yhat"]).abs().mean())

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(error, n_trials=TRIALS)
    with clock.phase("grade"):
        metrics = {"mae": _held_out_error(Prophet(**study.best_params).fit(frame), values, newest, step)}
    with clock.phase("fit"):
        final = Prophet(**study.best_params).fit(_prophet_frame(values))
    with clock.phase("log"), mlflow.start_run(run_name=sensor_id):
        mlflow.log_params(study.best_params)
        mlflow.log_metrics(metrics)
        mlflow.prophet.log_model(final, name="prophet", registered_model_name=f"{sensor_id}-prophet")
    return metrics


def _held_out_error(model: Prophet, values: pd.Series, newest: pd.Series, step: timedelta) -> float:
    """Mean absolute error over the origins that ours is graded at, with Prophet as it was fitted."""
    grid = build_grid(pd.DatetimeIndex(values.index), values.to_numpy(np.float64), step=step, slots=100_000)
    begin = grid.slots_of(np.array([newest.index[0].timestamp()]))[0]
    origins = choose_origins(grid, horizon=HORIZON, origins=ORIGINS, begin=begin)
    slots = origins[:, None] + np.arange(1, HORIZON + 1)
    needed_slots = np.unique(slots[slots < len(grid)])
    options = model.predict(pd.DataFrame({"ds": to_times(grid.start + grid.step * needed_slots)}))[
        "yhat"
    ].to_numpy()
    inside = slots < len(grid)
    truth = grid.values[slots[inside]]
    errors = np.abs(truth - options[np.searchsorted(needed_slots, slots[inside])])
    return float(np.nanmean(errors))


def _prophet_frame(values: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"ds": values.index, "y": values.to_numpy()})
