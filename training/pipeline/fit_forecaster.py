"""How a forecaster is learned from one window: tune, grade beside the champion and the naive ones, fit, draw.

Knows which readings each step may see. Leaves search and measures to `forecaster_tuning` and `backtest`.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from training.artifacts.model_files import write_json
from training.evaluation.backtest import grade_forecaster
from training.evaluation.label_feedback import usual
from training.forecasting.forecaster import Forecaster
from training.forecasting.parameters import ForecasterParameters
from training.pipeline.fit import PARAMETERS, Assignment, Clock, Lesson, Sibling, log, split
from training.quality.windows import Window
from training.registry.run_charts import forecast_picture
from training.tuning.forecaster_search import starting_points, tune_forecaster
from training.tuning.study import Tuned

ORIGINS = 20  # moments of the newest readings that challenger and champion both forecast from


def learn_forecaster(assignment: Assignment, window: Window, files: Path, clock: Clock) -> Lesson:
    """Tune on the older readings, grade on the newest, then fit to all of them and write the files."""
    settings = assignment.plan.forecaster
    window = replace(window, values=usual(window.values, assignment.labels))
    older, newest = split(window, assignment.plan.tuning.judged_share)
    lender = _usable(assignment.lender(window))
    with clock.phase("tune"):
        tuned = _borrowed(lender, settings.horizon_steps) if lender else _tuned(assignment, window, older)
    with clock.phase("grade"):
        challenger = _made(assignment, window, tuned.parameters).fit(older.index, older.to_numpy())
        metrics = _grade(challenger, assignment, window, newest)
        incumbent = _grade_incumbent(assignment, window, older, newest)
    with clock.phase("fit"):
        forecaster = _made(assignment, window, tuned.parameters)
        forecaster.fit(window.values.index, window.values.to_numpy()).save(files)
        write_json(tuned.parameters.to_json(), files / PARAMETERS)
    with clock.phase("draw"):
        picture = _picture(challenger, assignment, window.values)
    return Lesson(
        parameters={"method": forecaster.method, "horizon_steps": settings.horizon_steps}
        | _told(tuned.parameters),
        metrics=metrics,
        incumbent_metrics=incumbent,
        trials=tuned.trials,
        pictures={"forecast": picture},
        borrowed_from=lender.sensor_id if lender else None,
    )


def _tuned(assignment: Assignment, window: Window, older: pd.Series) -> Tuned[ForecasterParameters]:
    """The best of a search that starts from the champion's structures, then from the siblings'."""
    incumbent = assignment.incumbent
    known = [incumbent.parameters] if incumbent and incumbent.parameters else []
    known += [sibling.parameters for sibling in assignment.siblings]
    read = (_read(parameters) for parameters in known)
    starts = [start for parameters in read if parameters is not None for start in starting_points(parameters)]
    return tune_forecaster(
        older,
        step=window.step,
        plan=assignment.study,
        horizon=assignment.plan.forecaster.horizon_steps,
        first=[start for place, start in enumerate(starts) if start not in starts[:place]],
    )


def _borrowed(lender: Sibling, horizon: int) -> Tuned[ForecasterParameters]:
    """A sibling's structures for this plan's horizon; nothing was tried."""
    parameters = ForecasterParameters.from_json({**lender.parameters, "horizon": horizon})
    return Tuned(parameters, float("nan"), pd.DataFrame())


def _usable(lender: Sibling | None) -> Sibling | None:
    return lender if lender is not None and _read(lender.parameters) is not None else None


def _read(parameters: Mapping[str, Any]) -> ForecasterParameters | None:
    """None where another version of the program wrote them differently."""
    try:
        return ForecasterParameters.from_json(parameters)
    except (KeyError, TypeError, ValueError) as error:
        log.warning("known parameters are not started from: %s", error)
        return None


def _made(assignment: Assignment, window: Window, parameters: ForecasterParameters) -> Forecaster:
    width = assignment.plan.forecaster.interval_width
    return Forecaster(parameters, interval_width=width, step=window.step, seed=assignment.study.seed)


def _grade(
    forecaster: Forecaster, assignment: Assignment, window: Window, newest: pd.Series
) -> dict[str, float]:
    settings = assignment.plan.forecaster
    return grade_forecaster(
        forecaster,
        window.values,
        step=window.step,
        horizon=settings.horizon_steps,
        origins=ORIGINS,
        since=newest.index[0],
        interval_width=settings.interval_width,
    )


def _grade_incumbent(
    assignment: Assignment, window: Window, older: pd.Series, newest: pd.Series
) -> dict[str, float] | None:
    """The champion as it serves; one that has seen the newest readings is learned again without them."""
    incumbent = assignment.incumbent
    champion = incumbent.loaded(Forecaster.load) if incumbent else None
    if incumbent is None or champion is None:
        return None
    if incumbent.train_end >= newest.index[0]:
        champion = _made(assignment, window, champion.parameters).fit(older.index, older.to_numpy())
    return _grade(champion, assignment, window, newest)


def _told(parameters: ForecasterParameters) -> dict[str, object]:
    """The parameters by name, so that runs can be compared column by column; the largest share first."""
    structures, names, shares = parameters.counted(parameters.naives)
    parts: list[dict[str, object]] = [asdict(structure) for structure in structures]
    parts += [{"naive": name} for name in names]
    order = sorted(range(len(parts)), key=lambda place: -shares[place])
    return {
        f"part_{rank}_{name}": value
        for rank, place in enumerate(order, start=1)
        for name, value in {"share": round(shares[place], 3), **parts[place]}.items()
    }


def _picture(challenger: Forecaster, assignment: Assignment, values: pd.Series) -> bytes:
    steps = min(assignment.plan.forecaster.horizon_steps, len(values) // 5)
    history, truth = values.iloc[:-steps], values.iloc[-steps:]
    title = f"{assignment.sensor.title}: the newest {steps} steps as they would have been forecast"
    return forecast_picture(
        history,
        challenger.forecast(steps, history=history),
        truth,
        title=title,
        unit=assignment.sensor.unit,
    )
