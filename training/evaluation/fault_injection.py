"""Known faults put into copies of ordinary readings, and how many of them a detector finds.

Knows six kinds of instrument and process fault, sized by the sensor's own noise, so that a grade means the
same on a pump and on a river. Leaves the tuning that uses the grade to `detector_tuning`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Also asked for here: an alarm is an episode wherever alarms are counted.
from training.anomaly.calibration import episodes
from training.anomaly.robust_statistics import robust_spread
from training.anomaly.seasonal_profile import learn_course
from training.anomaly.sequence import seconds_of

Floats = NDArray[np.float64]

FAULTS = ("spike", "level_shift", "slow_ramp", "freezing", "extra_noise", "lost_cycle")
PLACES = 8  # of each fault, in a copy of its own
LENGTH = 48  # readings a fault lasts; a spike lasts one
SPIKE_DELAY = 2  # readings within which a spike must be found; the others, while they last
SIZES = (3.0, 12.0)  # sensor noises: the smallest and the largest fault


class Scorer(Protocol):
    """What can be graded: the detector, and the naive one it must not fall behind."""

    @property
    def threshold(self) -> float: ...  # noqa: D102

    @property
    def step_seconds(self) -> float: ...  # noqa: D102

    def score(self, data: ArrayLike, *, history: ArrayLike | None = None) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class Character:
    """The sensor's own noise: what one step brings, and how far readings stray from their course."""

    noise: float
    stray: float

    @property
    def shift(self) -> float:
        """One unit of a lasting fault: on a slow signal, noise alone would be lost in its wandering."""
        return float(np.sqrt(self.noise * max(self.stray, self.noise)))


@dataclass(frozen=True)
class Injection:
    """A copy of clean readings with one kind of fault at several places."""

    kind: str
    values: Floats
    stretches: tuple[slice, ...]  # where an alarm counts as finding the fault

    def found(self, alarmed: NDArray[np.bool_], usual_alarms: NDArray[np.bool_]) -> list[bool]:
        """Whether each fault raised an alarm that the untouched copy did not."""
        fresh = alarmed & ~usual_alarms
        return [bool(fresh[stretch].any()) for stretch in self.stretches]


def character_of(values: Floats, seconds: Floats | None) -> Character:
    """Measure noise and stray on finite readings in order of time; without times there is no course."""
    step = float(np.median(np.diff(seconds))) if seconds is not None and seconds.size > 1 else 0.0
    course = learn_course(seconds, values, step=step) if seconds is not None and step > 0 else None
    around = values - course.at(seconds) if course and seconds is not None else values
    centre = float(np.median(values)) if values.size else 0.0
    stray = robust_spread(around) or 1e-3 * abs(centre) or 1.0
    noise = robust_spread(np.diff(around)) / np.sqrt(2) or 0.05 * stray
    return Character(noise=noise, stray=stray)


def inject(values: Floats, character: Character, *, seed: int) -> list[Injection]:
    """One copy for each kind of fault, at random places that leave room between each other."""
    rng = np.random.default_rng(seed)
    return [_inject(kind, values, character, rng) for kind in FAULTS]


def grade_detector(
    detector: Scorer, clean: pd.Series, *, history: ArrayLike | None = None, seed: int = 0
) -> dict[str, float]:
    """How many injected faults a detector finds in readings it was not fitted to, and what it raises there.

    `clean` are ordinary readings after the training window; the metric names are the same for each sensor.
    """
    clean = clean[np.isfinite(clean.to_numpy(np.float64))].sort_index()
    values = clean.to_numpy(np.float64)
    clocked = isinstance(clean.index, pd.DatetimeIndex)
    character = character_of(values, seconds_of(pd.DatetimeIndex(clean.index)) if clocked else None)
    usual = detector.score(clean, history=history)
    alarmed = usual >= detector.threshold
    days = max(len(clean) * detector.step_seconds / 86_400.0, 1e-9)
    grade: dict[str, float] = {}
    for injection in inject(values, character, seed=seed):
        scores = detector.score(pd.Series(injection.values, index=clean.index), history=history)
        grade[f"recall_{injection.kind}"] = float(
            np.mean(injection.found(scores >= detector.threshold, alarmed) or [False])
        )
    return grade | {
        "recall_mean": float(np.mean(list(grade.values()))),
        "false_alarms_per_day": episodes(alarmed) / days,
        "alarmed_share": float(np.mean(alarmed)) if alarmed.size else 0.0,
        "mean_score": float(np.mean(usual)) if usual.size else 0.0,
    }


def _inject(kind: str, values: Floats, character: Character, rng: np.random.Generator) -> Injection:
    copy = values.copy()
    length = 1 if kind == "spike" else min(LENGTH, max(values.size // 4, 1))
    watched = SPIKE_DELAY if kind == "spike" else length
    places = min(PLACES, values.size // (2 * watched)) if values.size > 2 * watched else 0
    stretches = []
    for room in np.array_split(np.arange(values.size), places) if places else []:
        start = int(rng.integers(room[0], max(room[-1] + 2 - watched, room[0] + 1)))
        size = float(rng.uniform(*SIZES) * rng.choice([-1.0, 1.0]))
        hurt = slice(start, start + length)
        copy[hurt] = _hurt(kind, values[hurt], character, size, rng)
        stretches.append(slice(start, start + watched))
    return Injection(kind, copy, tuple(stretches))


def _hurt(kind: str, usual: Floats, character: Character, size: float, rng: np.random.Generator) -> Floats:
    """One stretch of readings with one fault; `size` is signed, in units of the sensor's noise."""
    match kind:
        case "spike":
            hurt = usual + 1.5 * size * character.noise
        case "level_shift":
            hurt = usual + size * character.shift
        case "slow_ramp":
            hurt = usual + size * character.shift * np.linspace(0, 1, usual.size)
        case "freezing":
            hurt = np.full_like(usual, usual[0])
        case "extra_noise":
            hurt = usual + 0.5 * size * character.noise * rng.standard_normal(usual.size)
        case _:  # lost_cycle: the sensor reports its recent mean and noise, and follows the process no more
            hurt = usual.mean() + character.noise * rng.standard_normal(usual.size)
    return np.asarray(hurt)
