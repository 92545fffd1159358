"""The detector of one sensor: scores, reasons, calibration for its lifetime, files."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from training.anomaly.detector import AnomalyDetector, create_anomaly_detector
from training.anomaly.features import POINTS
from training.anomaly.models.base_detectors import DetectorParameters
from training.anomaly.models.isolation_forest import Forest
from training.anomaly.models.local_outlier_factor import Neighbourhood
from training.errors import ConfigurationError, DataError, NotTrainable, UntrustedModel
from training.reasons import Reason, ReasonCode

STEPS_A_DAY = 288


def readings(days: float, *, start: str = "2026-01-01", seed: int = 0) -> pd.Series:
    """Five-minute readings with a daily course and noise of sd 0.5."""
    index = pd.date_range(start, periods=int(days * STEPS_A_DAY), freq="5min")
    phase = 2 * np.pi * (index.hour * 60 + index.minute) / 1440
    noise = np.random.default_rng(seed).normal(0, 0.5, len(index))
    return pd.Series(50 + 5 * np.sin(phase) + noise, index=index)


HISTORY = readings(7)
LATER = readings(2, start="2026-01-08", seed=1)
DETECTOR = AnomalyDetector().fit(HISTORY)


def changed(at: int, by: float) -> pd.Series:
    copy = LATER.copy()
    copy.iloc[at] += by
    return copy


def test_a_severe_excursion_scores_higher_than_a_mild_one_far_beyond_training():
    scores = [DETECTOR.score(changed(100, by), history=HISTORY)[100] for by in (4, 8, 60, 1e3, 1e6)]
    assert np.all(np.diff(scores) > 0)
    assert scores[1] > 0.5
    assert scores[-1] <= 1


def test_ordinary_readings_after_training_rarely_alarm():
    scores = DETECTOR.score(LATER, history=HISTORY)
    assert np.mean(scores >= 0.5) < 0.01
    assert np.median(scores) < 0.3


def test_a_reading_normal_at_noon_is_anomalous_at_night():
    """The sensor peaks at 06:00 and dips at 18:00."""
    copy = LATER.copy()
    dip = copy.index.get_indexer([pd.Timestamp("2026-01-08 18:00")])[0]
    copy.iloc[dip] = 55.0
    result = DETECTOR.detect(copy, history=HISTORY).iloc[dip]
    assert result.is_anomaly
    assert "normal for this time of day or week (45" in result.reason


def test_a_frozen_sensor_is_found_and_its_reason_has_the_duration():
    copy = LATER.copy()
    copy.iloc[200:320] = copy.iloc[200]
    result = DETECTOR.detect(copy, history=HISTORY)
    assert result.is_anomaly.iloc[200:320].any()
    assert result.reason.iloc[200:320].str.contains("has not changed for").any()


def test_one_reading_without_history_is_scored_by_its_level():
    night = pd.Timestamp("2026-01-08 18:00")
    ordinary, anomalous = (DETECTOR.score(pd.Series([value], index=[night]))[0] for value in (45.0, 70.0))
    assert ordinary < 0.3
    assert anomalous > 0.8


def test_one_reading_with_history_scores_as_it_does_within_a_batch():
    batch = DETECTOR.score(LATER, history=HISTORY)
    past = pd.concat([HISTORY, LATER])
    for row in (0, 1, 70, 400):
        alone = DETECTOR.score(LATER.iloc[[row]], history=past[: HISTORY.size + row])
        assert alone[0] == pytest.approx(batch[row], abs=1e-9)


def test_missing_values_have_no_score_and_do_not_affect_others():
    gappy = LATER.copy()
    gappy.iloc[50] = np.nan
    scores = DETECTOR.score(gappy, history=HISTORY)
    assert np.isnan(scores[50])
    assert np.isfinite(np.delete(scores, 50)).all()
    assert np.array_equal(scores, DETECTOR.score(gappy.dropna().reindex(gappy.index), history=HISTORY), True)


def test_an_infinite_reading_scores_above_0_9():
    assert DETECTOR.score(changed(10, np.inf), history=HISTORY)[10] > 0.9


def test_plain_arrays_need_no_times():
    rng = np.random.default_rng(0)
    detector = AnomalyDetector().fit(rng.normal(size=500))
    scores = detector.score(np.append(rng.normal(size=50), 12.0), history=rng.normal(size=200))
    assert scores[:-1].mean() < 0.3
    assert scores[-1] > 0.9


def test_times_as_an_argument_equal_those_of_a_series():
    apart = AnomalyDetector().fit(HISTORY.to_numpy(), HISTORY.index)
    assert np.array_equal(
        apart.score(LATER.to_numpy(), LATER.index, history=HISTORY), DETECTOR.score(LATER, history=HISTORY)
    )


@pytest.mark.parametrize(
    "series",
    [
        np.full(200, 5.0),
        np.zeros(200),
        np.round(np.random.default_rng(0).normal(size=500)),
        np.where(np.arange(400) % 40 == 0, 1.0, 0.0),
        np.random.default_rng(0).normal(size=30),
        np.random.default_rng(0).normal(size=300) * 1e300,
        np.random.default_rng(0).normal(size=300) * 1e-300,
        np.linspace(0, 1, 300),
        np.repeat(np.random.default_rng(0).normal(size=20), 15),
    ],
    ids=["constant", "zero", "tied", "pulses", "tiny", "huge", "minute", "ramp", "stairs"],
)
def test_no_training_series_scores_its_own_readings_as_anomalies(series):
    detector = AnomalyDetector().fit(series)
    scores = detector.score(series)
    assert np.isfinite(scores).all()
    assert np.mean(scores >= 0.5) < 0.1
    absurd = detector.score(np.append(series, series.max() + 1e3 * (np.ptp(series) or 1.0)))
    assert absurd[-1] > 0.8


def test_lof_is_skipped_for_a_constant_sensor_with_a_reason():
    detector = AnomalyDetector().fit(np.full(100, 5.0))
    labels, scores = detector.detect_lof(np.array([5.0, 9.0]))
    assert detector.base_detectors.skipped["density_points"] == Reason(ReasonCode.SKIPPED_CONSTANT)
    assert labels.tolist() == [1, 1]
    assert scores.tolist() == [0.0, 0.0]


def test_too_few_readings_are_refused_with_their_number():
    with pytest.raises(NotTrainable, match="29 finite readings; a detector needs 30"):
        AnomalyDetector().fit(np.append(np.arange(29.0), [np.nan, np.inf]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda it: type(it)().score([1.0]), "not fitted yet"),
        (lambda it: it.score(np.zeros((500, 2))), "several columns"),
        (lambda it: it.score(["wide open"]), "must be numbers"),
        (lambda it: it.calculate_anomaly_threshold([]), "percentile 95 of 0 scores"),
        (lambda it: it.calculate_anomaly_threshold([1.0], 101), "percentile 101"),
    ],
)
def test_an_invalid_call_is_refused_with_its_reason(call, message):
    with pytest.raises(DataError, match=message):
        call(AnomalyDetector().fit(np.random.default_rng(0).normal(size=100)))


def test_one_column_of_a_table_is_a_series():
    values = np.random.default_rng(0).normal(size=100)
    detector = AnomalyDetector().fit(values[:, None])
    assert np.array_equal(detector.score(values[:, None]), detector.score(values))


def test_a_level_far_larger_than_its_movement_is_not_called_constant():
    """Twelve digits of level, one of noise: still a sensor that moves."""
    noise = np.random.default_rng(0).normal(size=500)
    detector = AnomalyDetector().fit(1e12 + noise)
    assert not detector.base_detectors.skipped
    assert AnomalyDetector().fit(1e12 + 0.5 * noise).profile.constant is False
    mild, severe = (detector.score([1e12 + by], history=1e12 + noise)[0] for by in (1.0, 60.0))
    assert mild < 0.5
    assert severe > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_a_flag_that_is_rarely_set_is_normal_where_it_is_not_set(seed):
    flag = (np.random.default_rng(seed).random(1000) < 0.01).astype(float)
    detector = AnomalyDetector().fit(flag)
    for alone in (detector.detect_isolation_forest, detector.detect_lof):
        labels, scores = alone(flag)
        assert np.mean(labels[flag == 0] == -1) < 0.2
        assert scores[flag == 1].mean() > scores[flag == 0].mean()


def test_a_threshold_outside_its_bounds_is_refused():
    with pytest.raises(ConfigurationError, match=r"0\.9 is outside"):
        AnomalyDetector(threshold=0.9)


def test_a_smaller_alarm_budget_scores_the_same_reading_lower():
    strict = AnomalyDetector(DetectorParameters(alarms_per_day=0.01)).fit(HISTORY)
    anomalous = changed(100, 4)
    assert strict.score(anomalous, history=HISTORY)[100] < DETECTOR.score(anomalous, history=HISTORY)[100]


def test_windows_do_not_reach_across_a_gap():
    """After five hours without readings a new level is scored as a level, not as a change."""
    after = LATER.iloc[100:160]
    with_past = DETECTOR.score(after, history=HISTORY.iloc[:-50])
    without = DETECTOR.score(after)
    assert np.array_equal(with_past, without)


def test_the_original_methods_keep_their_shapes():
    detector = create_anomaly_detector(contamination=0.05).fit(HISTORY.to_numpy())
    data = np.append(HISTORY.to_numpy(), 300.0)
    for labels, scores in (
        detector.detect_isolation_forest(data),
        detector.detect_lof(data),
        detector.detect_ensemble(data, threshold=0.5),
    ):
        assert set(labels) <= {-1, 1}
        assert labels[-1] == -1
        assert labels[:-1].mean() > 0.7
        assert scores.min() >= 0
        assert scores.max() <= 1
    summary = detector.get_anomaly_summary(data)
    assert summary["total_readings"] == data.size
    assert summary["anomalies"] >= 1
    assert summary["max_score"] > 0.9
    assert 0 < detector.calculate_anomaly_threshold(data, 99) < 1


def test_detect_returns_one_complete_row_per_reading():
    result = DETECTOR.detect(changed(100, 9), history=HISTORY)
    assert list(result.columns) == [
        "timestamp",
        "value",
        "anomaly_score",
        "is_anomaly",
        "severity",
        "reason",
        "historical_average",
        "historical_std",
    ]
    anomalous = result.iloc[100]
    assert anomalous.is_anomaly
    assert anomalous.severity in {"probable", "certain"}
    assert anomalous.reason
    assert result.reason[result.anomaly_score < 0.3].eq("").all()
    assert result[["historical_average", "historical_std"]].notna().all().all()


def test_forest_scores_are_those_of_scikit_learn():
    rows = np.random.default_rng(0).normal(size=(700, 6))
    queries = np.random.default_rng(1).normal(size=(300, 6)) * 3
    fitted = IsolationForest(n_estimators=40, random_state=0).fit(rows)
    assert Forest.of(fitted).score(queries) == pytest.approx(-fitted.score_samples(queries), abs=1e-9)


def test_the_detectors_own_forest_and_lof_score_as_scikit_learn_does():
    queries = np.random.default_rng(1).normal(size=(300, len(POINTS))) * 3
    forest = DETECTOR.base_detectors.forests["forest_points"]
    density = DETECTOR.base_detectors.densities["density_points"]
    assert Forest.of(forest).score(queries) == pytest.approx(-forest.score_samples(queries), abs=1e-9)
    assert Neighbourhood.of(density).score(queries) == pytest.approx(
        -density.score_samples(queries), abs=1e-9
    )
    assert isinstance(forest, IsolationForest)
    assert isinstance(density, LocalOutlierFactor)


def test_saving_and_loading_changes_nothing(tmp_path):
    DETECTOR.save(tmp_path)
    loaded = AnomalyDetector.load(tmp_path)
    assert loaded.parameters == DETECTOR.parameters
    assert loaded.threshold == DETECTOR.threshold
    pd.testing.assert_frame_equal(
        loaded.detect(LATER, history=HISTORY), DETECTOR.detect(LATER, history=HISTORY), check_exact=True
    )


def test_the_detector_of_a_constant_sensor_can_be_saved(tmp_path):
    detector = AnomalyDetector().fit(np.full(100, 5.0))
    detector.save(tmp_path)
    assert AnomalyDetector.load(tmp_path).score([5.0, 6.0]).tolist() == detector.score([5.0, 6.0]).tolist()


@pytest.mark.parametrize(
    ("stored", "instead"),
    [
        ('"format": 1', '"format": 2'),
        ('"threshold": 0.5', '"threshold": 0.99'),
        ('"threshold": 0.5', '"threshold": NaN'),
        ('"window": 64', '"window": 100000'),
        ('"seed": 0', '"unknown": 0'),
        ('{"', '["'),
    ],
)
def test_an_invalid_detector_json_is_refused(tmp_path, stored, instead):
    DETECTOR.save(tmp_path)
    path = tmp_path / "detector.json"
    text = path.read_text()
    assert stored in text
    path.write_text(text.replace(stored, instead, 1))
    with pytest.raises(UntrustedModel):
        AnomalyDetector.load(tmp_path)


def test_a_forest_of_other_features_is_refused(tmp_path):
    DETECTOR.save(tmp_path)
    (tmp_path / "forest_windows.skops").rename(tmp_path / "forest_points.skops")
    with pytest.raises(UntrustedModel):
        AnomalyDetector.load(tmp_path)


def test_a_tree_with_a_cycle_is_refused():
    fitted = IsolationForest(n_estimators=4, random_state=0).fit(
        np.random.default_rng(0).normal(size=(50, 2))
    )
    fitted.estimators_[1].tree_.children_left[0] = 0
    with pytest.raises(UntrustedModel, match="invalid tree"):
        Forest.of(fitted)


def wandering(size: int) -> np.ndarray:
    """Noise around a level that rises by six standard deviations of the noise."""
    return np.random.default_rng(0).normal(size=size) + np.linspace(0, 6, size)


def test_a_wandering_level_raises_the_threshold_far_from_the_training():
    """It rose by six during the training, so it may rise further."""
    values = wandering(2000)
    soon, long = (AnomalyDetector(DetectorParameters(lifetime_days=life)).fit(values) for life in (0.1, None))
    later = np.random.default_rng(1).normal(size=500) + 8

    assert np.mean(soon.score(later, history=values) >= 0.5) > 0.1
    assert np.mean(long.score(later, history=values) >= 0.5) < 0.01
    assert long.score([60.0], history=values)[0] > 0.9


def test_a_longer_lifetime_never_raises_a_score():
    values = wandering(2000)
    days = 2000 / 1440
    lives = [0.1 * days, 0.25 * days, 0.4 * days, 5 * days]
    scores = [
        AnomalyDetector(DetectorParameters(lifetime_days=life)).fit(values).score([9.0], history=values)[0]
        for life in lives
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


def test_the_order_of_scores_does_not_depend_on_the_lifetime():
    values = wandering(2000)
    queries = np.random.default_rng(1).normal(scale=4, size=300)
    soon, long = (
        AnomalyDetector(DetectorParameters(lifetime_days=life)).fit(values).score(queries, history=values)
        for life in (0.1, None)
    )
    assert np.all(np.diff(long[np.argsort(soon, kind="stable")]) >= 0)


def test_a_training_too_short_for_halves_lowers_scores_far_from_it():
    few = np.random.default_rng(0).normal(size=100)
    soon, long = (AnomalyDetector(DetectorParameters(lifetime_days=life)).fit(few) for life in (0.001, None))
    assert long.score([4.0], history=few)[0] < soon.score([4.0], history=few)[0]
