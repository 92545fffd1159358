"""Raw scores of base detectors become one score."""

import numpy as np
import pytest

from training.anomaly.calibration import count_episodes, score_rarities
from training.anomaly.ensemble import (
    CalibrationTables,
    Ensemble,
    allowed_alarm_rate,
    fit_ensemble,
    weighted_mean_rarity,
)
from training.anomaly.models.base_detectors import BASE_DETECTORS, DetectorParameters

STEP = 600.0


def make_raw_scores(rows: int, seed: int) -> np.ndarray:
    """Held-out raw scores of all base detectors; windows have none in the first tenth."""
    scores = np.random.default_rng(seed).exponential(size=(rows, len(BASE_DETECTORS)))
    scores[: rows // 10, [1, 3]] = np.nan
    return scores


def fitted(seed: int = 0, **parameters: float) -> Ensemble:
    return fit_ensemble(make_raw_scores(2000, seed), DetectorParameters(**parameters), step=STEP)


def test_the_mean_weights_each_base_detector():
    rarities, weights = np.array([[1.0, 2.0, 4.0]]), np.array([1.0, 1.0, 2.0])

    assert weighted_mean_rarity(rarities, weights).tolist() == [2.75]


def test_a_base_detector_without_a_score_does_not_count():
    rarities = np.array([[1.0, np.nan], [np.nan, 3.0], [np.nan, np.nan]])

    assert weighted_mean_rarity(rarities, np.array([1.0, 5.0])).tolist() == [1.0, 3.0, 0.0]


def test_weights_may_differ_by_row():
    rarities, weights = np.array([[1.0, 3.0], [1.0, 3.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])

    assert weighted_mean_rarity(rarities, weights).tolist() == [1.0, 2.0]


def test_many_sensors_at_once_score_as_each_alone():
    """To the last bit: the served score is the detector's score."""
    ensembles = [fitted(0), fitted(1, forest_weight=0.0), fitted(2, windows_share=1.0)]
    tables = [CalibrationTables.of(ensemble) for ensemble in ensembles]
    stacked = CalibrationTables(
        *(np.concatenate(parts) for parts in zip(*(vars(t).values() for t in tables), strict=True))
    )
    raw_scores = 3 * make_raw_scores(300, 9)
    sensor = np.sort(np.random.default_rng(0).integers(0, 3, 300))

    together = stacked.score(sensor, raw_scores)

    for index, ensemble in enumerate(ensembles):
        np.testing.assert_array_equal(together[sensor == index], ensemble.score(raw_scores[sensor == index]))


def test_the_alarm_budget_holds_for_fresh_scores():
    rng = np.random.default_rng(0)
    training, fresh = (rng.exponential(size=(rows, len(BASE_DETECTORS))) for rows in (4000, 50_000))
    ensemble = fit_ensemble(training, DetectorParameters(alarms_per_day=0.5), step=STEP)

    alarms = count_episodes(ensemble.score(fresh) >= 0.5) / len(fresh)

    assert alarms == pytest.approx(0.5 * STEP / 86_400, rel=0.5)


def test_a_family_alone_ignores_the_others():
    ensemble, raw_scores = fitted(), make_raw_scores(100, 1)
    other = raw_scores.copy()
    other[:, 2:] = 50.0

    np.testing.assert_array_equal(ensemble.score(raw_scores, "forest"), ensemble.score(other, "forest"))


def test_a_family_without_weight_is_scored_alone():
    ensemble, raw_scores = fitted(forest_weight=0.0), make_raw_scores(100, 1)

    assert ensemble.score(raw_scores, "forest").std() > 0


def test_a_base_detector_that_was_skipped_has_no_weight():
    raw_scores = make_raw_scores(1000, 0)
    raw_scores[:, 2] = np.nan
    ensemble = fit_ensemble(raw_scores, DetectorParameters(), step=STEP)

    assert CalibrationTables.of(ensemble).weights[0, 2] == 0
    assert np.isfinite(ensemble.score(make_raw_scores(100, 1))).all()


def test_a_longer_reach_raises_the_surprise_that_alarms():
    raw_scores, parameters = make_raw_scores(2000, 0), DetectorParameters()
    limits = [
        fit_ensemble(raw_scores, parameters, step=STEP, reach=reach).scales["ensemble"].limit
        for reach in (0.0, 0.5, 1.0)
    ]

    assert limits[0] < limits[1] < limits[2]


def test_the_alarm_rate_is_the_budget_per_reading():
    assert allowed_alarm_rate(DetectorParameters(alarms_per_day=2.0), 3600.0) == pytest.approx(2 / 24)
    assert allowed_alarm_rate(DetectorParameters(), 3600.0) == 0.001


def test_a_score_depends_on_the_scale_of_its_sensor_only():
    ensemble = fitted()
    scale = ensemble.scales["ensemble"]
    surprise = ensemble.surprise(make_raw_scores(50, 1))

    np.testing.assert_array_equal(
        ensemble.score(make_raw_scores(50, 1)), score_rarities(scale.rarity.of(surprise), scale.budget)
    )
