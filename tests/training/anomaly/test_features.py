"""What a detector looks at."""

import numpy as np
import pytest

from training.anomaly.calibration import (
    MAX_ANOMALOUS_SHARE,
    MIN_BUDGET_RARITY,
    count_episodes,
    effective_sample_size,
    fit_far_scale,
    fit_rarity,
    fit_scale,
    interpolate_scales,
    widen_surprises,
)
from training.anomaly.features import POINTS
from training.anomaly.one_step_forecast import fit_next_step
from training.anomaly.profile import Profile, compute_features, fit_profile
from training.anomaly.seasonal_profile import DAY, WEEK, fit_seasonal_profile

STEP = 600.0
TIMES = 1_767_225_600.0 + STEP * np.arange(3000)  # from Thursday, 2026-01-01
NOISE = np.random.default_rng(0).normal(size=3000)


def test_a_daily_course_is_found_where_there_is_one():
    daily = 5 * np.sin(2 * np.pi * TIMES / DAY) + 0.3 * NOISE
    course = fit_seasonal_profile(TIMES, daily, step=STEP)
    assert course.cycle == DAY
    assert course.at(TIMES) == pytest.approx(5 * np.sin(2 * np.pi * TIMES / DAY), abs=0.5)


def test_a_weekly_course_is_found_where_weekends_differ():
    times = 1_767_225_600.0 + 3600.0 * np.arange(24 * 70)
    weekend = ((times / DAY).astype(int) + 3) % 7 >= 5
    course = fit_seasonal_profile(
        times, np.where(weekend, 0.0, 10.0) + 0.3 * NOISE[: times.size], step=3600.0
    )
    assert course.cycle == WEEK


def test_chance_has_no_course():
    assert fit_seasonal_profile(TIMES, NOISE, step=STEP) is None


def test_two_days_are_too_few_for_a_course():
    daily = 5 * np.sin(2 * np.pi * TIMES[:288] / DAY)
    assert fit_seasonal_profile(TIMES[:288], daily, step=STEP) is None


def feature(name: str, values: np.ndarray, times: np.ndarray = TIMES) -> np.ndarray:
    profile = fit_profile(TIMES, NOISE, clocked=True)
    return compute_features(profile, times[: values.size], values).points[:, POINTS.index(name)]


def test_each_feature_sees_its_own_fault():
    base = NOISE[:400]
    spike, shift, frozen, loud = (base.copy() for _ in range(4))
    spike[200] += 10
    shift[200:] += 3
    frozen[200:] = frozen[200]
    loud[200:] *= 4
    assert np.argmax(np.abs(feature("level", spike))) == 200
    assert np.argmax(np.abs(feature("forecast_error", spike))) == 200
    assert np.abs(feature("trend", shift))[205:215].mean() > 2 * np.abs(feature("trend", base)).mean()
    assert feature("unchanged", frozen)[250] > 1
    assert feature("unchanged", base).max() == 0
    assert feature("spread", loud)[220:].mean() > 3
    assert feature("recent_errors", loud)[220:].mean() > 0.5


def test_nothing_is_seen_across_a_gap():
    """The first readings after a pause know only themselves."""
    times = TIMES[:400].copy()
    times[200:] += 100 * STEP
    before, after = NOISE[:400].copy(), NOISE[:400].copy()
    before[:200] += 50
    profile = fit_profile(TIMES, NOISE, clocked=True)
    first, second = (compute_features(profile, times, values) for values in (before, after))
    assert np.array_equal(first.points[200:], second.points[200:])
    assert np.array_equal(first.windows[200:], second.windows[200:])
    assert not first.full[200]
    assert first.full[200 + profile.window]


def test_a_sudden_step_deviates_though_it_leads_nowhere_odd():
    """Of a slow swing a jump from one side to the other is usual in level; as a change it is not."""
    seconds = np.arange(640.0)
    swing = 5 * np.sin(seconds[:600] / 40) + np.random.default_rng(0).normal(0, 0.1, 600)
    profile = fit_profile(seconds[:600], swing, clocked=False)
    jumped, crept = np.linspace(-4, -4.5, 40), np.linspace(swing[-1], -4.5, 40)

    sudden, slow = (
        compute_features(profile, seconds, np.concatenate([swing, later])).deviation[600]
        for later in (jumped, crept)
    )

    assert sudden > slow + 0.5


def test_versions_learned_before_changes_counted_score_as_they_did():
    seconds, values = np.arange(300.0), np.random.default_rng(0).normal(0, 1, 300)
    written = fit_profile(seconds, values, clocked=False).model_dump(exclude={"sudden"})

    design = compute_features(Profile.model_validate(written), seconds, values)

    np.testing.assert_array_equal(design.deviation, np.abs(design.points[:, :2]).max(axis=1))


def test_the_next_step_of_a_swing_is_foreseen():
    swing = np.sin(np.arange(500) / 3)
    spans = np.column_stack([swing[3:], swing[2:-1], (swing[1:-2] + swing[:-3]) / 2, np.zeros(497)])
    learned = fit_next_step(spans)
    foretold = spans[:, 1:] @ np.array(learned.weights)
    assert np.abs(foretold - spans[:, 0]).mean() < 0.1 * np.abs(spans[:, 0] - spans[:, 1]).mean()


def test_rarity_is_the_share_of_ordinary_scores_above():
    rarity = fit_rarity(np.random.default_rng(0).exponential(size=20_000))
    for share in (0.5, 0.1, 0.01, 0.001, 1e-5):
        assert rarity.of(np.array([-np.log(share)]))[0] == pytest.approx(-np.log10(share), abs=0.25)


def test_wandering_scores_are_worth_fewer_than_they_are():
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


def test_scores_increase_without_end():
    scale = fit_scale(np.random.default_rng(0).exponential(size=1000), episodes_per_reading=1e-3)
    scores = scale.of(np.array([0.1, 1, 3, 6, 10, 20, 50, 1e3, 1e6]))
    assert np.all(np.diff(scores) > 0)
    assert scores[-1] <= 1


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 0.04])
def test_ordinary_readings_score_below_the_look(rate):
    """An hourly sensor with an alarm a day allows 4 % of its readings to be odd; most are still normal."""
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


def test_parts_that_differ_make_the_tail_longer():
    calm, wandering = (
        fit_scale(widen_surprises(halves_apart(by)), episodes_per_reading=1e-3) for by in (0.0, 3.0)
    )
    assert calm.of(np.array([9.0]))[0] > 0.5
    assert wandering.of(np.array([9.0]))[0] < 0.5


def test_between_two_scales_at_the_least_budget_is_the_least_budget():
    """The mean of two equal numbers may be rounded below them, and was refused."""
    surprise = np.random.default_rng(0).exponential(size=1000)
    scale = fit_scale(surprise, episodes_per_reading=1e-3).model_copy(update={"budget": MIN_BUDGET_RARITY})
    for share in np.linspace(0, 1, 101):
        assert interpolate_scales(scale, scale, share).budget == pytest.approx(MIN_BUDGET_RARITY)


@pytest.mark.parametrize("louder", ["nearby", "halves"])
def test_far_away_the_budget_is_met_by_all_that_was_seen(louder):
    rng = np.random.default_rng(1)
    nearby = rng.exponential(2.0 if louder == "nearby" else 1.0, size=4000)
    halves = [rng.exponential(2.0 if louder == "halves" else 1.0, size=2000) for _ in range(2)]
    near = fit_scale(nearby, episodes_per_reading=1e-3)
    far = fit_far_scale(near, halves, episodes_per_reading=1e-3)

    for seen in (nearby, np.concatenate(halves)):
        assert count_episodes(seen >= far.limit) <= 1.5e-3 * seen.size


def test_a_sensor_that_may_leave_for_good_is_promised_more_readings_above_the_limit_than_were_seen():
    halves = halves_apart(3.0)
    near = fit_scale(halves[0], episodes_per_reading=1e-3)
    far = fit_far_scale(near, halves, episodes_per_reading=1e-3)

    assert far.share_above(0.5) > 2 * np.mean(np.concatenate(halves) >= far.limit)
    assert far.share_above(0.5) <= MAX_ANOMALOUS_SHARE


def test_the_limit_moves_steadily_from_near_to_far():
    """Near and far promise different shares at 0.5: mixing those alone once put the limit below both."""
    halves = halves_apart(3.0)
    near = fit_scale(halves[0], episodes_per_reading=1e-3)
    far = fit_far_scale(near, halves, episodes_per_reading=1e-3)
    limits = [interpolate_scales(near, far, share).limit for share in np.linspace(0, 1, 9)]

    assert near.limit < far.limit
    assert np.all(np.diff(limits) > 0)
    assert [limits[0], limits[-1]] == pytest.approx([near.limit, far.limit])


def test_a_scale_between_two_scores_between_them():
    near, far = (fit_scale(widen_surprises(halves_apart(by)), episodes_per_reading=1e-3) for by in (0.0, 3.0))
    surprises = np.linspace(0.5, 40, 200)
    for share, like in ((0.0, near), (1.0, far)):
        # Few knots stand for the curve: equal to a hundredth.
        assert interpolate_scales(near, far, share).of(surprises) == pytest.approx(
            like.of(surprises), abs=0.02
        )
    middle = interpolate_scales(near, far, 0.5).of(surprises)
    assert np.all(np.diff(middle) > 0)
    assert np.all(middle <= near.of(surprises) + 0.02)
    assert np.all(middle >= far.of(surprises) - 0.02)
