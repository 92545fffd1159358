"""Limits by rule: each kind is reached at its limit and beyond, and never by an instrument in fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.limits import (
    SEVERITY_OF_LIMIT,
    LimitKind,
    MeasuredReading,
    crossed_limit,
    is_out_of_range,
    limit_excess,
    limit_of,
    most_severe_limit,
    rates_of_change,
)
from training.data.sensors import Sensor
from training.reasons import render

SENSOR = Sensor(
    id="PT-1", unit="bar", low=0, critical_low=10, warning_low=20, warning_high=80, critical_high=90,
    high=100, max_rate=5,
)  # fmt: skip
AT_THE_LIMIT = {
    LimitKind.HIGH_HIGH: MeasuredReading(90.0),
    LimitKind.LOW_LOW: MeasuredReading(10.0),
    LimitKind.RATE_OF_CHANGE: MeasuredReading(50.0, -5.0),
    LimitKind.HIGH: MeasuredReading(80.0),
    LimitKind.LOW: MeasuredReading(20.0),
}
values = st.floats(-50, 150)
rates = st.floats(-20, 20) | st.just(float("nan"))


@pytest.mark.parametrize("kind", LimitKind)
def test_a_reading_at_its_limit_has_reached_it(kind):
    crossing = crossed_limit(SENSOR, kind, AT_THE_LIMIT[kind])

    assert crossing is not None
    assert (crossing.limit, crossing.excess) == (limit_of(SENSOR, kind), 0)


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        (MeasuredReading(92.5), "critical high limit of 90 bar reached: 92.5 bar"),
        (MeasuredReading(8.0), "critical low limit of 10 bar reached: 8 bar"),
        (MeasuredReading(84.0), "high limit of 80 bar reached: 84 bar"),
        (MeasuredReading(19.0), "low limit of 20 bar reached: 19 bar"),
        (MeasuredReading(50.0, -7.0), "changes by -7 bar a minute, at most 5 bar permitted: 50 bar"),
    ],
)
def test_the_reason_names_the_limit_and_the_value(measured, text):
    crossing = most_severe_limit(SENSOR, measured)

    assert crossing is not None
    assert render(crossing.reason) == text


@given(values, rates)
def test_the_most_severe_limit_is_none_exactly_inside_all_limits_and_outside_the_range(value, rate):
    measured = MeasuredReading(value, rate)
    reached = [kind for kind in LimitKind if crossed_limit(SENSOR, kind, measured)]

    most_severe = most_severe_limit(SENSOR, measured)

    if is_out_of_range(SENSOR, value) or not reached:
        assert most_severe is None
    else:
        assert most_severe is not None
        assert SEVERITY_OF_LIMIT[most_severe.kind] == max(SEVERITY_OF_LIMIT[kind] for kind in reached)


@given(values, values, st.sampled_from([LimitKind.HIGH_HIGH, LimitKind.HIGH]))
def test_a_higher_reading_is_never_less_beyond_a_high_limit(first, second, kind):
    lower, higher = sorted((first, second))
    limit = limit_of(SENSOR, kind)

    assert limit_excess(kind, limit, MeasuredReading(higher)) >= limit_excess(
        kind, limit, MeasuredReading(lower)
    )


@pytest.mark.parametrize("kind", LimitKind)
def test_a_sensor_without_a_limit_never_reaches_it(kind):
    assert crossed_limit(Sensor(id="PT-1"), kind, MeasuredReading(1e9, 1e9)) is None


def test_a_critical_limit_at_the_end_of_the_range_can_be_reached():
    """A level transmitter that reads 100 % measures; beyond 100 % it does not."""
    level = Sensor(id="LT-1", high=100, critical_high=100)

    assert most_severe_limit(level, MeasuredReading(100.0)) is not None
    assert most_severe_limit(level, MeasuredReading(100.1)) is None


def test_a_rate_is_measured_over_a_minute_however_often_a_sensor_sends():
    seconds = np.arange(0.0, 181.0)
    noise = np.where(np.arange(181) % 2, 0.1, -0.1)  # 12 a minute from one reading to the next

    measured = rates_of_change(seconds, seconds / 60 * 2 + noise)

    assert np.isnan(measured[:45]).all()
    assert np.abs(measured[45:] - 2).max() < 0.3


def test_a_reading_that_is_a_little_late_or_early_is_compared_with_the_one_before():
    assert rates_of_change(np.array([0.0, 58.0, 121.0]), np.array([0.0, 5.8, 12.1])).tolist()[1:] == [
        pytest.approx(6.0),
        pytest.approx(6.0),
    ]
