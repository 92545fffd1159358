"""Train a forecaster on one window: tune, grade beside the champion and naive forecasts, fit, draw.

Decides which readings each step sees. The search is in `training.tuning.forecaster_search`, metrics are in
`training.evaluation.backtest`.
"""

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from training.artifacts.model_files import write_json
from training.evaluation.backtest import grade_forecaster
from training.evaluation.label_feedback import exclude_confirmed_anomalies
from training.forecasting.forecaster import Forecaster
from training.forecasting.parameters import ForecasterParameters
from training.pipeline.fit import (
    PARAMETERS_FILE,
    PeerModel,
    PhaseTimer,
    TrainingResult,
    TrainingTask,
    split_window,
)
from training.quality.windows import Window
from training.registry.run_charts import render_forecast
from training.tuning.forecaster_search import starting_points, tune_forecaster
from training.tuning.study import TuningResult

GRADING_ORIGINS = 20  # times among the newest readings from which challenger and champion both forecast


def train_forecaster(task: TrainingTask, window: Window, files: Path, clock: PhaseTimer) -> TrainingResult:
    """Tune on the older readings, grade on the newest, then fit to all of them and write the files."""
    settings = task.plan.forecaster
    window = replace(window, values=exclude_confirmed_anomalies(window.values, task.labels))
    older, newest = split_window(window, task.plan.tuning.judged_share)
    donor = task.donor(window, ForecasterParameters.from_json)
    with clock.phase("tune"):
        tuned = _borrow_parameters(donor, settings.horizon_steps) if donor else _tune(task, window, older)
    with clock.phase("grade"):
        challenger = _new_forecaster(task, window, tuned.parameters).fit(older.index, older.to_numpy())
        metrics = _grade(challenger, task, window, newest)
        incumbent = _grade_incumbent(task, window, older, newest)
    with clock.phase("fit"):
        forecaster = _new_forecaster(task, window, tuned.parameters)
        forecaster.fit(window.values.index, window.values.to_numpy()).save(files)
        write_json(tuned.parameters.to_json(), files / PARAMETERS_FILE)
    with clock.phase("draw"):
        picture = _render_forecast(challenger, task, window.values)
    return TrainingResult(
        parameters={"method": forecaster.method, "horizon_steps": settings.horizon_steps}
        | _loggable_parameters(tuned.parameters),
        metrics=metrics,
        incumbent_metrics=incumbent,
        trials=tuned.trials,
        pictures={"forecast": picture},
        borrowed_from=donor.sensor_id if donor else None,
    )


def _tune(task: TrainingTask, window: Window, older: pd.Series) -> TuningResult[ForecasterParameters]:
    """The best of a search that starts from the champion's structures, then from the peers'."""
    known = task.starting_points(ForecasterParameters.from_json)
    starts = [start for parameters in known for start in starting_points(parameters)]
    return tune_forecaster(
        older,
        step=window.step,
        plan=task.study,
        horizon=task.plan.forecaster.horizon_steps,
        first=[start for place, start in enumerate(starts) if start not in starts[:place]],
    )


def _borrow_parameters(donor: PeerModel, horizon: int) -> TuningResult[ForecasterParameters]:
    """A peer's structures for this plan's horizon, without a search."""
    parameters = ForecasterParameters.from_json({**donor.parameters, "horizon": horizon})
    return TuningResult(parameters, float("nan"), pd.DataFrame())


def _new_forecaster(task: TrainingTask, window: Window, parameters: ForecasterParameters) -> Forecaster:
    width = task.plan.forecaster.interval_width
    return Forecaster(parameters, interval_width=width, step=window.step, seed=task.study.seed)


def _grade(forecaster: Forecaster, task: TrainingTask, window: Window, newest: pd.Series) -> dict[str, float]:
    settings = task.plan.forecaster
    return grade_forecaster(
        forecaster,
        window.values,
        step=window.step,
        horizon=settings.horizon_steps,
        origins=GRADING_ORIGINS,
        since=newest.index[0],
        interval_width=settings.interval_width,
    )


def _grade_incumbent(
    task: TrainingTask, window: Window, older: pd.Series, newest: pd.Series
) -> dict[str, float] | None:
    """The champion's metrics; if it was trained on the newest readings, it is trained again without them."""
    incumbent = task.incumbent
    champion = incumbent.load_model(Forecaster.load) if incumbent else None
    if incumbent is None or champion is None:
        return None
    if incumbent.train_end >= newest.index[0]:
        champion = _new_forecaster(task, window, champion.parameters).fit(older.index, older.to_numpy())
    return _grade(champion, task, window, newest)


def _loggable_parameters(parameters: ForecasterParameters) -> dict[str, object]:
    """The parameters as columns that can be compared between runs; the largest share first."""
    structures, names, shares = parameters.counted(parameters.naives)
    parts: list[dict[str, object]] = [asdict(structure) for structure in structures]
    parts += [{"naive": name} for name in names]
    order = sorted(range(len(parts)), key=lambda place: -shares[place])
    return {
        f"part_{rank}_{name}": value
        for rank, place in enumerate(order, start=1)
        for name, value in {"share": round(shares[place], 3), **parts[place]}.items()
    }


def _render_forecast(challenger: Forecaster, task: TrainingTask, values: pd.Series) -> bytes:
    steps = min(task.plan.forecaster.horizon_steps, len(values) // 5)
    history, truth = values.iloc[:-steps], values.iloc[-steps:]
    title = f"{task.sensor.title}: the newest {steps} readings and their forecast"
    return render_forecast(
        history,
        challenger.forecast(steps, history=history),
        truth,
        title=title,
        unit=task.sensor.unit,
    )
