"""Comparison of readings with a window: verdict, kind, reason, onset and origin."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from monitoring.drift.compare_frames import DriftSettings, compare, to_readings
from monitoring.drift.kinds import DriftKind
from monitoring.drift.verdict import DriftOrigin, DriftVerdict
from tests.support.drift_series import hourly_series, split_window
from training.errors import DataError
from training.reasons import ReasonCode


@pytest.fixture
def window():
    return split_window()[0]


@pytest.fixture
def rest():
    return split_window()[1]


def test_undrifted_readings_are_steady(window, rest):
    result = compare(window, rest)

    assert result.verdict is DriftVerdict.STEADY
    assert result.p_value > 0.05
    assert result.advice == ""


def test_a_level_shift_is_reported_in_the_unit_of_the_readings(window, rest):
    result = compare(window, rest + 3, unit="bar")

    assert result.kind is DriftKind.LEVEL
    assert result.reason.startswith("level moved by +3.")
    assert " bar " in result.reason


def test_the_reason_is_a_code_with_the_values_that_its_text_shows(window, rest):
    [reason] = compare(window, rest + 3, unit="bar").reasons

    assert reason.code is ReasonCode.DRIFT_LEVEL
    assert reason.values["change"] == pytest.approx(3, abs=0.5)
    assert reason.values["size"] == pytest.approx(3 / window.std(), abs=0.2)
    assert reason.values["unit"] == "bar"


def test_the_advice_follows_from_the_origin(window, rest):
    assert [one.code for one in compare(window, rest + 3).advice_reasons] == [ReasonCode.ADVICE_COMPARE]
    assert compare(window, rest).advice_reasons == ()


def test_the_onset_is_found_among_all_readings_since_the_window():
    window, rest = split_window(40)
    onset = rest.index[120]

    result = compare(window, rest + np.where(rest.index >= onset, 3.0, 0.0))

    assert abs(result.since - onset) <= timedelta(hours=12)


def test_a_gradual_level_shift_is_reported_per_day():
    window, rest = split_window(40)
    days = np.arange(len(rest)) / 24

    result = compare(window, rest + 0.4 * days, unit="bar")

    assert result.kind is DriftKind.SLOPE
    assert result.reason.endswith("bar a day")


def test_a_missing_daily_cycle_is_reported_as_lost(window, rest):
    noise = np.random.default_rng(7).normal(20, 0.8, len(rest))

    result = compare(window, pd.Series(noise, rest.index))

    assert result.reason == "daily cycle lost"
    assert result.origin is DriftOrigin.PROCESS


def test_additional_scatter_is_a_kind_of_noise(window, rest):
    noisier = rest + np.random.default_rng(7).normal(0, 3, len(rest))

    assert compare(window, noisier).kind in {DriftKind.SPREAD, DriftKind.NOISE, DriftKind.RANGE}


def test_a_sensor_that_stops_changing_is_stuck(window, rest):
    held = rest.where(rest.index < rest.index[-40], 21.5)

    result = compare(window, held, unit="bar")

    assert result.reason == "stuck at 21.5 bar for 40 readings"
    assert result.since == held.index[-40]
    assert result.origin is DriftOrigin.INSTRUMENT


def test_a_plateau_similar_to_one_in_the_window_is_not_stuck():
    """26 h, where the window has a plateau of 12 h: rare, but more frequent than one check in a hundred."""
    window, rest = split_window()
    paused = window.where((window.index < window.index[300]) | (window.index >= window.index[312]), 21.5)
    held = rest.where(rest.index < rest.index[-26], 21.5)

    assert compare(paused, held).kind is not DriftKind.STUCK
    assert compare(window, held).kind is DriftKind.STUCK


def test_half_the_sampling_rate_is_a_step_change_and_not_missing_readings(window, rest):
    result = compare(window, rest.iloc[::2])

    assert result.kind is DriftKind.STEP
    assert result.reason == "sampling changed: a reading every 2 h instead of 1 h"


def test_a_gap_in_the_block_is_missing_readings(window, rest):
    result = compare(window, pd.concat([rest.iloc[:10], rest.iloc[-10:]]))

    assert result.kind is DriftKind.MISSING
    assert "58 % of the readings missing, 0 % in the window" in result.reason


def test_no_readings_since_the_window_is_no_data(window, rest):
    assert compare(window, rest[:0]).verdict is DriftVerdict.NO_DATA


def test_a_short_window_gives_no_verdict(window, rest):
    result = compare(window[:40], rest)

    assert result.verdict is DriftVerdict.WITHHELD
    assert "window too short to calibrate: 3 blocks" in result.reason


def test_too_few_readings_since_the_window_give_no_verdict(window, rest):
    result = compare(window, rest[:5])

    assert result.verdict is DriftVerdict.WITHHELD
    assert result.reason.startswith("5 h since the window")


def test_an_empty_window_gives_no_verdict(window, rest):
    assert compare(window[:0], rest).verdict is DriftVerdict.WITHHELD


def test_a_window_with_few_readings_gives_no_verdict(window, rest):
    result = compare(window.iloc[[0, *range(-20, 0)]], rest)

    assert result.verdict is DriftVerdict.WITHHELD


def test_a_sensor_that_stays_constant_is_steady(window, rest):
    assert compare(window * 0 + 3, rest * 0 + 3).verdict is DriftVerdict.STEADY


def test_a_constant_sensor_that_starts_to_move_has_drifted(window, rest):
    result = compare(window * 0 + 3, rest)

    assert result.kind is DriftKind.STARTED_MOVING
    assert result.reason.startswith("constant at 3 for ")


def test_an_old_window_of_a_random_walk_has_aged():
    """Random walks, 16 days after their window: far from it, as expected of a random walk."""
    times = pd.date_range("2026-01-01", periods=24 * 42, freq="h")
    result = []
    for seed in range(30):
        walk = pd.Series(np.random.default_rng(seed).normal(0, 1, len(times)).cumsum(), times)
        result.append(compare(walk[: 24 * 24], walk[24 * 40 :]))

    verdicts = [one.verdict for one in result]
    aged = next(one for one in result if one.verdict is DriftVerdict.AGED)
    assert verdicts.count(DriftVerdict.AGED) > verdicts.count(DriftVerdict.DRIFTED)
    assert aged.reason.startswith("the window has aged: in 16 d this sensor moves as far by itself")
    assert aged.advice == "Retrain on newer readings."


def test_a_window_right_before_the_check_has_not_aged():
    """Random walks that continue where their window ends."""
    times = pd.date_range("2026-01-01", periods=24 * 26, freq="h")
    result = []
    for seed in range(30):
        walk = pd.Series(np.random.default_rng(seed).normal(0, 1, len(times)).cumsum(), times)
        lenient = DriftSettings(false_alarm_rate=0.1)
        result.append(compare(walk[: 24 * 24], walk[24 * 24 :], settings=lenient))

    assert {one.verdict for one in result} <= {DriftVerdict.STEADY, DriftVerdict.DRIFTED}
    assert any(one.judgement.aged(one.false_alarm_rate) for one in result)


def test_larger_errors_are_drift_of_the_model_and_smaller_ones_are_not(window, rest):
    rng = np.random.default_rng(5)
    frame, later = window.rename("value").reset_index(), rest.rename("value").reset_index()
    frame["forecast_error"] = rng.normal(0, 1, len(frame))

    grown = compare(frame, later.assign(forecast_error=rng.normal(0, 9, len(later))))
    shrunk = compare(frame, later.assign(forecast_error=rng.normal(0, 0.1, len(later))))

    assert (grown.kind, grown.origin) == (DriftKind.ERROR, DriftOrigin.MODEL)
    assert shrunk.verdict is DriftVerdict.STEADY


def test_scores_that_rose_are_drift(window, rest):
    frame, later = window.rename("value").reset_index(), rest.rename("value").reset_index()

    result = compare(frame.assign(anomaly_score=0.1), later.assign(anomaly_score=0.95))

    assert result.kind is DriftKind.SCORE


def test_row_order_and_duplicates_do_not_matter(window, rest):
    frame = window.rename("value").reset_index()
    mixed = pd.concat([frame, frame[:50]]).sample(frac=1, random_state=1)

    assert compare(mixed, rest).p_value == compare(window, rest).p_value


def test_the_unit_does_not_matter(window, rest):
    drifted = rest + 2

    celsius, fahrenheit = compare(window, drifted), compare(window * 1.8 + 32, drifted * 1.8 + 32)

    assert celsius.p_value == pytest.approx(fahrenheit.p_value, rel=1e-6)


def test_a_stricter_rate_needs_a_larger_shift(window, rest):
    lenient, strict = (
        compare(window, rest, settings=DriftSettings(false_alarm_rate=rate)) for rate in (0.1, 0.001)
    )

    assert all(
        strict.measures()[name]["bound"] > measure["bound"] for name, measure in lenient.measures().items()
    )


def test_times_with_a_zone_are_converted_to_utc():
    series = hourly_series(1)
    local = series.copy()
    local.index = local.index.tz_localize("UTC").tz_convert("America/Sao_Paulo")

    assert to_readings(local).seconds.tolist() == to_readings(series).seconds.tolist()


def test_values_that_are_not_finite_are_left_out():
    series = hourly_series(1)
    series.iloc[[3, 4]] = [np.nan, np.inf]

    assert len(to_readings(series)) == 22


def test_a_frame_without_values_is_refused():
    with pytest.raises(DataError, match="value"):
        to_readings(pd.DataFrame({"timestamp": []}))
