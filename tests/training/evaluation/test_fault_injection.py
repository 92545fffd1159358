"""Faults injected into copies of readings, and the grade that counts how many are found."""

import numpy as np
import pandas as pd
import pytest

from training.anomaly.calibration import count_episodes
from training.anomaly.detector import AnomalyDetector
from training.evaluation.fault_injection import (
    FAULT_KINDS,
    SignalNoise,
    grade_detector,
    inject_faults,
    measure_noise,
)


def noise(rows: int, *, seed: int = 0, start: str = "2026-01-01") -> pd.Series:
    index = pd.date_range(start, periods=rows, freq="10min")
    return pd.Series(np.random.default_rng(seed).normal(20, 0.5, rows), index=index)


HISTORY = noise(1000)
LATER = noise(800, seed=1, start="2026-01-07 22:40")
DETECTOR = AnomalyDetector().fit(HISTORY)


def test_every_kind_changes_its_copy_only_inside_its_spans():
    clean = LATER.to_numpy()
    for injection in inject_faults(clean, SignalNoise(noise=0.5, spread=0.5), seed=0):
        touched = injection.values != clean
        expected = np.zeros(clean.size, bool)
        for span in injection.spans:
            expected[span] = True
            assert touched[span].any()
        assert not touched[~expected].any()
        assert len(injection.spans) == 8


def test_faults_are_sized_by_the_sensors_own_noise():
    clean = LATER.to_numpy()
    small, large = (
        np.abs(inject_faults(clean, SignalNoise(noise=size, spread=size), seed=3)[0].values - clean).max()
        for size in (0.1, 10.0)
    )
    assert large == pytest.approx(100 * small)


def test_the_daily_cycle_is_not_counted_as_noise():
    index = pd.date_range("2026-01-01", periods=1440, freq="10min")
    daily = 10 * np.sin(2 * np.pi * np.arange(1440) / 144)
    values = daily + np.random.default_rng(0).normal(0, 0.5, 1440)
    measured = measure_noise(values, index.to_numpy("datetime64[s]").astype(float))
    assert measured.noise == pytest.approx(0.5, rel=0.2)
    assert measured.spread == pytest.approx(0.5, rel=0.3)


def test_equal_seeds_inject_equal_faults():
    first, second, other = (
        inject_faults(LATER.to_numpy(), SignalNoise(0.5, 0.5), seed=seed)[1].values for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_an_alarm_that_the_untouched_copy_raises_too_finds_nothing():
    injection = inject_faults(LATER.to_numpy(), SignalNoise(0.5, 0.5), seed=0)[0]
    always = np.ones(len(LATER), bool)
    assert not any(injection.detected(always, always))
    assert all(injection.detected(always, ~always))


def test_a_grade_has_the_same_names_for_every_sensor():
    flat = pd.Series(5.0, index=LATER.index)
    names = {f"recall_{kind}" for kind in FAULT_KINDS}
    names |= {"recall_mean", "false_alarms_per_day", "alarmed_share", "mean_score"}
    for series in (LATER, flat, LATER[:3], LATER[:0]):
        grade = grade_detector(DETECTOR, series, history=HISTORY)
        assert set(grade) == names
        assert np.isfinite(list(grade.values())).all()


def test_a_detector_finds_most_faults_and_raises_few_alarms():
    grade = grade_detector(DETECTOR, LATER, history=HISTORY, seed=0)
    assert grade["recall_level_shift"] >= 0.8
    assert grade["recall_spike"] >= 0.6
    assert grade["recall_freezing"] >= 0.6
    assert grade["false_alarms_per_day"] < 1.5


def test_an_insensitive_detector_gets_a_worse_grade():
    insensitive = AnomalyDetector(threshold=0.8).fit(
        np.random.default_rng(0).normal(20, 50, 1000), HISTORY.index
    )
    grade = grade_detector(insensitive, LATER, history=HISTORY)
    assert grade["recall_mean"] < grade_detector(DETECTOR, LATER, history=HISTORY)["recall_mean"]


def test_alarms_with_short_pauses_are_one_episode():
    alarmed = np.zeros(100, bool)
    alarmed[[10, 11, 20, 36, 60]] = True
    assert count_episodes(alarmed) == 2
    assert count_episodes(np.zeros(0, bool)) == 0
