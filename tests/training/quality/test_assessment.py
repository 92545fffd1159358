"""What quality.py must tell from what: an instrument's fault from a process that moves oddly."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.sensors import Sensor
from training.quality.assessment import FaultKind, Quality, QualitySettings, assess_readings

SENSOR = Sensor(id="PT-1001", unit="bar")
START = pd.Timestamp("2026-03-01 00:00")


def readings(values, *, every="5min", quality=None) -> pd.DataFrame:
    """Readings one step apart."""
    frame = pd.DataFrame(
        {"timestamp": pd.date_range(START, periods=len(values), freq=every), "value": values}
    )
    return frame if quality is None else frame.assign(data_quality=quality)


def living(count=2_000, *, level=50.0, noise=0.3, seed=0) -> np.ndarray:
    """A process with a daily cycle and noise."""
    rng = np.random.default_rng(seed)
    return level + 5 * np.sin(np.arange(count) * 2 * np.pi / 288) + noise * rng.normal(size=count)


def kinds(quality: Quality) -> set[FaultKind]:
    return {fault.kind for fault in quality.faults}


def lost(quality: Quality, frame: pd.DataFrame) -> list[int]:
    """The rows that may not train."""
    return np.flatnonzero(~frame["timestamp"].isin(quality.good.index)).tolist()


def test_a_healthy_sensor_gets_an_a_and_keeps_every_reading():
    frame = readings(living())

    quality = assess_readings(frame, SENSOR)

    assert (quality.grade, quality.reasons, lost(quality, frame)) == ("A", (), [])


@pytest.mark.parametrize("every", ["1s", "5min", "1h", "90min"])
def test_a_gauge_that_freezes_is_cut_from_its_second_equal_reading(every):
    """The first one was still alive."""
    values = living(3_000)
    values[1_000:2_000] = values[1_000]
    frame = readings(values, every=every)

    quality = assess_readings(frame, SENSOR)

    assert kinds(quality) == {FaultKind.FROZEN}
    assert lost(quality, frame) == list(range(1_001, 2_000))


def test_a_gauge_that_died_for_most_of_the_window_is_frozen_all_the_same():
    values = living(3_000)
    values[800:] = values[800]

    quality = assess_readings(readings(values), SENSOR)

    assert FaultKind.FROZEN in kinds(quality)
    assert len(quality.good) == 801


def test_a_valve_that_seldom_moves_is_not_frozen():
    """Slewing through ten values a few times in a week is this sensor's life."""
    opening = np.linspace(0, 70, 10)
    values = np.concatenate(
        [np.zeros(500), opening, np.full(700, 70.0), opening[::-1] + 30, np.full(600, 30.0)]
    )

    quality = assess_readings(readings(values), SENSOR)

    assert len(quality.good) == len(values)


def test_nights_at_rest_are_a_habit():
    values = living(288 * 7)
    at_night = np.arange(len(values)) % 288 < 90
    values[at_night] = 41.5

    quality = assess_readings(readings(values), SENSOR)

    assert len(quality.good) == len(values)


def test_a_stop_is_told_but_stays_in_the_data():
    """Nothing flows: the process did that, not the instrument."""
    values = living(3_000)
    values[1_000:1_200] = 0.0

    quality = assess_readings(readings(values), SENSOR)

    assert kinds(quality) == {FaultKind.AT_REST}
    assert len(quality.good) == len(values)
    assert any("physical range" in reason for reason in quality.reasons)


def test_a_valve_may_be_fully_open_for_days_but_a_pressure_at_its_limit_is_stuck():
    values = np.clip(living(3_000, level=90), 0, 99)
    values[1_000:1_300] = 100.0

    opening = assess_readings(readings(values), Sensor(id="FV-1", unit="%", low=0, high=100))
    pressure = assess_readings(readings(values), Sensor(id="PT-1", unit="bar", low=0, high=100))

    assert (kinds(opening), len(opening.good)) == ({FaultKind.AT_REST}, 3_000)
    assert (kinds(pressure), len(pressure.good)) == ({FaultKind.STUCK}, 2_701)


def test_a_coarse_sensor_repeats_itself_without_being_frozen():
    values = np.round(living(3_000, noise=0.05) * 2) / 2

    quality = assess_readings(readings(values), SENSOR)

    assert kinds(quality) == {FaultKind.TIED}
    assert quality.resolution == 0.5
    assert len(quality.good) == len(values)


def test_a_single_absurd_reading_is_a_spike():
    values = living()
    values[700] = 9_999.0
    frame = readings(values)

    quality = assess_readings(frame, SENSOR)

    assert kinds(quality) == {FaultKind.SPIKE}
    assert lost(quality, frame) == [700]


def test_a_signal_that_drops_to_zero_and_back_is_a_dropout():
    values = living()
    values[700] = 0.0
    values[900:902] = 0.0
    frame = readings(values)

    quality = assess_readings(frame, SENSOR)

    assert kinds(quality) == {FaultKind.DROPOUT}
    assert lost(quality, frame) == [700, 900, 901]


@given(
    length=st.integers(4, 60),
    height=st.floats(-40, 400),
    start=st.integers(100, 1_800),
    seed=st.integers(0, 50),
)
@settings(max_examples=40, deadline=None)
def test_an_excursion_of_several_readings_stays_to_be_judged(length, height, start, seed):
    """However far it goes: a process may do that, and the detector is there to say so."""
    values = living(seed=seed)
    values[start : start + length] += height

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_a_single_reading_within_reach_of_the_process_is_no_spike():
    values = living()
    values[700] += 6  # twenty times the noise, but the day alone moves as far

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_a_sensor_whose_bursts_come_in_all_sizes_has_no_spikes():
    """Somewhere between the ordinary and the absurd there must be a gap; here there is none."""
    values = living(5_000)
    values[500:5_000:600] += 3 * 2.0 ** np.arange(8)

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_pulses_that_come_often_are_behaviour():
    values = living()
    values[25::50] = 500.0

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_a_step_that_overshoots_is_the_process():
    values = living(noise=0.1)
    values[1_000:] += 50
    values[1_000] = 180.0

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_how_long_a_dropout_may_last_is_a_setting():
    values = living()
    values[700:702] = 0.0
    frame = readings(values)

    assert len(assess_readings(frame, SENSOR).good) == len(values) - 2
    assert len(assess_readings(frame, SENSOR, QualitySettings(dropout_readings=1)).good) == len(values)
    assert len(assess_readings(readings(values, every="1h"), SENSOR).good) == len(values)


def test_a_reading_next_to_a_gap_is_not_called_a_spike():
    """Who knows what happened in between."""
    frame = readings(living())
    frame.loc[700, "value"] = 9_999.0
    frame = frame.drop(index=range(640, 700))

    assert FaultKind.SPIKE not in kinds(assess_readings(frame, SENSOR))


def test_a_silence_is_a_gap_with_the_readings_that_did_not_come():
    frame = readings(living()).drop(index=range(500, 600))

    (gap,) = assess_readings(frame, SENSOR).faults

    assert (gap.kind, gap.count) == (FaultKind.GAP, 100)
    assert gap.end - gap.start == pd.Timedelta("5min") * 101


def test_readings_outside_the_physical_range_or_marked_bad_or_empty_do_not_train():
    values = living()
    values[10], values[20], values[30] = -5.0, np.nan, np.inf
    marks = np.zeros(len(values), dtype=int)
    marks[40] = 2
    frame = readings(values, quality=marks)

    quality = assess_readings(frame, Sensor(id="PT-1", low=0, high=100))

    assert lost(quality, frame) == [10, 20, 30, 40]
    assert kinds(quality) == {FaultKind.OUT_OF_RANGE, FaultKind.MISSING, FaultKind.MARKED_BAD}


def test_a_sensor_that_never_moved_gets_an_f_and_the_value_it_stands_at():
    quality = assess_readings(readings(np.full(500, 173.0961)), Sensor(id="TT-1", unit="degC"))

    assert quality.grade == "F"
    assert quality.reasons == ("constant: never moved from 173.1 degC",)
    assert len(quality.good) == 500


def test_too_few_readings_are_an_f():
    quality = assess_readings(readings(living(12)), SENSOR)

    assert quality.grade == "F"
    assert "12 good readings of 12: too few for a model" in quality.reasons


def test_a_step_that_is_declared_wrongly_is_said_and_corrected():
    quality = assess_readings(readings(living(), every="1min"), Sensor(id="PT-1", step="1h"))

    assert quality.step == pd.Timedelta("1min")
    assert "wrong step: declared every 1 h, sends every 1 min" in quality.reasons


def test_irregular_sampling_is_told():
    rng = np.random.default_rng(0)
    stamps = START + pd.to_timedelta(np.cumsum(rng.uniform(20, 400, size=500)), unit="s")
    frame = pd.DataFrame({"timestamp": stamps, "value": living(500)})

    assert FaultKind.IRREGULAR in kinds(assess_readings(frame, SENSOR))


def test_a_worse_sensor_has_no_better_grade():
    marks = np.arange(1_000)

    grades = [
        assess_readings(readings(living(1_000), quality=(marks % 100 < bad).astype(int)), SENSOR).grade
        for bad in (0, 3, 10, 30, 60)
    ]

    assert grades == ["A", "B", "C", "D", "F"]


def test_a_verdict_is_plain_json_of_bounded_size():
    marks = np.arange(20_000) % 2
    quality = assess_readings(readings(living(20_000), quality=marks), SENSOR, QualitySettings(episodes=5))

    reported = json.loads(json.dumps(quality.as_dict()))

    assert reported["episodes"] == {"marked bad": 10_000}
    assert len(reported["faults"]) == 5


@pytest.mark.parametrize(
    "values",
    [
        [],
        [np.nan] * 40,
        [1.0],
        [1e308, -1e308] * 40,
        [5e-324, 0.0, 3e-310] * 40,
        [*living(50), 1e308, *living(50)],
    ],
    ids=["nothing", "no value", "one", "huge", "tiny", "one huge"],
)
def test_numbers_at_the_end_of_the_scale_are_survived(values):
    quality = assess_readings(readings(np.array(values, dtype=float)), SENSOR)

    assert np.isfinite(quality.resolution)
    assert quality.grade in "ABCDF"


WHIMS = st.lists(
    st.sampled_from([0.0, 1.0, 20.0, 20.1, 20.2, 999.0, np.nan]) | st.floats(-1e6, 1e6),
    min_size=0,
    max_size=120,
)


@given(values=WHIMS, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_does_not_matter(values, seed):
    frame = readings(np.array(values, dtype=float))
    frame = pd.concat([frame, frame[::3].assign(value=7.0)])  # some that contradict each other

    straight, mixed = (
        assess_readings(frame, SENSOR),
        assess_readings(frame.sample(frac=1, random_state=seed), SENSOR),
    )

    assert straight.as_dict() == mixed.as_dict()
    pd.testing.assert_series_equal(straight.good, mixed.good)


@given(values=WHIMS)
@settings(max_examples=60, deadline=None)
def test_a_good_reading_is_one_that_was_sent(values):
    """Quality omits, it never alters."""
    frame = readings(np.array(values, dtype=float))
    sent = frame.set_index("timestamp")["value"]

    good = assess_readings(frame, SENSOR).good

    assert good.index.is_monotonic_increasing
    assert (good == sent.loc[good.index]).all()


@given(power=st.integers(-30, 30), seed=st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_the_unit_does_not_matter(power, seed):
    """Pascal or gigapascal, a spike is a spike and a freeze a freeze."""
    values = living(seed=seed)
    values[700], values[900:1_400], values[1_500] = 9_999.0, values[900], 0.0
    scale = 2.0**power

    plain, scaled = (
        assess_readings(readings(values), SENSOR),
        assess_readings(readings(values * scale), SENSOR),
    )

    assert plain.grade == scaled.grade
    assert plain.good.index.equals(scaled.good.index)
    assert len(plain.good) == len(values) - 499 - 2
