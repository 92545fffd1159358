"""The features of readings, and the profile they are compared with."""

from dataclasses import fields

import numpy as np
import pytest

from training.anomaly.features import POINTS, ReadingBatch, SensorParameters, compute_feature_batch
from training.anomaly.one_step_forecast import fit_next_step
from training.anomaly.profile import Profile, compute_features, fit_profile
from training.anomaly.seasonal_profile import DAY, WEEK, fit_seasonal_profile

STEP = 600.0
TIMES = 1_767_225_600.0 + STEP * np.arange(3000)  # from Thursday, 2026-01-01
NOISE = np.random.default_rng(0).normal(size=3000)


def test_a_daily_profile_is_fitted_to_a_daily_cycle():
    daily = 5 * np.sin(2 * np.pi * TIMES / DAY) + 0.3 * NOISE
    course = fit_seasonal_profile(TIMES, daily, step=STEP)
    assert course.cycle == DAY
    assert course.at(TIMES) == pytest.approx(5 * np.sin(2 * np.pi * TIMES / DAY), abs=0.5)


def test_a_weekly_profile_is_fitted_where_weekends_differ():
    times = 1_767_225_600.0 + 3600.0 * np.arange(24 * 70)
    weekend = ((times / DAY).astype(int) + 3) % 7 >= 5
    course = fit_seasonal_profile(
        times, np.where(weekend, 0.0, 10.0) + 0.3 * NOISE[: times.size], step=3600.0
    )
    assert course.cycle == WEEK


def test_noise_has_no_profile():
    assert fit_seasonal_profile(TIMES, NOISE, step=STEP) is None


def test_two_days_are_too_few_for_a_profile():
    daily = 5 * np.sin(2 * np.pi * TIMES[:288] / DAY)
    assert fit_seasonal_profile(TIMES[:288], daily, step=STEP) is None


def feature(name: str, values: np.ndarray, times: np.ndarray = TIMES) -> np.ndarray:
    profile = fit_profile(TIMES, NOISE, clocked=True)
    return compute_features(profile, times[: values.size], values).points[:, POINTS.index(name)]


def test_each_feature_responds_to_its_own_fault():
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


def test_features_do_not_reach_across_a_gap():
    """The first reading after a pause has no history."""
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


def test_a_sudden_step_deviates_even_to_a_normal_level():
    """A jump from one side of a slow oscillation to the other is normal in level, but not as a change."""
    seconds = np.arange(640.0)
    swing = 5 * np.sin(seconds[:600] / 40) + np.random.default_rng(0).normal(0, 0.1, 600)
    profile = fit_profile(seconds[:600], swing, clocked=False)
    jumped, crept = np.linspace(-4, -4.5, 40), np.linspace(swing[-1], -4.5, 40)

    sudden, slow = (
        compute_features(profile, seconds, np.concatenate([swing, later])).deviation[600]
        for later in (jumped, crept)
    )

    assert sudden > slow + 0.5


def test_profiles_without_a_change_weight_ignore_changes():
    seconds, values = np.arange(300.0), np.random.default_rng(0).normal(0, 1, 300)
    written = fit_profile(seconds, values, clocked=False).model_dump(exclude={"sudden"})

    design = compute_features(Profile.model_validate(written), seconds, values)

    np.testing.assert_array_equal(design.deviation, np.abs(design.points[:, :2]).max(axis=1))


def test_an_oscillation_is_forecast_one_step_ahead():
    swing = np.sin(np.arange(500) / 3)
    spans = np.column_stack([swing[3:], swing[2:-1], (swing[1:-2] + swing[:-3]) / 2, np.zeros(497)])
    learned = fit_next_step(spans)
    forecast = spans[:, 1:] @ np.array(learned.weights)
    assert np.abs(forecast - spans[:, 0]).mean() < 0.1 * np.abs(spans[:, 0] - spans[:, 1]).mean()


def make_batch(profiles, lengths, seed):
    """Readings of sensors one behind the other, with gaps, frozen stretches and outliers."""
    rng = np.random.default_rng(seed)
    seconds, values, sensor = [], [], []
    for index, (profile, length) in enumerate(zip(profiles, lengths, strict=True)):
        steps = np.where(rng.random(length) < 0.05, 30, 1)
        part = profile.centre + profile.spread * rng.normal(size=length)
        part[rng.random(length) < 0.05] = rng.choice([1e9, -1e9, 0.0])
        if length > 20:
            part[10:18] = part[10]
        seconds.append(profile.last + profile.step * np.cumsum(steps))
        values.append(part)
        sensor.append(np.full(length, index))
    return [np.concatenate(parts) for parts in (seconds, values, sensor)]


@pytest.fixture(scope="module")
def profiles():
    daily = 5 * np.sin(2 * np.pi * TIMES / DAY)
    series = (NOISE, daily + NOISE, (daily + NOISE).round(), np.cumsum(NOISE))
    return [fit_profile(TIMES, values, clocked=True) for values in series]


@pytest.mark.parametrize("seed", range(6))
def test_a_batch_has_the_features_that_each_sensor_has_alone(profiles, seed):
    """To the last bit: a sensor's scores do not depend on which sensors are in the request."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 150, len(profiles))
    seconds, values, sensor = make_batch(profiles, lengths, seed)
    parameters = [profile.parameters() for profile in profiles]
    width = max(len(each["course"]) for each in parameters)
    for each in parameters:
        each["course"] = np.pad(each["course"], (0, width - len(each["course"])))
    stacked = {name: np.array([each[name] for each in parameters]) for name in parameters[0]}
    rows = np.flatnonzero(rng.random(len(values)) < 0.3)

    together = compute_feature_batch(
        SensorParameters(profiles[0].window, **stacked), ReadingBatch(seconds, values, sensor, rows)
    )

    for index, profile in enumerate(profiles):
        own = sensor == index
        alone = compute_features(profile, seconds[own], values[own])
        first = int(np.argmax(own))
        for field in fields(alone):
            expected = getattr(alone, field.name)[rows[own[rows]] - first]
            np.testing.assert_array_equal(getattr(together, field.name)[own[rows]], expected)


def test_the_first_rows_can_be_left_out(profiles):
    seconds, values, _ = make_batch(profiles[:1], [200], 0)

    whole, later = (compute_features(profiles[0], seconds, values, first=first) for first in (0, 150))

    np.testing.assert_array_equal(later.points, whole.points[150:])
    np.testing.assert_array_equal(later.windows, whole.windows[150:])


def test_no_readings_have_no_features(profiles):
    design = compute_features(profiles[0], np.empty(0), np.empty(0))

    assert design.points.shape == (0, len(POINTS))
