"""Known faults put into copies of ordinary readings, and how many of them a detector finds.

Knows six kinds of instrument and process fault, sized by the sensor's own noise, so that a grade means the
same on a pump and on a river. Leaves the tuning that uses the grade to `detector_tuning`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from training.anomaly.calibration import count_episodes
from training.anomaly.robust_statistics import robust_spread
from training.anomaly.seasonal_profile import fit_seasonal_profile

# Also asked for here: an alarm is an episode wherever alarms are counted.
from training.common.arrays import Flags, Floats
from training.common.times import epoch_seconds

FAULT_KINDS = ("spike", "level_shift", "slow_ramp", "freezing", "extra_noise", "lost_cycle")
FAULTS_PER_KIND = 8  # of each fault, in a copy of its own
FAULT_READINGS = 48  # readings a fault lasts; a spike lasts one
SPIKE_DELAY = 2  # readings within which a spike must be found; the others, while they last
FAULT_SIZES = (3.0, 12.0)  # sensor noises: the smallest and the largest fault


class AnomalyScorer(Protocol):
    """What can be graded: the detector, and the naive one it must not fall behind."""

    @property
    def threshold(self) -> float: ...  # noqa: D102

    @property
    def step_seconds(self) -> float: ...  # noqa: D102

    def score(self, data: ArrayLike, *, history: ArrayLike | None = None) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class SignalNoise:
    """The sensor's own noise: what one step brings, and how far readings stray from their course."""

    noise: float
    spread: float

    @property
    def shift_unit(self) -> float:
        """One unit of a lasting fault: on a slow signal, noise alone would be lost in its wandering."""
        return float(np.sqrt(self.noise * max(self.spread, self.noise)))


@dataclass(frozen=True)
class InjectedFaults:
    """A copy of clean readings with one kind of fault at several places."""

    kind: str
    values: Floats
    stretches: tuple[slice, ...]  # where an alarm counts as finding the fault

    def detected(self, alarmed: Flags, usual_alarms: Flags) -> list[bool]:
        """Whether each fault raised an alarm that the untouched copy did not."""
        fresh = alarmed & ~usual_alarms
        return [bool(fresh[stretch].any()) for stretch in self.stretches]


def measure_noise(values: Floats, seconds: Floats | None) -> SignalNoise:
    """Measure noise and stray on finite readings in order of time; without times there is no course."""
    step = float(np.median(np.diff(seconds))) if seconds is not None and seconds.size > 1 else 0.0
    seasonal = fit_seasonal_profile(seconds, values, step=step) if seconds is not None and step > 0 else None
    residuals = values - seasonal.at(seconds) if seasonal and seconds is not None else values
    centre = float(np.median(values)) if values.size else 0.0
    stray = robust_spread(residuals) or 1e-3 * abs(centre) or 1.0
    noise = robust_spread(np.diff(residuals)) / np.sqrt(2) or 0.05 * stray
    return SignalNoise(noise=noise, spread=stray)


def inject_faults(values: Floats, noise_scale: SignalNoise, *, seed: int) -> list[InjectedFaults]:
    """One copy for each kind of fault, at random places that leave room between each other."""
    rng = np.random.default_rng(seed)
    return [_inject_kind(kind, values, noise_scale, rng) for kind in FAULT_KINDS]


def grade_detector(
    detector: AnomalyScorer, clean: pd.Series, *, history: ArrayLike | None = None, seed: int = 0
) -> dict[str, float]:
    """How many injected faults a detector finds in readings it was not fitted to, and what it raises there.

    `clean` are ordinary readings after the training window; the metric names are the same for each sensor.
    """
    clean = clean[np.isfinite(clean.to_numpy(np.float64))].sort_index()
    values = clean.to_numpy(np.float64)
    clocked = isinstance(clean.index, pd.DatetimeIndex)
    noise_scale = measure_noise(values, epoch_seconds(pd.DatetimeIndex(clean.index)) if clocked else None)
    usual = detector.score(clean, history=history)
    alarmed = usual >= detector.threshold
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
        "mean_score": float(np.mean(usual)) if usual.size else 0.0,
    }


def _inject_kind(
    kind: str, values: Floats, noise_scale: SignalNoise, rng: np.random.Generator
) -> InjectedFaults:
    copy = values.copy()
    length = 1 if kind == "spike" else min(FAULT_READINGS, max(values.size // 4, 1))
    watched = SPIKE_DELAY if kind == "spike" else length
    fault_count = min(FAULTS_PER_KIND, values.size // (2 * watched)) if values.size > 2 * watched else 0
    stretches = []
    for room in np.array_split(np.arange(values.size), fault_count) if fault_count else []:
        start = int(rng.integers(room[0], max(room[-1] + 2 - watched, room[0] + 1)))
        size = float(rng.uniform(*FAULT_SIZES) * rng.choice([-1.0, 1.0]))
        faulty = slice(start, start + length)
        copy[faulty] = _apply_fault(kind, values[faulty], noise_scale, size, rng)
        stretches.append(slice(start, start + watched))
    return InjectedFaults(kind, copy, tuple(stretches))


def _apply_fault(
    kind: str, usual: Floats, noise_scale: SignalNoise, size: float, rng: np.random.Generator
) -> Floats:
    """One stretch of readings with one fault; `size` is signed, in units of the sensor's noise."""
    match kind:
        case "spike":
            faulty = usual + 1.5 * size * noise_scale.noise
        case "level_shift":
            faulty = usual + size * noise_scale.shift_unit
        case "slow_ramp":
            faulty = usual + size * noise_scale.shift_unit * np.linspace(0, 1, usual.size)
        case "freezing":
            faulty = np.full_like(usual, usual[0])
        case "extra_noise":
            faulty = usual + 0.5 * size * noise_scale.noise * rng.standard_normal(usual.size)
        case _:  # lost_cycle: the sensor reports its recent mean and noise, and follows the process no more
            faulty = usual.mean() + noise_scale.noise * rng.standard_normal(usual.size)
    return np.asarray(faulty)
