"""Laws of every detector, for any readings."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.anomaly.calibration import count_episodes
from training.anomaly.detector import AnomalyDetector
from training.anomaly.models.base_detectors import DetectorParameters

rng = np.random.default_rng(7)
INDEX = pd.date_range("2026-03-02", periods=700, freq="15min")
SERIES = {
    "noise": pd.Series(rng.normal(size=700), index=INDEX),
    "daily": pd.Series(np.sin(2 * np.pi * np.arange(700) / 96) + 0.1 * rng.normal(size=700), index=INDEX),
    "walk": pd.Series(np.cumsum(rng.normal(size=700)), index=INDEX),
    "quantised": pd.Series(np.round(3 * rng.normal(size=700)), index=INDEX),
    "bursts": pd.Series(np.exp(2 * rng.normal(size=700)), index=INDEX),
}
SPLIT = 500
EXAMPLES = settings(max_examples=3, deadline=None, derandomize=True)
every_series = pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)


FITTED = {name: AnomalyDetector().fit(series[:SPLIT]) for name, series in SERIES.items()}


def fitted(series: pd.Series) -> AnomalyDetector:
    return next(FITTED[name] for name in SERIES if SERIES[name] is series)


@every_series
@EXAMPLES
@given(factor=st.floats(1e-3, 1e3), offset=st.floats(-100, 100))
def test_the_unit_does_not_matter(series, factor, offset):
    """Celsius or Fahrenheit, the score is the same."""
    other = series * factor + offset
    scores, others = (
        AnomalyDetector().fit(s[:SPLIT]).score(s[SPLIT:], history=s[:SPLIT]) for s in (series, other)
    )
    assert np.quantile(np.abs(scores - others), 0.98) < 1e-4


@every_series
@EXAMPLES
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(series, seed):
    shuffled = series[:SPLIT].sample(frac=1, random_state=seed)
    asked = series[SPLIT:].sample(frac=1, random_state=seed)
    scores = fitted(series).score(series[SPLIT:], history=series[:SPLIT])
    mixed = AnomalyDetector().fit(shuffled).score(asked, history=shuffled)
    assert np.array_equal(pd.Series(mixed, index=asked.index).sort_index(), scores)


@every_series
@EXAMPLES
@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=40))
def test_scores_are_between_0_and_1(series, values):
    scores = fitted(series).score(np.array(values), history=series[:SPLIT])
    judged = ~np.isnan(np.array(values))
    assert np.isnan(scores[~judged]).all()
    assert ((scores[judged] >= 0) & (scores[judged] <= 1)).all()


@every_series
@EXAMPLES
@given(cut=st.integers(1, 199), future=st.floats(-1e6, 1e6))
def test_no_score_depends_on_later_readings(series, cut, future):
    later = series[SPLIT:]
    changed = later.copy()
    changed.iloc[cut:] = future
    detector = fitted(series)
    before, after = (detector.score(s, history=series[:SPLIT]) for s in (later, changed))
    assert np.array_equal(before[:cut], after[:cut])


@every_series
def test_a_copy_of_training_with_one_absurd_value_scores_it_highest(series):
    learned = series[:SPLIT]
    absurd = learned.copy()
    absurd.iloc[250] = learned.max() + 50 * (learned.max() - learned.min())
    assert int(np.argmax(fitted(series).score(absurd))) == 250


@every_series
def test_a_larger_excursion_never_scores_lower(series):
    detector = fitted(series)
    span = float(series.max() - series.min())
    after = series.index[SPLIT : SPLIT + 1]
    scores = [
        detector.score(pd.Series([series.max() + reach * span], index=after), history=series[:SPLIT])[0]
        for reach in (1, 3, 10, 100, 1e4, 1e6)
    ]
    assert np.all(np.diff(scores) > 0)


@every_series
def test_saving_and_loading_changes_nothing(series, tmp_path):
    detector = fitted(series)
    detector.save(tmp_path)
    loaded = AnomalyDetector.load(tmp_path)
    assert np.array_equal(
        loaded.score(series[SPLIT:], history=series[:SPLIT]),
        detector.score(series[SPLIT:], history=series[:SPLIT]),
    )


@every_series
def test_equal_seeds_give_equal_scores(series):
    first, second, other = (
        AnomalyDetector(seed=seed).fit(series[:SPLIT]).score(series[SPLIT:]) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ["noise", "daily", "wandering", "quantised"])
def test_the_alarm_budget_holds_after_training(kind):
    """One false alarm a day was allowed; over four weeks of four sensors, between a third and twice that."""
    counts = [
        count_episodes(
            AnomalyDetector(DetectorParameters(alarms_per_day=1.0))
            .fit(whole[:2000])
            .score(whole[2000:], history=whole[:2000])
            >= 0.5
        )
        for whole in (stationary(kind, seed) for seed in range(4))
    ]
    days = 4 * 2000 * 15 / 1440
    assert 0.33 < sum(counts) / days < 2


def stationary(kind: str, seed: int) -> pd.Series:
    noise = np.random.default_rng(seed).normal(size=4000)
    if kind == "daily":
        noise += 5 * np.sin(2 * np.pi * np.arange(4000) / 96)
    elif kind == "wandering":
        for row in range(1, 4000):
            noise[row] += 0.8 * noise[row - 1]
    elif kind == "quantised":
        noise = np.round(2 * noise)
    return pd.Series(noise, index=pd.date_range("2026-03-02", periods=4000, freq="15min"))
