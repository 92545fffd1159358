"""Search the parameters of one sensor's detector: fewest missed faults within the alarm budget.

Holds out the newest readings, injects faults into copies of them and adds labelled intervals. Features,
forests and neighbours that trials share are in `training.tuning.trial_cache`, the study in
`training.tuning.study`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import pandas as pd

from training.anomaly.calibration import count_episodes, fit_scale
from training.anomaly.detector import MAX_TRAINING_ROWS
from training.anomaly.ensemble import allowed_alarm_rate
from training.anomaly.features import Design
from training.anomaly.models.base_detectors import DetectorParameters
from training.anomaly.profile import compute_features, fit_profile
from training.anomaly.profile_detector import MIN_READINGS
from training.anomaly.sequence import to_sequence
from training.common.arrays import Flags, Floats, true_runs
from training.common.times import epoch_seconds
from training.errors import NotTrainable
from training.evaluation.fault_injection import inject_faults, measure_noise
from training.tuning.study import StudyPlan, TuningResult, run_study, trials_table
from training.tuning.trial_cache import NEIGHBOUR_SIZES, TREE_SIZES, TrialCache

LabelTuple = tuple[datetime, datetime, bool]  # start, end (both included), whether it was an anomaly

HOLDOUT_SHARE = 0.3  # share of the readings, the newest, that is held out
MIN_TUNING_READINGS = 200  # with fewer readings the best trial is best by chance
MIN_IMPROVEMENT = 0.1  # by which the best loss must be below that of the defaults
# Share of the best trial in the result, the rest is the default; more was worse on labelled readings.
BEST_TRIAL_WEIGHT = 0.3
WEIGHTS = ("forest_weight", "density_weight", "deviation_weight")


@dataclass(frozen=True)
class TrialFault:
    """A fault among the held-out rows."""

    kind: str
    rows: slice
    clean_rows: slice | None  # the same readings without it; an alarm there too does not count

    def is_detected(self, alarmed: Flags) -> bool:
        """Whether an alarm was raised that the untouched readings do not raise."""
        alarms = alarmed[self.rows]
        return bool((alarms if self.clean_rows is None else alarms & ~alarmed[self.clean_rows]).any())


@dataclass(frozen=True)
class DetectorTrials:
    """The data that all trials are compared on."""

    cache: TrialCache
    step: float
    clean: slice  # rows of the untouched copy among the held-out rows
    dismissed: Flags  # rows of the untouched copy in intervals labelled as normal
    faults: tuple[TrialFault, ...]
    alarms_per_day: float | None

    def loss(self, parameters: DetectorParameters) -> tuple[float, dict[str, float]]:
        """Share of faults missed, averaged over kinds, plus a penalty for false alarms beyond the budget."""
        training, holdout = self.cache.surprise(parameters)
        scale = fit_scale(training, episodes_per_reading=allowed_alarm_rate(parameters, self.step))
        alarmed = scale.of(holdout) >= 0.5
        clean_alarms = alarmed[self.clean]
        detected_by_kind: dict[str, list[bool]] = {}
        for fault in self.faults:
            detected_by_kind.setdefault(fault.kind, []).append(fault.is_detected(alarmed))
        missed = (
            1.0 - float(np.mean([np.mean(hits) for hits in detected_by_kind.values()]))
            if detected_by_kind
            else 0.0
        )
        excess = self._excess(clean_alarms)
        return missed + excess, {
            "missed": missed,
            "false_alarms": float(count_episodes(clean_alarms)),
            "excess": excess,
        }

    def _excess(self, alarms: Flags) -> float:
        """Penalty for false alarms: 0 up to two standard deviations above the budget, as counts are small."""
        rate = 1e-3 if self.alarms_per_day is None else self.alarms_per_day * self.step / 86_400.0
        allowed = rate * alarms.size
        beyond = count_episodes(alarms) - allowed - 2 * np.sqrt(allowed) - 1
        dismissed_share = float(np.mean(alarms[self.dismissed])) if self.dismissed.any() else 0.0
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
    """Search the ensemble's weights and sizes for one sensor; the defaults stay unless clearly beaten.

    `first` are known good parameters (those of the champion, or of similar sensors).

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
    """The search space: the weight of each base detector, and the sizes of the models."""
    return {name: trial.suggest_float(name, 0.25, 4.0, log=True) for name in WEIGHTS} | {
        "windows_share": trial.suggest_float("windows_share", 0.1, 0.9),
        "trees": trial.suggest_categorical("trees", TREE_SIZES),
        "neighbours": trial.suggest_categorical("neighbours", NEIGHBOUR_SIZES),
    }


def to_trial_params(parameters: DetectorParameters) -> dict[str, Any]:
    """The parameters that a trial sets, moved to the nearest values of the search space."""
    nearest = {
        "trees": min(TREE_SIZES, key=lambda size: abs(size - parameters.trees)),
        "neighbours": min(NEIGHBOUR_SIZES, key=lambda size: abs(size - parameters.neighbours)),
        "windows_share": float(np.clip(parameters.windows_share, 0.1, 0.9)),
    }
    return nearest | {name: float(np.clip(getattr(parameters, name), 0.25, 4.0)) for name in WEIGHTS}


def shrink_to_default(default: DetectorParameters, best: DetectorParameters) -> DetectorParameters:
    """The defaults moved towards the best trial, because injected faults are not real ones."""
    moved = {
        name: float(
            getattr(default, name) ** (1 - BEST_TRIAL_WEIGHT) * getattr(best, name) ** BEST_TRIAL_WEIGHT
        )
        for name in WEIGHTS
    }
    share = (1 - BEST_TRIAL_WEIGHT) * default.windows_share + BEST_TRIAL_WEIGHT * best.windows_share
    sizes = {"trees": best.trees, "neighbours": best.neighbours}
    return default.model_copy(update=moved | sizes | {"windows_share": share})


def prepare_trials(
    readings: pd.Series, *, alarms_per_day: float | None, labels: Sequence[LabelTuple], seed: int
) -> DetectorTrials:
    """Hold out the newest readings, inject faults into copies of them, and compute what trials share.

    Raises:
        NotTrainable: fewer than 30 finite readings, in all or before the held-out ones.
    """
    sequence = to_sequence(readings).finite()
    seconds, values = sequence.seconds, sequence.values
    if values.size < MIN_READINGS:
        raise NotTrainable(f"{values.size} finite readings: a detector needs {MIN_READINGS}. Collect more.")
    anomalous, dismissed = (_label_mask(seconds, labels, anomalous=verdict) for verdict in (True, False))
    newest = np.arange(values.size) >= int((1 - HOLDOUT_SHARE) * values.size)
    training, clean = np.flatnonzero(~newest & ~anomalous), np.flatnonzero(newest & ~anomalous)
    if training.size < MIN_READINGS:
        raise NotTrainable(
            f"{training.size} readings are left for training: a detector needs {MIN_READINGS}. Collect more."
        )
    profile = fit_profile(seconds[training], values[training], clocked=sequence.clocked)
    whole = compute_features(profile, seconds, values)
    noise = measure_noise(values[training], seconds[training] if sequence.clocked else None)
    designs, faults, rows = [whole.select(clean)], [], clean.size
    for injection in inject_faults(values[clean], noise, seed=seed):
        copy = values.copy()
        copy[clean] = injection.values
        faulty = compute_features(profile, seconds, copy)
        for span in injection.spans:
            designs.append(faulty.select(clean[span]))
            faults.append(TrialFault(injection.kind, slice(rows, rows := rows + designs[-1].run.size), span))
    for labelled in true_runs(anomalous).slices():
        designs.append(whole.select(labelled))
        faults.append(TrialFault("labelled", slice(rows, rows := rows + designs[-1].run.size), None))
    return DetectorTrials(
        cache=TrialCache.build(
            whole.select(training[-MAX_TRAINING_ROWS:]), Design.concat(designs), profile, seed=seed
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
