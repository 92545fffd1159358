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

from training.anomaly.base_detectors import DetectorParameters
from training.anomaly.calibration import count_episodes, fit_scale
from training.anomaly.detector import MAX_TRAINING_ROWS, MIN_READINGS
from training.anomaly.ensemble import allowed_alarm_rate
from training.anomaly.features import Design, compute_features, fit_profile
from training.anomaly.sequence import to_sequence
from training.common.arrays import Flags, Floats
from training.common.times import epoch_seconds
from training.errors import NotTrainable
from training.evaluation.fault_injection import inject_faults, measure_noise
from training.tuning.study import StudyPlan, TuningResult, run_study, trials_table
from training.tuning.trial_cache import NEIGHBOUR_SIZES, TREE_SIZES, TrialCache

LabelTuple = tuple[datetime, datetime, bool]  # start, end (both included), whether it was an anomaly

HOLDOUT_SHARE = 0.3  # newest share of the readings, judged and not learned from
MIN_TUNING_READINGS = 200  # readings from which a search says more than its chance
MIN_IMPROVEMENT = 0.1  # how much less must be missed than by the defaults for a winner to be believed
# How far a believed winner moves the defaults' weights: on labelled readings, further was worse.
WINNER_WEIGHT = 0.3


@dataclass(frozen=True)
class TrialFault:
    """One thing to be found among the judged rows."""

    kind: str
    rows: slice
    clean_rows: slice | None  # the same readings without it: an alarm there as well finds nothing

    def is_detected(self, alarmed: Flags) -> bool:
        """Whether it raised an alarm of its own."""
        alarms = alarmed[self.rows]
        return bool((alarms if self.clean_rows is None else alarms & ~alarmed[self.clean_rows]).any())


@dataclass(frozen=True)
class DetectorTrials:
    """What every trial is judged on."""

    cache: TrialCache
    step: float
    clean: slice  # rows of the bench's judged part: the untouched copy
    dismissed: Flags  # rows of the untouched copy whose alarms people have called false
    faults: tuple[TrialFault, ...]
    alarms_per_day: float | None

    def loss(self, parameters: DetectorParameters) -> tuple[float, dict[str, float]]:
        """Share of faults missed, mean over kinds, plus what false alarms beyond the budget cost."""
        learned, judged = self.cache.surprise(parameters)
        scale = fit_scale(learned, episodes_per_reading=allowed_alarm_rate(parameters, self.step))
        alarmed = scale.of(judged) >= 0.5
        usual = alarmed[self.clean]
        detected_by_kind: dict[str, list[bool]] = {}
        for fault in self.faults:
            detected_by_kind.setdefault(fault.kind, []).append(fault.is_detected(alarmed))
        missed = (
            1.0 - float(np.mean([np.mean(hits) for hits in detected_by_kind.values()]))
            if detected_by_kind
            else 0.0
        )
        excess = self._excess(usual)
        return missed + excess, {
            "missed": missed,
            "false_alarms": float(count_episodes(usual)),
            "excess": excess,
        }

    def _excess(self, usual: Flags) -> float:
        """0 within the budget; counts are few, so two standard deviations more are forgiven."""
        readings = usual.size
        rate = 1e-3 if self.alarms_per_day is None else self.alarms_per_day * self.step / 86_400.0
        allowed = rate * readings
        beyond = count_episodes(usual) - allowed - 2 * np.sqrt(allowed) - 1
        dismissed_share = float(np.mean(usual[self.dismissed])) if self.dismissed.any() else 0.0
        return max(0.0, float(beyond)) / max(allowed, 1.0) + dismissed_share


def tune_detector(
    readings: pd.Series,
    *,
    plan: StudyPlan,
    alarms_per_day: float | None = None,
    contamination: float = 0.1,
    lifetime_days: float | None = None,
    labels: Sequence[LabelTuple] | None = None,
    first: Sequence[Mapping[str, Any]] = (),
) -> TuningResult[DetectorParameters]:
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
        parameters = default.model_copy(update=suggest_parameters(trial))
        loss, notes = trials.loss(parameters)
        for name, note in notes.items():
            trial.set_user_attr(name, note)
        return loss

    starting_points = [
        to_trial_params(default),
        *(to_trial_params(default.model_copy(update=dict(other))) for other in first),
    ]
    study = run_study(objective, plan, first=starting_points)
    default_loss, _ = trials.loss(default)
    parameters = default
    if len(readings) >= MIN_TUNING_READINGS and study.best_value <= default_loss - MIN_IMPROVEMENT:
        parameters = shrink_to_default(default, default.model_copy(update=study.best_params))
    return TuningResult(parameters, trials.loss(parameters)[0], trials_table(study))


def suggest_parameters(trial: optuna.Trial) -> dict[str, Any]:
    """The search space: how loud each voice is, and how large the models are."""
    weights = ("forest_weight", "density_weight", "deviation_weight")
    return {name: trial.suggest_float(name, 0.25, 4.0, log=True) for name in weights} | {
        "windows_share": trial.suggest_float("windows_share", 0.1, 0.9),
        "trees": trial.suggest_categorical("trees", TREE_SIZES),
        "neighbours": trial.suggest_categorical("neighbours", NEIGHBOUR_SIZES),
    }


def to_trial_params(parameters: DetectorParameters) -> dict[str, Any]:
    """The parameters that a trial sets, as it would have to suggest them."""
    nearest = {
        "trees": min(TREE_SIZES, key=lambda size: abs(size - parameters.trees)),
        "neighbours": min(NEIGHBOUR_SIZES, key=lambda size: abs(size - parameters.neighbours)),
        "windows_share": float(np.clip(parameters.windows_share, 0.1, 0.9)),
    }
    weights = ("forest_weight", "density_weight", "deviation_weight")
    return nearest | {name: float(np.clip(getattr(parameters, name), 0.25, 4.0)) for name in weights}


def shrink_to_default(default: DetectorParameters, winner: DetectorParameters) -> DetectorParameters:
    """The defaults moved towards the winner: injected faults are not the faults to come."""
    weights = ("forest_weight", "density_weight", "deviation_weight")
    moved = {
        name: float(getattr(default, name) ** (1 - WINNER_WEIGHT) * getattr(winner, name) ** WINNER_WEIGHT)
        for name in weights
    }
    share = (1 - WINNER_WEIGHT) * default.windows_share + WINNER_WEIGHT * winner.windows_share
    sizes = {"trees": winner.trees, "neighbours": winner.neighbours}
    return default.model_copy(update=moved | sizes | {"windows_share": share})


def prepare_trials(
    readings: pd.Series, *, alarms_per_day: float | None, labels: Sequence[LabelTuple], seed: int
) -> DetectorTrials:
    """Hold out the newest readings, put faults into copies of them, and compute what trials share."""
    sequence = to_sequence(readings).finite()
    seconds, values = sequence.seconds, sequence.values
    if values.size < MIN_READINGS:
        raise NotTrainable(f"{values.size} finite readings; a detector needs {MIN_READINGS}. Collect more.")
    anomalous, dismissed = (_label_mask(seconds, labels, anomalous=verdict) for verdict in (True, False))
    newest = np.arange(values.size) >= int((1 - HOLDOUT_SHARE) * values.size)
    learn, clean = np.flatnonzero(~newest & ~anomalous), np.flatnonzero(newest & ~anomalous)
    if learn.size < MIN_READINGS:
        raise NotTrainable(f"{learn.size} readings are left to learn from; a detector needs {MIN_READINGS}.")
    profile = fit_profile(seconds[learn], values[learn], clocked=sequence.clocked)
    whole = compute_features(profile, seconds, values)
    designs, faults, rows = [whole.select(clean)], [], clean.size
    character = measure_noise(values[learn], seconds[learn] if sequence.clocked else None)
    for injection in inject_faults(values[clean], character, seed=seed):
        copy = values.copy()
        copy[clean] = injection.values
        faulty = compute_features(profile, seconds, copy)
        for fault_slice in injection.stretches:
            designs.append(faulty.select(clean[fault_slice]))
            length = designs[-1].run.size
            faults.append(TrialFault(injection.kind, slice(rows, rows + length), fault_slice))
            rows += length
    for first, last in _true_runs(anomalous):
        designs.append(whole.select(np.arange(first, last)))
        faults.append(TrialFault("labelled", slice(rows, rows + last - first), None))
        rows += last - first
    return DetectorTrials(
        cache=TrialCache.build(
            whole.select(learn[-MAX_TRAINING_ROWS:]), Design.concat(designs), profile, seed=seed
        ),
        step=profile.step,
        clean=slice(0, clean.size),
        dismissed=dismissed[clean],
        faults=tuple(faults),
        alarms_per_day=alarms_per_day,
    )


def _label_mask(seconds: Floats, labels: Sequence[LabelTuple], *, anomalous: bool) -> Flags:
    mask = np.zeros(seconds.size, dtype=bool)
    for start, end, verdict in labels:
        if verdict == anomalous:
            first, last = epoch_seconds(pd.DatetimeIndex([start, end]))
            mask |= (seconds >= first) & (seconds <= last)
    return mask


def _true_runs(flags: Flags) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
