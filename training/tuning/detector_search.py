"""The search for one sensor's detector: missed faults, under a ceiling on false alarms.

Knows what a good trial is and how cautiously its winner is believed. The newest part of the readings is
held out; known faults are put into copies of it, and labelled windows count as well. Leaves the arithmetic
that trials share to `workbench`, and the study to `tuning`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from training.anomaly.base_detectors import DetectorParameters
from training.anomaly.calibration import episodes, learn_scale
from training.anomaly.detector import FEWEST, MOST
from training.anomaly.ensemble import allowed_rate
from training.anomaly.features import Design, describe, learn_profile
from training.anomaly.sequence import seconds_of, sequence_of
from training.errors import NotTrainable
from training.evaluation.fault_injection import character_of, inject
from training.tuning.study import StudyPlan, Tuned, run_study, trials_table
from training.tuning.trial_cache import NEIGHBOURS, TREES, Workbench

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Label = tuple[datetime, datetime, bool]  # start, end (both included), whether it was an anomaly

HELD_OUT = 0.3  # newest share of the readings, judged and not learned from
ENOUGH = 200  # readings from which a search says more than its chance
CLEARLY = 0.1  # how much less must be missed than by the defaults for a winner to be believed
# How far a believed winner moves the defaults' weights: on labelled readings, further was worse.
BELIEVED = 0.3


@dataclass(frozen=True)
class Fault:
    """One thing to be found among the judged rows."""

    kind: str
    rows: slice
    untouched: slice | None  # the same readings without it: an alarm there as well finds nothing

    def found(self, alarmed: Flags) -> bool:
        """Whether it raised an alarm of its own."""
        here = alarmed[self.rows]
        return bool((here if self.untouched is None else here & ~alarmed[self.untouched]).any())


@dataclass(frozen=True)
class Trials:
    """What every trial is judged on."""

    bench: Workbench
    step: float
    clean: slice  # rows of the bench's judged part: the untouched copy
    dismissed: Flags  # rows of the untouched copy whose alarms people have called false
    faults: tuple[Fault, ...]
    alarms_per_day: float | None

    def loss(self, parameters: DetectorParameters) -> tuple[float, dict[str, float]]:
        """Share of faults missed, mean over kinds, plus what false alarms beyond the budget cost."""
        learned, judged = self.bench.surprise(parameters)
        scale = learn_scale(learned, episodes_per_reading=allowed_rate(parameters, self.step))
        alarmed = scale.of(judged) >= 0.5
        usual = alarmed[self.clean]
        found: dict[str, list[bool]] = {}
        for fault in self.faults:
            found.setdefault(fault.kind, []).append(fault.found(alarmed))
        missed = 1.0 - float(np.mean([np.mean(hits) for hits in found.values()])) if found else 0.0
        excess = self._excess(usual)
        return missed + excess, {"missed": missed, "false_alarms": float(episodes(usual)), "excess": excess}

    def _excess(self, usual: Flags) -> float:
        """0 within the budget; counts are few, so two standard deviations more are forgiven."""
        readings = usual.size
        rate = 1e-3 if self.alarms_per_day is None else self.alarms_per_day * self.step / 86_400.0
        allowed = rate * readings
        beyond = episodes(usual) - allowed - 2 * np.sqrt(allowed) - 1
        again = float(np.mean(usual[self.dismissed])) if self.dismissed.any() else 0.0
        return max(0.0, float(beyond)) / max(allowed, 1.0) + again


def tune_detector(
    readings: pd.Series,
    *,
    plan: StudyPlan,
    alarms_per_day: float | None = None,
    contamination: float = 0.1,
    lifetime_days: float | None = None,
    labels: Sequence[Label] | None = None,
    first: Sequence[Mapping[str, Any]] = (),
) -> Tuned[DetectorParameters]:
    """Search the ensemble's weights and sizes for one sensor; the defaults win unless clearly beaten.

    `first` are parameters known to be good elsewhere (the sensor's last best, its siblings').

    Raises:
        NotTrainable: fewer than 30 finite readings.
    """
    default = DetectorParameters(
        alarms_per_day=alarms_per_day, contamination=contamination, lifetime_days=lifetime_days
    )
    trials = prepare_trials(readings, alarms_per_day=alarms_per_day, labels=labels or (), seed=plan.seed)

    def objective(trial: optuna.Trial) -> float:
        parameters = default.model_copy(update=suggest(trial))
        loss, notes = trials.loss(parameters)
        for name, note in notes.items():
            trial.set_user_attr(name, note)
        return loss

    known = [searched(default), *(searched(default.model_copy(update=dict(other))) for other in first)]
    study = run_study(objective, plan, first=known)
    before, _ = trials.loss(default)
    parameters = default
    if len(readings) >= ENOUGH and study.best_value <= before - CLEARLY:
        parameters = between(default, default.model_copy(update=study.best_params))
    return Tuned(parameters, trials.loss(parameters)[0], trials_table(study))


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The search space: how loud each voice is, and how large the models are."""
    weights = ("forest_weight", "density_weight", "deviation_weight")
    return {name: trial.suggest_float(name, 0.25, 4.0, log=True) for name in weights} | {
        "windows_share": trial.suggest_float("windows_share", 0.1, 0.9),
        "trees": trial.suggest_categorical("trees", TREES),
        "neighbours": trial.suggest_categorical("neighbours", NEIGHBOURS),
    }


def searched(parameters: DetectorParameters) -> dict[str, Any]:
    """The parameters that a trial sets, as it would have to suggest them."""
    nearest = {
        "trees": min(TREES, key=lambda size: abs(size - parameters.trees)),
        "neighbours": min(NEIGHBOURS, key=lambda size: abs(size - parameters.neighbours)),
        "windows_share": float(np.clip(parameters.windows_share, 0.1, 0.9)),
    }
    weights = ("forest_weight", "density_weight", "deviation_weight")
    return nearest | {name: float(np.clip(getattr(parameters, name), 0.25, 4.0)) for name in weights}


def between(default: DetectorParameters, winner: DetectorParameters) -> DetectorParameters:
    """The defaults moved towards the winner: injected faults are not the faults to come."""
    weights = ("forest_weight", "density_weight", "deviation_weight")
    moved = {
        name: float(getattr(default, name) ** (1 - BELIEVED) * getattr(winner, name) ** BELIEVED)
        for name in weights
    }
    share = (1 - BELIEVED) * default.windows_share + BELIEVED * winner.windows_share
    sizes = {"trees": winner.trees, "neighbours": winner.neighbours}
    return default.model_copy(update=moved | sizes | {"windows_share": share})


def prepare_trials(
    readings: pd.Series, *, alarms_per_day: float | None, labels: Sequence[Label], seed: int
) -> Trials:
    """Hold out the newest readings, put faults into copies of them, and compute what trials share."""
    sequence = sequence_of(readings).finite()
    seconds, values = sequence.seconds, sequence.values
    if values.size < FEWEST:
        raise NotTrainable(f"{values.size} finite readings; a detector needs {FEWEST}. Collect more.")
    odd, dismissed = (_within(seconds, labels, anomalous=verdict) for verdict in (True, False))
    newest = np.arange(values.size) >= int((1 - HELD_OUT) * values.size)
    learn, clean = np.flatnonzero(~newest & ~odd), np.flatnonzero(newest & ~odd)
    if learn.size < FEWEST:
        raise NotTrainable(f"{learn.size} readings are left to learn from; a detector needs {FEWEST}.")
    profile = learn_profile(seconds[learn], values[learn], clocked=sequence.clocked)
    whole = describe(profile, seconds, values)
    designs, faults, rows = [whole.rows(clean)], [], clean.size
    character = character_of(values[learn], seconds[learn] if sequence.clocked else None)
    for injection in inject(values[clean], character, seed=seed):
        copy = values.copy()
        copy[clean] = injection.values
        hurt = describe(profile, seconds, copy)
        for stretch in injection.stretches:
            designs.append(hurt.rows(clean[stretch]))
            length = designs[-1].run.size
            faults.append(Fault(injection.kind, slice(rows, rows + length), stretch))
            rows += length
    for first, last in _stretches(odd):
        designs.append(whole.rows(np.arange(first, last)))
        faults.append(Fault("labelled", slice(rows, rows + last - first), None))
        rows += last - first
    return Trials(
        bench=Workbench.over(whole.rows(learn[-MOST:]), Design.joined(designs), profile, seed=seed),
        step=profile.step,
        clean=slice(0, clean.size),
        dismissed=dismissed[clean],
        faults=tuple(faults),
        alarms_per_day=alarms_per_day,
    )


def _within(seconds: Floats, labels: Sequence[Label], *, anomalous: bool) -> Flags:
    chosen = np.zeros(seconds.size, dtype=bool)
    for start, end, verdict in labels:
        if verdict == anomalous:
            first, last = seconds_of(pd.DatetimeIndex([start, end]))
            chosen |= (seconds >= first) & (seconds <= last)
    return chosen


def _stretches(flags: Flags) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
