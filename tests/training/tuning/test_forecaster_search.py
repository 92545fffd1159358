"""The search of a forecaster's structures: better than the start, repeatable, resumable."""

import numpy as np
import pandas as pd
import pytest

from training.evaluation.backtest import grade_forecaster
from training.forecasting.forecaster import Forecaster
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.structures import Structure
from training.tuning.forecaster_search import starting_points, tune_forecaster
from training.tuning.study import StudyPlan

QUICK = StudyPlan(trials=14)


def drifting(days: int = 25, seed: int = 0) -> pd.Series:
    """Short daily peaks on a level that is a random walk."""
    rng = np.random.default_rng(seed)
    times = pd.date_range("2026-01-01", periods=days * 24, freq="h")
    sharp = np.where(times.hour.isin([7, 8, 17]), 10.0, 0.0)
    return pd.Series(
        sharp + np.cumsum(rng.normal(0, 0.3, len(times))) + rng.normal(0, 0.3, len(times)), times
    )


def test_tuning_beats_a_poor_start():
    values = drifting(days=60)
    poor = ForecasterParameters((Structure(daily=1, weekly=0, lags=0),))

    tuned = tune_forecaster(values[:-120], plan=QUICK, horizon=24)

    by_tuned = grade_forecaster(tuned.parameters, values, horizon=24, origins=4)
    by_poor = grade_forecaster(poor, values, horizon=24, origins=4)
    assert by_tuned["mae"] < 0.95 * by_poor["mae"]


def test_equal_seeds_give_equal_parameters():
    first, second = (tune_forecaster(drifting(), plan=QUICK, horizon=12) for _ in range(2))

    assert first.parameters == second.parameters
    assert first.loss == second.loss


def test_the_unit_does_not_matter():
    values = drifting()

    plain, other = (tune_forecaster(v, plan=QUICK, horizon=12) for v in (values, values * 1.8 + 32))

    assert plain.loss == pytest.approx(other.loss, rel=1e-6)


def test_the_result_can_be_fitted_and_claims_no_more_skill():
    """It claims less where the gain is not certain: the naive forecast keeps a share."""
    tuned = tune_forecaster(drifting(), plan=QUICK, horizon=24)

    forecaster = Forecaster(tuned.parameters).fit(drifting().index, drifting())

    assert 0 < forecaster.skill < 1 - tuned.loss + 0.02
    assert 0 < forecaster.fitted.shares[-1] < 1


def test_every_trial_is_in_the_table():
    tuned = tune_forecaster(drifting(), plan=QUICK, horizon=12)

    assert len(tuned.trials) == QUICK.trials
    assert set(tuned.trials) >= {"trial", "state", "loss", "growth", "season_scale", "lags"}
    assert tuned.loss <= tuned.trials["loss"].min() + 1e-9


def test_a_search_continues_where_it_stopped(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    values = drifting(15)

    stopped = tune_forecaster(values, plan=StudyPlan(trials=11, storage=storage, name="s"), horizon=12)
    finished = tune_forecaster(values, plan=StudyPlan(trials=14, storage=storage, name="s"), horizon=12)

    assert len(finished.trials) == 14
    pd.testing.assert_series_equal(finished.trials["loss"][:11], stopped.trials["loss"])
    assert finished.loss <= stopped.loss + 1e-9


def test_a_new_search_starts_from_known_good_structures():
    known_good = ForecasterParameters((Structure(season_scale=0.123, daily=7), Structure(daily=3)))

    tuned = tune_forecaster(drifting(), plan=QUICK, horizon=12, first=starting_points(known_good))

    assert tuned.trials["season_scale"].iloc[0] == 0.123
    assert tuned.trials["daily"].iloc[1] == 3


@pytest.mark.parametrize("rows", [50, 75])
def test_short_series_are_tuned_too(rows):
    tuned = tune_forecaster(drifting()[:rows], plan=StudyPlan(trials=11), horizon=24)

    assert np.isfinite(tuned.loss)


def test_a_constant_series_is_tuned():
    tuned = tune_forecaster(drifting() * 0, plan=StudyPlan(trials=11), horizon=24)

    assert tuned.loss == 0


def test_bad_trials_are_stopped_and_never_averaged():
    tuned = tune_forecaster(drifting(), plan=StudyPlan(trials=30), horizon=24)

    stopped = tuned.trials[tuned.trials["state"] == "pruned"]
    made = tuned.trials[tuned.trials["state"] == "complete"]
    assert 0 < len(stopped) < 15
    assert (stopped["trial"] >= 10).all()  # all starting points are finished
    assert made["loss"].min() < stopped["loss"].min()
    tried = {(row.season_scale, row.changepoint_scale) for row in made.itertuples()}
    picked = {(one.season_scale, one.changepoint_scale) for one in tuned.parameters.structures}
    assert picked <= tried
