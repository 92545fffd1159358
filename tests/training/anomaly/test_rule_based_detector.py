"""The rule-based detector: each feature alone raises the alarm, and the alarm budget holds."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.support.workspaces import make_series
from training.anomaly.calibration import count_episodes
from training.anomaly.detector_files import open_detector
from training.anomaly.rule_based_detector import RULES_FILE, OperatingLimits, RuleBasedDetector
from training.errors import NotTrainable, UntrustedModel
from training.evaluation.fault_injection import grade_detector
from training.reasons import ReasonCode

MINUTES = 6 * 1440


def slow_signal(*, seed: int = 0, coarse: float | None = None) -> pd.Series:
    """A process that wanders for six days, one reading a minute."""
    rng = np.random.default_rng(seed)
    level = np.zeros(MINUTES)
    for place in range(1, MINUTES):
        level[place] = 0.9995 * level[place - 1] + rng.normal(0, 0.03)
    values = 50 + level + rng.normal(0, 0.1, MINUTES)
    values = values.round(3) if coarse is None else np.round(values / coarse) * coarse
    return pd.Series(values, index=pd.date_range("2026-01-01", periods=MINUTES, freq="min"))


@pytest.fixture(scope="module")
def signal() -> pd.Series:
    return slow_signal()


@pytest.fixture(scope="module")
def detector(signal) -> RuleBasedDetector:
    return RuleBasedDetector(alarms_per_day=1.0).fit(signal.iloc[:-1440])


def with_fault(signal: pd.Series, change) -> tuple[pd.Series, pd.Series]:
    """History, and the last 30 readings with a fault from the tenth on."""
    newest = signal.iloc[-30:].copy()
    newest.iloc[10:] = change(newest.iloc[10:])
    return signal.iloc[-1440:-30], newest


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda part: part + 3.0, {ReasonCode.STEP_CHANGE, ReasonCode.FORECAST_ABOVE}),
        (lambda part: part * 0 + part.iloc[0], {ReasonCode.UNCHANGED_DURATION}),
        (lambda part: part + np.resize([1.0, -1.0], len(part)), {ReasonCode.STEP_CHANGE}),
    ],
    ids=["step", "stuck", "noise"],
)
def test_each_rule_raises_the_alarm_alone_and_gives_the_reason(signal, detector, change, codes):
    history, newest = with_fault(signal, change)

    explained = detector.explain(newest, history=history)

    assert not (explained.scores[:10] >= 0.5).any()
    worst = int(np.argmax(explained.scores))
    assert explained.scores[worst] >= 0.5
    assert explained.reasons[worst].code in codes


def test_the_alarm_budget_holds_in_training_and_after_it(signal, detector):
    """One alarm a day at a score of 0.5; the last day was not used for training."""
    training, newest = signal.iloc[:-1440], signal.iloc[-1440:]

    assert count_episodes(detector.score(training) >= 0.5) <= 5
    assert count_episodes(detector.score(newest, history=training) >= 0.5) <= 3


@pytest.mark.parametrize("coarse", [None, 0.5])
def test_more_than_the_floor_is_found_on_slow_one_minute_signals(coarse):
    signal = slow_signal(seed=1, coarse=coarse)
    detector = RuleBasedDetector(alarms_per_day=1.0).fit(signal.iloc[:-1440])

    grade = grade_detector(detector, signal.iloc[-1440:], history=signal.iloc[:-1440])

    assert grade["recall_mean"] > 0.4
    assert grade["false_alarms_per_day"] <= 3


def test_a_set_point_step_in_the_training_does_not_blind_it():
    """The ensemble's scale, learned from two halves that differ, put 0.5 out of reach: 0 of 900 alarms."""
    rng = np.random.default_rng(0)
    values = 100 + rng.normal(0, 0.01, 10_000) + np.where(np.arange(10_000) >= 5_000, 0.5, 0.0)
    detector = RuleBasedDetector(alarms_per_day=1.0).fit(
        pd.Series(values, index=pd.date_range("2026-01-01", periods=10_000, freq="min"))
    )
    later = pd.date_range("2026-01-08", periods=900, freq="min")

    scores = detector.score(pd.Series(66 + rng.normal(0, 0.01, 900), index=later))

    assert (scores >= 0.5).all()


def test_a_reading_beyond_a_limit_is_anomalous_whatever_else_is_normal(signal):
    limits = OperatingLimits(critical_high=float(signal.max()) + 0.01)
    detector = RuleBasedDetector(limits=limits).fit(signal)
    readings = pd.Series([limits.critical_high + 0.001], index=[signal.index[-1] + pd.Timedelta("1min")])

    explained = detector.explain(readings, history=signal)

    assert explained.scores[0] >= 0.95
    assert explained.reasons[0].code is ReasonCode.LIMIT_UPPER_CROSSED


def test_limits_that_normal_operation_exceeds_are_not_used(signal):
    limits = OperatingLimits(critical_high=float(signal.median()))
    detector = RuleBasedDetector(alarms_per_day=1.0, limits=limits).fit(signal)

    assert np.mean(detector.score(signal) >= 0.5) < 0.05


def test_a_saved_detector_scores_the_same(signal, detector, tmp_path):
    detector.save(tmp_path)
    loaded = open_detector(tmp_path)

    newest, history = signal.iloc[-50:], signal.iloc[-500:-50]
    assert isinstance(loaded, RuleBasedDetector)
    np.testing.assert_array_equal(
        loaded.score(newest, history=history), detector.score(newest, history=history)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"rarities": {}},
        {"threshold": 0.9},
        {"more": 1},
        {"rarities": {"sorcery": {"scores": [0.0], "rarities": [0.0], "slope": 1.0}}},
    ],
)
def test_altered_files_are_refused(detector, tmp_path, change):
    detector.save(tmp_path)
    content = json.loads((tmp_path / RULES_FILE).read_text())
    (tmp_path / RULES_FILE).write_text(json.dumps(content | change))

    with pytest.raises(UntrustedModel):
        open_detector(tmp_path)


def test_a_constant_sensor_alarms_when_it_moves():
    constant = pd.Series(20.0, index=pd.date_range("2026-01-01", periods=500, freq="min"))
    detector = RuleBasedDetector(alarms_per_day=1.0).fit(constant)
    readings = pd.Series([20.0, 25.0], index=pd.date_range("2026-01-02", periods=2, freq="min"))

    scores = detector.score(readings, history=constant)

    assert scores[0] < 0.5 <= scores[1]


def test_too_few_readings():
    with pytest.raises(NotTrainable, match="30"):
        RuleBasedDetector().fit(make_series(20))
