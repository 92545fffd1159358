"""Inject known faults into copies of ordinary readings, and count how many a detector finds.

Six kinds of instrument and process fault, sized by the sensor's own noise, so that grades of different
sensors can be compared. The search that uses the grade is `training.tuning.detector_search`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from training.anomaly.calibration import count_episodes
from training.anomaly.robust_statistics import robust_spread
from training.anomaly.seasonal_profile import fit_seasonal_profile
from training.common.arrays import Flags, Floats
from training.common.times import epoch_seconds

FAULT_KINDS = ("spike", "level_shift", "slow_ramp", "freezing", "extra_noise", "lost_cycle")
FAULTS_PER_KIND = 8  # in one copy for each kind
FAULT_READINGS = 48  # length of a fault; a spike has one reading
SPIKE_DELAY = 2  # readings within which a spike must be found; other faults while they last
FAULT_SIZES = (3.0, 12.0)  # smallest and largest fault, in units of the sensor's noise


class AnomalyScorer(Protocol):
    """A detector that can be graded: `AnomalyDetector` or `NaiveDetector`."""

    @property
    def threshold(self) -> float: ...  # noqa: D102

    @property
    def step_seconds(self) -> float: ...  # noqa: D102

    def score(self, data: ArrayLike, *, history: ArrayLike | None = None) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class SignalNoise:
    """The sensor's own noise: from one reading to the next, and around the seasonal profile."""

    noise: float
    spread: float

    @property
    def shift_unit(self) -> float:
        """The unit of a lasting fault; on a slow signal the noise alone would be too small to see."""
        return float(np.sqrt(self.noise * max(self.spread, self.noise)))


@dataclass(frozen=True)
class InjectedFaults:
    """A copy of clean readings with several faults of one kind."""

    kind: str
    values: Floats
    spans: tuple[slice, ...]  # where an alarm counts as finding the fault

    def detected(self, alarmed: Flags, clean_alarms: Flags) -> list[bool]:
        """Whether each fault raised an alarm that the untouched copy did not."""
        fresh = alarmed & ~clean_alarms
        return [bool(fresh[span].any()) for span in self.spans]


def measure_noise(values: Floats, seconds: Floats | None) -> SignalNoise:
    """Measure the noise of finite readings, oldest first; without times there is no seasonal profile."""
    step = float(np.median(np.diff(seconds))) if seconds is not None and seconds.size > 1 else 0.0
    seasonal = fit_seasonal_profile(seconds, values, step=step) if seconds is not None and step > 0 else None
    residuals = values - seasonal.at(seconds) if seasonal and seconds is not None else values
    centre = float(np.median(values)) if values.size else 0.0
    spread = robust_spread(residuals) or 1e-3 * abs(centre) or 1.0
    noise = robust_spread(np.diff(residuals)) / np.sqrt(2) or 0.05 * spread
    return SignalNoise(noise=noise, spread=spread)


def inject_faults(values: Floats, noise_scale: SignalNoise, *, seed: int) -> list[InjectedFaults]:
    """One copy for each kind of fault, at random positions with room between them."""
    rng = np.random.default_rng(seed)
    return [_inject_kind(kind, values, noise_scale, rng) for kind in FAULT_KINDS]


def grade_detector(
    detector: AnomalyScorer, clean: pd.Series, *, history: ArrayLike | None = None, seed: int = 0
) -> dict[str, float]:
    """Recall of injected faults, and false alarms, on readings that the detector was not fitted to.

    `clean` are ordinary readings after the training window. The metric names are the same for every sensor.
    """
    clean = clean[np.isfinite(clean.to_numpy(np.float64))].sort_index()
    values = clean.to_numpy(np.float64)
    clocked = isinstance(clean.index, pd.DatetimeIndex)
    noise_scale = measure_noise(values, epoch_seconds(pd.DatetimeIndex(clean.index)) if clocked else None)
    clean_scores = detector.score(clean, history=history)
    alarmed = clean_scores >= detector.threshold
    days = max(len(clean) * detector.step_seconds / 86_400.0, 1e-9)
    grade: dict[str, float] = {}
    for injection in inject_faults(values, noise_scale, seed=seed):
        scores = detector.score(pd.Series(injection.values, index=clean.index), history=history)
        grade[f"recall_{injection.kind}"] = float(
            np.mean(injection.detected(scores >= detector.threshold, alarmed) or [False])
        )
    return grade | {
        "recall_mean": float(np.mean(list(grade.values()))),
        "false_alarms_per_day": count_episodes(alarmed) / days,
        "alarmed_share": float(np.mean(alarmed)) if alarmed.size else 0.0,
        "mean_score": float(np.mean(clean_scores)) if clean_scores.size else 0.0,
    }


def _inject_kind(
    kind: str, values: Floats, noise_scale: SignalNoise, rng: np.random.Generator
) -> InjectedFaults:
    copy = values.copy()
    length = 1 if kind == "spike" else min(FAULT_READINGS, max(values.size // 4, 1))
    watched = SPIKE_DELAY if kind == "spike" else length
    fault_count = min(FAULTS_PER_KIND, values.size // (2 * watched)) if values.size > 2 * watched else 0
    spans = []
    for room in np.array_split(np.arange(values.size), fault_count) if fault_count else []:
        start = int(rng.integers(room[0], max(room[-1] + 2 - watched, room[0] + 1)))
        size = float(rng.uniform(*FAULT_SIZES) * rng.choice([-1.0, 1.0]))
        faulty = slice(start, start + length)
        copy[faulty] = _apply_fault(kind, values[faulty], noise_scale, size, rng)
        spans.append(slice(start, start + watched))
    return InjectedFaults(kind, copy, tuple(spans))


def _apply_fault(
    kind: str, clean: Floats, noise_scale: SignalNoise, size: float, rng: np.random.Generator
) -> Floats:
    """Readings with one fault; `size` is signed, in units of the sensor's noise."""
    match kind:
        case "spike":
            faulty = clean + 1.5 * size * noise_scale.noise
        case "level_shift":
            faulty = clean + size * noise_scale.shift_unit
        case "slow_ramp":
            faulty = clean + size * noise_scale.shift_unit * np.linspace(0, 1, clean.size)
        case "freezing":
            faulty = np.full_like(clean, clean[0])
        case "extra_noise":
            faulty = clean + 0.5 * size * noise_scale.noise * rng.standard_normal(clean.size)
        case _:  # lost_cycle: the sensor reports its recent mean and noise, and no longer follows the process
            faulty = clean.mean() + noise_scale.noise * rng.standard_normal(clean.size)
    return np.asarray(faulty)
