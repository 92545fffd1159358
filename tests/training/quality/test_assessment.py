"""Assessment: distinguish the faults of an instrument from unusual behaviour of the process."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.sensors import Sensor
from training.quality.assessment import SensorQuality, assess_readings
from training.quality.fault_checks import QualitySettings
from training.quality.fault_report import FaultKind
from training.reasons import Reason, ReasonCode, render

SENSOR = Sensor(id="PT-1001", unit="bar")
START = pd.Timestamp("2026-03-01 00:00")


def readings(values, *, every="5min", quality=None) -> pd.DataFrame:
    """Readings one step apart."""
    frame = pd.DataFrame(
        {"timestamp": pd.date_range(START, periods=len(values), freq=every), "value": values}
    )
    return frame if quality is None else frame.assign(data_quality=quality)


def process_values(count=2_000, *, level=50.0, noise=0.3, seed=0) -> np.ndarray:
    """Values of a process with a daily cycle and noise."""
    rng = np.random.default_rng(seed)
    return level + 5 * np.sin(np.arange(count) * 2 * np.pi / 288) + noise * rng.normal(size=count)


def kinds(quality: SensorQuality) -> set[FaultKind]:
    return {fault.kind for fault in quality.faults}


def excluded(quality: SensorQuality, frame: pd.DataFrame) -> list[int]:
    """The positions of the excluded rows."""
    return np.flatnonzero(~frame["timestamp"].isin(quality.good.index)).tolist()


def test_a_healthy_sensor_gets_an_a_and_all_its_readings_are_good():
    frame = readings(process_values())

    quality = assess_readings(frame, SENSOR)

    assert (quality.grade, quality.reasons, excluded(quality, frame)) == ("A", (), [])


@pytest.mark.parametrize("every", ["1s", "5min", "1h", "90min"])
def test_a_frozen_run_is_excluded_from_its_second_reading(every):
    """The first one was still live."""
    values = process_values(3_000)
    values[1_000:2_000] = values[1_000]
    frame = readings(values, every=every)

    quality = assess_readings(frame, SENSOR)

    assert kinds(quality) == {FaultKind.FROZEN}
    assert excluded(quality, frame) == list(range(1_001, 2_000))


def test_a_sensor_that_is_frozen_for_most_of_the_window_is_reported():
    values = process_values(3_000)
    values[800:] = values[800]

    quality = assess_readings(readings(values), SENSOR)

    assert FaultKind.FROZEN in kinds(quality)
    assert len(quality.good) == 801


def test_a_valve_that_rarely_moves_is_not_frozen():
    """Moving through ten values a few times a week is normal for it."""
    opening = np.linspace(0, 70, 10)
    values = np.concatenate(
        [np.zeros(500), opening, np.full(700, 70.0), opening[::-1] + 30, np.full(600, 30.0)]
    )

    quality = assess_readings(readings(values), SENSOR)

    assert len(quality.good) == len(values)


def test_standstills_of_every_night_are_normal():
    values = process_values(288 * 7)
    at_night = np.arange(len(values)) % 288 < 90
    values[at_night] = 41.5

    quality = assess_readings(readings(values), SENSOR)

    assert len(quality.good) == len(values)


def test_a_stop_is_reported_and_stays_in_the_data():
    """A stop is behaviour of the process, not a fault of the instrument."""
    values = process_values(3_000)
    values[1_000:1_200] = 0.0

    quality = assess_readings(readings(values), SENSOR)

    assert kinds(quality) == {FaultKind.AT_REST}
    assert len(quality.good) == len(values)
    assert Reason(ReasonCode.QUALITY_AT_REST, {"sensor": "PT-1001"}) in quality.reasons


def test_a_valve_at_its_limit_is_at_rest_and_a_pressure_is_stuck():
    values = np.clip(process_values(3_000, level=90), 0, 99)
    values[1_000:1_300] = 100.0

    opening = assess_readings(readings(values), Sensor(id="FV-1", unit="%", low=0, high=100))
    pressure = assess_readings(readings(values), Sensor(id="PT-1", unit="bar", low=0, high=100))

    assert (kinds(opening), len(opening.good)) == ({FaultKind.AT_REST}, 3_000)
    assert (kinds(pressure), len(pressure.good)) == ({FaultKind.STUCK}, 2_701)


def test_repeated_values_of_a_coarse_sensor_are_not_frozen():
    values = np.round(process_values(3_000, noise=0.05) * 2) / 2

    quality = assess_readings(readings(values), SENSOR)

    assert kinds(quality) == {FaultKind.TIED}
    assert quality.resolution == 0.5
    assert len(quality.good) == len(values)


def test_a_single_reading_far_outside_the_range_is_a_spike():
    values = process_values()
    values[700] = 9_999.0
    frame = readings(values)

    quality = assess_readings(frame, SENSOR)

    assert kinds(quality) == {FaultKind.SPIKE}
    assert excluded(quality, frame) == [700]


def test_a_signal_that_drops_to_zero_and_back_is_a_dropout():
    values = process_values()
    values[700] = 0.0
    values[900:902] = 0.0
    frame = readings(values)

    quality = assess_readings(frame, SENSOR)

    assert kinds(quality) == {FaultKind.DROPOUT}
    assert excluded(quality, frame) == [700, 900, 901]


@given(
    length=st.integers(4, 60),
    height=st.floats(-40, 400),
    start=st.integers(100, 1_800),
    seed=st.integers(0, 50),
)
@settings(max_examples=40, deadline=None)
def test_an_excursion_of_four_readings_or_more_stays_in_the_data(length, height, start, seed):
    """However far it goes: a process may do that, and the detector must see it."""
    values = process_values(seed=seed)
    values[start : start + length] += height

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_a_single_reading_within_the_range_of_the_process_is_not_a_spike():
    values = process_values()
    values[700] += 6  # twenty times the noise, but the day alone moves as far

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_a_sensor_whose_bursts_come_in_all_sizes_has_no_spikes():
    """There must be a gap between ordinary jumps and spikes; here there is none."""
    values = process_values(5_000)
    values[500:5_000:600] += 3 * 2.0 ** np.arange(8)

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_frequent_pulses_are_normal_behaviour():
    values = process_values()
    values[25::50] = 500.0

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_an_overshooting_step_is_not_a_spike():
    values = process_values(noise=0.1)
    values[1_000:] += 50
    values[1_000] = 180.0

    assert len(assess_readings(readings(values), SENSOR).good) == len(values)


def test_the_longest_dropout_is_a_setting():
    values = process_values()
    values[700:702] = 0.0
    frame = readings(values)

    assert len(assess_readings(frame, SENSOR).good) == len(values) - 2
    assert len(assess_readings(frame, SENSOR, QualitySettings(dropout_readings=1)).good) == len(values)
    assert len(assess_readings(readings(values, every="1h"), SENSOR).good) == len(values)


def test_a_reading_next_to_a_gap_is_not_a_spike():
    """What happened in the gap is unknown."""
    frame = readings(process_values())
    frame.loc[700, "value"] = 9_999.0
    frame = frame.drop(index=range(640, 700))

    assert FaultKind.SPIKE not in kinds(assess_readings(frame, SENSOR))


def test_a_time_without_readings_is_a_gap_that_counts_the_missing_ones():
    frame = readings(process_values()).drop(index=range(500, 600))

    (gap,) = assess_readings(frame, SENSOR).faults

    assert (gap.kind, gap.count) == (FaultKind.GAP, 100)
    assert gap.end - gap.start == pd.Timedelta("5min") * 101


def test_readings_out_of_range_marked_bad_or_without_a_value_are_excluded():
    values = process_values()
    values[10], values[20], values[30] = -5.0, np.nan, np.inf
    marks = np.zeros(len(values), dtype=int)
    marks[40] = 2
    frame = readings(values, quality=marks)

    quality = assess_readings(frame, Sensor(id="PT-1", low=0, high=100))

    assert excluded(quality, frame) == [10, 20, 30, 40]
    assert kinds(quality) == {FaultKind.OUT_OF_RANGE, FaultKind.MISSING, FaultKind.MARKED_BAD}


def test_a_sensor_that_never_changed_gets_an_f_and_its_value():
    quality = assess_readings(readings(np.full(500, 173.0961)), Sensor(id="TT-1", unit="degC"))

    assert quality.grade == "F"
    assert [render(reason) for reason in quality.reasons] == ["constant: never changed from 173.1 degC"]
    assert len(quality.good) == 500


def test_the_reason_of_a_fault_names_its_largest_episode():
    values = process_values(3_000)
    values[500:600], values[1_000:2_000] = values[500], values[1_000]

    quality = assess_readings(readings(values), SENSOR)

    assert render(quality.reasons[0]) == (
        f"frozen: 1,100 readings (37 %), 2 times, the longest 3.47 d at {values[1_000]:.5g} bar "
        "from 2026-03-04 11:20 UTC"
    )


def test_the_reason_of_gaps_names_the_longest():
    frame = readings(process_values()).drop(index=[*range(500, 600), *range(900, 910)])

    quality = assess_readings(frame, SENSOR)

    assert render(quality.reasons[0]) == "2 gaps, the longest 8.42 h from 2026-03-02 17:35 UTC"


def test_too_few_readings_are_an_f():
    quality = assess_readings(readings(process_values(12)), SENSOR)

    assert quality.grade == "F"
    assert Reason(ReasonCode.QUALITY_TOO_FEW, {"good": 12, "received": 12}) in quality.reasons


def test_a_wrongly_declared_step_is_reported_and_corrected():
    quality = assess_readings(readings(process_values(), every="1min"), Sensor(id="PT-1", step="1h"))

    assert quality.step == pd.Timedelta("1min")
    assert [render(reason) for reason in quality.reasons] == [
        "wrong step: declared every 1 h, received every 1 min"
    ]


def test_irregular_sampling_is_reported():
    rng = np.random.default_rng(0)
    stamps = START + pd.to_timedelta(np.cumsum(rng.uniform(20, 400, size=500)), unit="s")
    frame = pd.DataFrame({"timestamp": stamps, "value": process_values(500)})

    assert FaultKind.IRREGULAR in kinds(assess_readings(frame, SENSOR))


def test_a_worse_sensor_has_no_better_grade():
    marks = np.arange(1_000)

    grades = [
        assess_readings(
            readings(process_values(1_000), quality=(marks % 100 < bad).astype(int)), SENSOR
        ).grade
        for bad in (0, 3, 10, 30, 60)
    ]

    assert grades == ["A", "B", "C", "D", "F"]


def test_all_episodes_are_counted_and_the_largest_described():
    marks = np.arange(20_000) % 2
    quality = assess_readings(
        readings(process_values(20_000), quality=marks), SENSOR, QualitySettings(episodes=5)
    )

    assert [finding.episodes for finding in quality.findings] == [10_000]
    assert len(quality.faults) == 5


@pytest.mark.parametrize(
    "values",
    [
        [],
        [np.nan] * 40,
        [1.0],
        [1e308, -1e308] * 40,
        [5e-324, 0.0, 3e-310] * 40,
        [*process_values(50), 1e308, *process_values(50)],
    ],
    ids=["nothing", "no value", "one", "huge", "tiny", "one huge"],
)
def test_extreme_numbers_raise_no_error(values):
    quality = assess_readings(readings(np.array(values, dtype=float)), SENSOR)

    assert np.isfinite(quality.resolution)
    assert quality.grade in "ABCDF"


ANY_VALUES = st.lists(
    st.sampled_from([0.0, 1.0, 20.0, 20.1, 20.2, 999.0, np.nan]) | st.floats(-1e6, 1e6),
    min_size=0,
    max_size=120,
)


@given(values=ANY_VALUES, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_does_not_matter(values, seed):
    frame = readings(np.array(values, dtype=float))
    frame = pd.concat([frame, frame[::3].assign(value=7.0)])  # some contradict each other

    straight, mixed = (
        assess_readings(frame, SENSOR),
        assess_readings(frame.sample(frac=1, random_state=seed), SENSOR),
    )

    assert vars(straight) | {"good": None} == vars(mixed) | {"good": None}
    pd.testing.assert_series_equal(straight.good, mixed.good)


@given(values=ANY_VALUES)
@settings(max_examples=60, deadline=None)
def test_every_good_reading_is_one_that_was_sent(values):
    """The assessment excludes readings and never changes one."""
    frame = readings(np.array(values, dtype=float))
    sent = frame.set_index("timestamp")["value"]

    good = assess_readings(frame, SENSOR).good

    assert good.index.is_monotonic_increasing
    assert (good == sent.loc[good.index]).all()


@given(power=st.integers(-30, 30), seed=st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_the_unit_of_the_values_does_not_matter(power, seed):
    """A spike in pascal is a spike in gigapascal."""
    values = process_values(seed=seed)
    values[700], values[900:1_400], values[1_500] = 9_999.0, values[900], 0.0
    scale = 2.0**power

    plain, scaled = (
        assess_readings(readings(values), SENSOR),
        assess_readings(readings(values * scale), SENSOR),
    )

    assert plain.grade == scaled.grade
    assert plain.good.index.equals(scaled.good.index)
    assert len(plain.good) == len(values) - 499 - 2
