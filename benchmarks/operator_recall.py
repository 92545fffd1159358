"""Which injected faults the detectors of twenty one-minute sensors find, by kind, at their own threshold.

Sensors are cut from files of a data folder (a water plant, a well, a pump rig whose seconds are taken as
minutes). Each is tuned and fitted on the older 80 % as `safeplan train` does and graded on the newest 20 %.
The kinds are those of the gate, and the ones that an operator missed: noise of four times its size, a drift
over eight hours, a ramp beyond everything learned, a value that is stuck for two hours.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from training.anomaly.calibration import count_episodes
from training.anomaly.detector import AnomalyDetector
from training.common.arrays import Floats
from training.common.times import epoch_seconds
from training.evaluation.fault_injection import InjectedFaults, SignalNoise, inject_faults, measure_noise
from training.tuning.detector_search import tune_detector
from training.tuning.study import StudyPlan

ROWS, TRAINING_SHARE = 10_000, 0.8
MIN_ROWS, MIN_DISTINCT = 3_000, 10
FIRST_ROW = {"gecco_train": 20_000}  # the first weeks of the water plant are its commissioning
FILES = ("gecco_train", "3w_flow_well02", "skab_anomaly_free")
SENSORS = 20
ALARMS_PER_DAY, LIFETIME_DAYS = 1.0, 7.0

Distortion = Callable[[Floats, float, np.random.Generator], Floats]  # values, sign


def minute_sensors(data: Path) -> Iterator[tuple[str, pd.Series]]:
    """The first twenty usable series of the folder, one reading per minute."""
    count = 0
    for file in FILES:
        table = pd.read_csv(data / f"{file}.csv.gz")
        for name, rows in table.groupby("series_id"):
            first = FIRST_ROW.get(file, 0)
            values = rows["value"].to_numpy(np.float64)
            values = values[np.isfinite(values)][first : first + ROWS]
            if len(values) < MIN_ROWS or len(np.unique(values)) < MIN_DISTINCT or count == SENSORS:
                continue
            count += 1
            index = pd.date_range("2026-01-01", periods=len(values), freq="min")
            yield f"{file}.{name}", pd.Series(values, index=index)


def grade_sensor(readings: pd.Series, *, trials: int, seed: int = 0) -> dict[str, float]:
    """Recall by kind of fault, and false alarms a day, on the newest readings."""
    split = int(TRAINING_SHARE * len(readings))
    older, newest = readings.iloc[:split], readings.iloc[split:]
    parameters = tune_detector(
        older, plan=StudyPlan(trials=trials), alarms_per_day=ALARMS_PER_DAY, lifetime_days=LIFETIME_DAYS
    ).parameters
    detector = AnomalyDetector(parameters).fit(older)
    values = newest.to_numpy(np.float64)
    noise = measure_noise(values, epoch_seconds(pd.DatetimeIndex(newest.index)))
    alarmed = detector.score(newest, history=older) >= detector.threshold
    grade = {}
    for injection in (
        *inject_faults(values, noise, seed=seed),
        *inject_missed_faults(values, older.to_numpy(np.float64), noise, seed=seed),
    ):
        scores = detector.score(pd.Series(injection.values, index=newest.index), history=older)
        grade[injection.kind] = float(np.mean(injection.detected(scores >= detector.threshold, alarmed)))
    days = len(newest) * detector.step_seconds / 86_400
    return grade | {"false_alarms_per_day": count_episodes(alarmed) / days}


def inject_missed_faults(
    values: Floats, learned: Floats, noise: SignalNoise, *, seed: int
) -> list[InjectedFaults]:
    """One copy for each kind that an operator missed, at random positions with room between them."""
    low, high = np.quantile(learned, [0.001, 0.999])
    margin = (high - low) / 2

    def beyond(clean: Floats, sign: float, _: np.random.Generator) -> Floats:
        target = high + margin if sign > 0 else low - margin
        return np.asarray(clean + (target - clean[0]) * np.linspace(0, 1, clean.size))

    def drift(clean: Floats, sign: float, rng: np.random.Generator) -> Floats:
        return clean + sign * rng.uniform(1, 4) * noise.spread * np.linspace(0, 1, clean.size)

    def four_fold_noise(clean: Floats, _: float, rng: np.random.Generator) -> Floats:
        return np.asarray(clean + np.sqrt(15) * noise.noise * rng.standard_normal(clean.size))

    def stuck(clean: Floats, _: float, __: np.random.Generator) -> Floats:
        return np.full_like(clean, clean[0])

    rng = np.random.default_rng([seed, 1])
    return [
        _inject(kind, values, length, count, distortion, rng)
        for kind, length, count, distortion in (
            ("noise_x4", 48, 8, four_fold_noise),
            ("drift_8h", 480, 3, drift),
            ("ramp_beyond", 60, 8, beyond),
            ("stuck_2h", 120, 6, stuck),
        )
    ]


def _inject(
    kind: str, values: Floats, length: int, count: int, distort: Distortion, rng: np.random.Generator
) -> InjectedFaults:
    copy, spans = values.copy(), []
    for room in np.array_split(np.arange(values.size), min(count, values.size // (length + 2))):
        start = int(rng.integers(room[0], room[-1] + 2 - length))
        span = slice(start, start + length)
        copy[span] = distort(values[span], float(rng.choice([-1.0, 1.0])), rng)
        spans.append(span)
    return InjectedFaults(kind, copy, tuple(spans))
