"""A fault beyond anything seen is found, whatever happened to the level in the training window.

Before recipe 11, a set-point step half way through the window put a score of 0.5 out of reach of every fault.
"""

import numpy as np
import pandas as pd
import pytest

from training.anomaly.base_detectors import DetectorParameters
from training.anomaly.detector import AnomalyDetector

LEVEL, NOISE, READINGS, FAULT_AFTER = 100.0, 0.01, 10_000, 100
PLATFORM = DetectorParameters(alarms_per_day=1.0, lifetime_days=7.0)


def make_history(kind: str, place: float) -> tuple[np.ndarray, float]:
    """Readings with one event at this share of the window, and the level and noise after it."""
    noise = NOISE * np.random.default_rng(0).standard_normal(READINGS)
    level = np.full(READINGS, LEVEL)
    first = int(place * READINGS)
    brief = slice(first, first + READINGS // 50)
    match kind:
        case "step":
            level[first:] += 0.5
        case "creep":  # the sensor stands still before
            level[first:] += 0.04 * np.linspace(0, 1, READINGS - first)
            noise[:first] = 0
            noise[first:] *= 0.1
        case "stop":
            level[brief] = 0.0
        case "unit":
            level[brief] = 1.8 * LEVEL + 32
        case "ramp":
            level[first:] += 2.0
            level[first : first + 500] = LEVEL + np.linspace(0, 2, 500)
    return level + noise, float(level[-1])


def score_fault(
    history: np.ndarray, level: float, shift: np.ndarray | float, *, step: str, noise: float = NOISE
) -> np.ndarray:
    """Scores of readings at this level, shifted after the first FAULT_AFTER."""
    index = pd.date_range("2026-01-01", periods=READINGS + 400, freq=step)
    later = level + noise * np.random.default_rng(5).standard_normal(400)
    later[FAULT_AFTER:] += shift
    training = pd.Series(history, index=index[:READINGS])
    detector = AnomalyDetector(PLATFORM).fit(training)
    return detector.score(pd.Series(later, index=index[READINGS:]), history=training)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["step", "stop", "unit", "ramp"])
def test_a_fall_beyond_anything_seen_is_found_after_any_history(kind, place):
    history, level = make_history(kind, place)
    beyond = history.min() - 2 * np.ptp(history) - level

    scores = score_fault(history, level, beyond, step="min")

    assert scores[:FAULT_AFTER].max() < 0.5
    assert scores[FAULT_AFTER : FAULT_AFTER + 5].max() > 0.5


@pytest.mark.parametrize("step", ["s", "min", "5min"])
def test_a_fall_by_a_third_is_found_after_a_set_point_step(step):
    """The halves lie 50 deviations apart, and their scale let nothing through: highest score 0.01."""
    history, level = make_history("step", 0.5)

    scores = score_fault(history, level, -34.0, step=step)

    assert scores[:FAULT_AFTER].max() < 0.5
    assert scores[FAULT_AFTER:].min() > 0.9


def test_a_fall_by_a_third_is_found_after_a_creep():
    """Forests call the fall ordinary, and outvoted the deviation, which is certain: highest score 0.17."""
    history, level = make_history("creep", 0.5)

    scores = score_fault(history, level, -34.0, step="min", noise=0.1 * NOISE)

    assert scores[:FAULT_AFTER].max() < 0.5
    assert scores[FAULT_AFTER:].min() > 0.9


@pytest.mark.parametrize(
    "shift", [np.linspace(0, 1.5, 300), -0.3, 0.05 * np.random.default_rng(6).standard_normal(300)]
)
def test_a_ramp_a_small_step_and_noise_are_found_after_a_set_point_step(shift):
    history, level = make_history("step", 0.5)

    assert score_fault(history, level, shift, step="min")[FAULT_AFTER:].max() > 0.5


def test_a_meter_of_coarse_steps_that_sticks_is_found():
    """A flow meter in steps of 0.5 repeats itself for a few readings, and once stuck for ever."""
    rng = np.random.default_rng(1)
    flow = np.round(2 * (126 + np.cumsum(rng.normal(size=8000)) % 3 + rng.normal(0, 0.5, 8000))) / 2
    index = pd.date_range("2026-01-01", periods=8060, freq="min")
    training = pd.Series(flow, index=index[:8000])
    stuck = pd.Series(np.full(60, 126.5), index=index[8000:])

    scores = AnomalyDetector(PLATFORM).fit(training).score(stuck, history=training)

    assert scores[30:].min() > 0.5
