"""Rarities, scores and the alarm budget, learned from held-out scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.anomaly.calibration import (
    MAX_ANOMALOUS_SHARE,
    MAX_KNOTS,
    MIN_BUDGET_RARITY,
    Rarity,
    RarityCurves,
    count_episodes,
    effective_sample_size,
    fit_far_scale,
    fit_rarity,
    fit_scale,
    interpolate_scales,
    merge_ties,
    score_rarities,
    widen_surprises,
)

NOISE = np.random.default_rng(0).normal(size=3000)


@st.composite
def rarities(draw):
    count = draw(st.integers(1, MAX_KNOTS))
    steps = st.lists(st.floats(1e-6, 1e3), min_size=count, max_size=count)
    scores, values = np.cumsum(draw(steps)), np.cumsum(draw(steps))
    return Rarity(scores=tuple(scores), rarities=tuple(values), slope=draw(st.floats(1e-3, 1e3)))


@given(curve=rarities(), scores=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_a_rarity_is_linear_between_knots_and_beyond_the_last(curve, scores):
    scores = np.array([*scores, *curve.scores])
    beyond = curve.slope * np.maximum(scores - curve.scores[-1], 0.0)

    expected = np.interp(scores, curve.scores, curve.rarities) + beyond

    np.testing.assert_allclose(curve.of(scores), expected, rtol=1e-12)


@given(curves=st.lists(rarities(), min_size=1, max_size=5), scores=st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_many_curves_at_once_give_what_each_gives_alone(curves, scores):
    scores = np.array(scores)
    index = np.arange(len(scores)) % len(curves)

    together = RarityCurves.of(curves).at(index, scores)

    alone = [curves[number].of(scores[[place]])[0] for place, number in enumerate(index)]
    np.testing.assert_array_equal(together, alone)


def test_a_missing_score_has_no_rarity():
    curve = fit_rarity(np.linspace(0, 1, 1001))

    assert np.isnan(curve.of(np.array([np.nan, 0.5]))).tolist() == [True, False]


def test_a_rarity_is_inverted_by_its_scores():
    curve, scores = fit_rarity(NOISE), np.linspace(-1, 9, 50)

    assert curve.at(curve.of(scores)) == pytest.approx(scores)


def test_a_rarity_whose_knots_decrease_is_refused():
    with pytest.raises(ValueError, match="must increase"):
        Rarity(scores=(1.0, 0.0), rarities=(0.0, 1.0), slope=1.0)


def test_rounding_noise_on_ties_does_not_change_the_tail():
    """Readings in another unit differ by 1e-16; the slope of a quantised sensor's tail changed by 19 %."""
    rng = np.random.default_rng(0)
    ties = np.abs(np.round(3 * rng.normal(size=500))) / 3
    noisy = ties * (1 + 2e-16 * rng.integers(-1, 2, ties.size))

    assert fit_rarity(noisy) == fit_rarity(ties)
    assert fit_scale(noisy, episodes_per_reading=1e-3) == fit_scale(ties, episodes_per_reading=1e-3)


def test_merged_ties_are_within_1e_12():
    scores = np.concatenate([NOISE, 1e8 * NOISE, 1e-20 * NOISE])

    np.testing.assert_allclose(merge_ties(scores), scores, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("budget", [MIN_BUDGET_RARITY, 2.0, 3.0, 6.0])
def test_scores_of_given_rarities(budget):
    """0.5 at the budget, 0.3 ten times as frequent (at most one in ten), 0.9 a hundred times as rare."""
    rarity = np.array([0.0, max(budget - 1, 1.0), budget, budget + 1, budget + 2, 1e6])

    assert score_rarities(rarity, budget) == pytest.approx([0.0, 0.3, 0.5, 0.7, 0.9, 1.0], abs=1e-6)


def test_an_alarm_ends_after_sixteen_readings_without_one():
    alarmed = np.zeros(100, bool)
    alarmed[[3, 19, 36, 80]] = True

    assert count_episodes(alarmed) == 3
    assert count_episodes(alarmed[:3]) == 0


def test_a_rarity_is_the_share_of_ordinary_scores_above():
    rarity = fit_rarity(np.random.default_rng(0).exponential(size=20_000))
    for share in (0.5, 0.1, 0.01, 0.001, 1e-5):
        assert rarity.of(np.array([-np.log(share)]))[0] == pytest.approx(-np.log10(share), abs=0.25)


def test_autocorrelated_scores_are_worth_fewer_independent_ones():
    walk = np.cumsum(NOISE)
    assert effective_sample_size(NOISE) > 2000
    assert effective_sample_size(walk) < 500


@pytest.mark.parametrize("rate", [1 / 1000, 1 / 200])
def test_the_alarm_budget_holds_on_fresh_readings(rate):
    rng = np.random.default_rng(0)
    scale = fit_scale(rng.exponential(size=5000), episodes_per_reading=rate)
    alarmed = scale.of(rng.exponential(size=100_000)) >= 0.5
    assert rate / 2 < alarmed.mean() < rate * 2
    assert scale.share_above(0.5) == pytest.approx(rate, rel=1.0)
    assert scale.share_above(0.3) == pytest.approx(10 * scale.share_above(0.5))


def test_scores_increase_strictly_far_beyond_the_training():
    scale = fit_scale(np.random.default_rng(0).exponential(size=1000), episodes_per_reading=1e-3)
    scores = scale.of(np.array([0.1, 1, 3, 6, 10, 20, 50, 1e3, 1e6]))
    assert np.all(np.diff(scores) > 0)
    assert scores[-1] <= 1


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 0.04])
def test_ordinary_readings_score_below_0_3(rate):
    """With an alarm a day, 4 % of an hourly sensor's readings may alarm; most are still normal."""
    rng = np.random.default_rng(0)
    scale = fit_scale(rng.exponential(size=3000), episodes_per_reading=rate)
    scores = scale.of(rng.exponential(size=20_000))
    assert np.mean(scores < 0.3) > 0.88
    assert np.mean(scores >= 0.5) < 1.5 * MAX_ANOMALOUS_SHARE
    assert scale.share_above(0.3) <= 0.1
    for score in (0.3, 0.4, 0.5, 0.7):
        assert np.mean(scores >= score) == pytest.approx(scale.share_above(score), rel=0.8, abs=3e-4)


def halves_apart(by: float) -> list[np.ndarray]:
    """Two halves of surprises; the second quarter of the second lies further out."""
    rng = np.random.default_rng(0)
    first, second = (rng.exponential(size=1000) for _ in range(2))
    return [first, second + by * (np.arange(1000) >= 500)]


def test_differing_parts_of_the_training_make_the_tail_longer():
    calm, wandering = (
        fit_scale(widen_surprises(halves_apart(by)), episodes_per_reading=1e-3) for by in (0.0, 3.0)
    )
    assert calm.of(np.array([9.0]))[0] > 0.5
    assert wandering.of(np.array([9.0]))[0] < 0.5


def test_interpolation_at_the_smallest_budget_keeps_it():
    """The mean of two equal numbers can be rounded below them, which was refused."""
    surprise = np.random.default_rng(0).exponential(size=1000)
    scale = fit_scale(surprise, episodes_per_reading=1e-3).model_copy(update={"budget": MIN_BUDGET_RARITY})
    for share in np.linspace(0, 1, 101):
        assert interpolate_scales(scale, scale, share).budget == pytest.approx(MIN_BUDGET_RARITY)


@pytest.mark.parametrize("louder", ["nearby", "halves"])
def test_the_far_scale_meets_the_budget_on_all_training_surprises(louder):
    rng = np.random.default_rng(1)
    nearby = rng.exponential(2.0 if louder == "nearby" else 1.0, size=4000)
    halves = [rng.exponential(2.0 if louder == "halves" else 1.0, size=2000) for _ in range(2)]
    near = fit_scale(nearby, episodes_per_reading=1e-3)
    far = fit_far_scale(near, halves, episodes_per_reading=1e-3)

    for seen in (nearby, np.concatenate(halves)):
        assert count_episodes(seen >= far.limit) <= 1.5e-3 * seen.size


def test_the_far_scale_expects_more_readings_in_alarm_than_the_training_had():
    halves = halves_apart(3.0)
    near = fit_scale(halves[0], episodes_per_reading=1e-3)
    far = fit_far_scale(near, halves, episodes_per_reading=1e-3)

    assert far.share_above(0.5) > 2 * np.mean(np.concatenate(halves) >= far.limit)
    assert far.share_above(0.5) <= MAX_ANOMALOUS_SHARE


def test_the_limit_increases_from_near_to_far():
    """Near and far expect different shares at 0.5; interpolating those alone put the limit below both."""
    halves = halves_apart(3.0)
    near = fit_scale(halves[0], episodes_per_reading=1e-3)
    far = fit_far_scale(near, halves, episodes_per_reading=1e-3)
    limits = [interpolate_scales(near, far, share).limit for share in np.linspace(0, 1, 9)]

    assert near.limit < far.limit
    assert np.all(np.diff(limits) > 0)
    assert [limits[0], limits[-1]] == pytest.approx([near.limit, far.limit])


def test_an_interpolated_scale_scores_between_both():
    near, far = (fit_scale(widen_surprises(halves_apart(by)), episodes_per_reading=1e-3) for by in (0.0, 3.0))
    surprises = np.linspace(0.5, 40, 200)
    for share, like in ((0.0, near), (1.0, far)):
        # The curve has few knots: equal to a hundredth.
        assert interpolate_scales(near, far, share).of(surprises) == pytest.approx(
            like.of(surprises), abs=0.02
        )
    middle = interpolate_scales(near, far, 0.5).of(surprises)
    assert np.all(np.diff(middle) > 0)
    assert np.all(middle <= near.of(surprises) + 0.02)
    assert np.all(middle >= far.of(surprises) - 0.02)
