"""The naive detector: robust z-scores and one threshold, without history."""

import numpy as np
import pandas as pd
import pytest

from tests.support.workspaces import make_series
from training.anomaly.naive_detector import NaiveDetector


def test_it_alarms_on_the_allowed_share_of_training_readings():
    readings = make_series(1000)

    naive = NaiveDetector(alarm_rate=0.02).fit(readings)

    assert (naive.score(readings) > naive.threshold).mean() == pytest.approx(0.02, abs=0.005)


def test_further_out_scores_higher_and_all_scores_are_in_bounds():
    naive = NaiveDetector(alarm_rate=0.01).fit(make_series())

    scores = naive.score([20.0, 30.0, 50.0, -1e300, 1e300])

    assert scores[0] < scores[1] < scores[2] < scores[3] == pytest.approx(scores[4])
    assert ((scores >= 0) & (scores <= 1)).all()


def test_one_outlier_in_the_training_changes_neither_centre_nor_spread():
    tame, wild = make_series(), make_series()
    wild.iloc[7] = 1e9

    scores = [NaiveDetector(alarm_rate=0.05).fit(one).score([30.0])[0] for one in (tame, wild)]

    assert scores[0] == pytest.approx(scores[1], rel=0.05)


@pytest.mark.parametrize("value", [0.0, 20.0, -3e8])
def test_a_constant_sensor_is_normal_at_its_value_and_anomalous_elsewhere(value):
    naive = NaiveDetector(alarm_rate=0.01).fit(pd.Series(np.full(50, value)))

    here, elsewhere = naive.score([value, value + abs(value) + 5])

    assert here < naive.threshold < elsewhere


def test_it_ignores_the_history():
    naive = NaiveDetector(alarm_rate=0.01).fit(make_series())

    np.testing.assert_array_equal(naive.score([21.0]), naive.score([21.0], history=[1e6] * 9))
