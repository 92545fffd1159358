"""Windows: which readings they hold, their digest, and what too few readings mean."""

import subprocess
import sys
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.common.sampling import infer_step
from training.data.sensors import Sensor
from training.errors import DataError, NotTrainable
from training.kinds import Kind
from training.quality.windows import (
    Window,
    WindowSettings,
    require_minimum,
    training_window,
    window_of,
)

SENSOR = Sensor(id="PT-1001", unit="bar")
START = pd.Timestamp("2026-03-01 00:00")


def window(values, *, every="5min", start=START, keep=None) -> Window:
    """Readings one step apart; `keep` picks some of them."""
    series = pd.Series(np.asarray(values, float), pd.date_range(start, periods=len(values), freq=every))
    return Window(
        "PT-1001", pd.Timedelta(every).to_pytimedelta(), series if keep is None else series.iloc[keep]
    )


def frame_of(values, *, every="5min") -> pd.DataFrame:
    stamps = pd.date_range(START, periods=len(values), freq=every)
    return pd.DataFrame({"timestamp": stamps, "value": np.asarray(values, float), "data_quality": 0})


@pytest.mark.parametrize("step", ["1s", "7s", "1min", "5min", "16min", "30min", "1h", "90min", "1D"])
def test_the_inferred_step_does_not_depend_on_jitter_gaps_and_repeats(step):
    width = pd.Timedelta(step)
    rng = np.random.default_rng(0)
    stamps = START + pd.TimedeltaIndex([width * number for number in range(400)])
    jittered = stamps + pd.to_timedelta(rng.uniform(-0.05, 0.05, 400) * width.total_seconds(), unit="s")
    with_gaps = stamps.delete(range(100, 250)).delete([10, 20, 30])
    with_repeats = stamps.append(stamps[50:90] + width / 10)

    result = {
        infer_step(case) for case in (stamps, jittered.round("ms"), with_gaps, with_repeats, stamps[::-1])
    }

    assert result == {width.to_pytimedelta()}


def test_a_constant_step_is_not_rounded():
    """Steps of 61 seconds rounded to a minute would be wrong by 24 minutes after a day."""
    assert infer_step(pd.date_range(START, periods=50, freq="61s")) == timedelta(seconds=61)


@pytest.mark.parametrize("stamps", [[], ["2026-01-01"], ["2026-01-01", "2026-01-01"]])
def test_a_single_time_has_no_step(stamps):
    assert infer_step(pd.DatetimeIndex(stamps)) is None


def test_an_empty_window_is_valid():
    empty = window([])

    assert len(empty) == 0
    assert len(empty.capped(5)) == 0
    with pytest.raises(DataError, match="PT-1001"):
        _ = empty.start


NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


@given(values=NUMBERS)
def test_the_digest_does_not_depend_on_time_unit_name_or_sign_of_zero(values):
    plain = window(values)
    index = plain.values.index
    for unit in ("s", "us", "ns"):
        other = pd.Series(plain.values.to_numpy(), index.as_unit(unit), name="anything")
        assert Window("renamed", timedelta(hours=1), other).digest == plain.digest
    flipped = [-value if value == 0 else value for value in values]
    assert window(flipped).digest == plain.digest


@given(values=NUMBERS, position=st.integers(0, 39), shift=st.sampled_from(["1us", "1s", "-1D"]))
def test_any_change_changes_the_digest(values, position, shift):
    position %= len(values)
    plain = window(values)
    altered = list(values)
    altered[position] = np.nextafter(values[position], 0)
    moved = window(values, start=START + pd.Timedelta(shift))

    assume(altered[position] != values[position])
    assert window(altered).digest != plain.digest
    assert moved.digest != plain.digest
    assert window([*values, 1.0]).digest != plain.digest


def test_the_digest_is_the_same_in_every_version():
    """Fingerprints in the registry depend on it."""
    assert (
        window([1.0, 2.5, -0.0]).digest == "98678e308e33ef4a8ace48d6e3e243b9cdd7bab317630475aa14efef35eb3180"
    )


def test_a_capped_window_has_the_newest_readings():
    assert window(range(100)).capped(3).values.tolist() == [97, 98, 99]
    assert len(window(range(3)).capped(100)) == 3


def test_a_window_holds_only_the_good_readings_of_its_time_range():
    frame = frame_of(np.random.default_rng(0).normal(size=100))
    frame.loc[10, "data_quality"] = 1
    frame.loc[20, "value"] = np.nan

    quality, readings = window_of(
        frame.sample(frac=1, random_state=0), SENSOR, start=frame["timestamp"][5], end=frame["timestamp"][30]
    )

    good = [number for number in range(5, 30) if number not in {10, 20}]
    assert readings.values.index.tolist() == frame["timestamp"][good].tolist()
    assert (quality.received, readings.step) == (25, timedelta(minutes=5))


def test_the_error_for_too_few_good_readings_gives_their_number_and_what_to_do():
    frame = frame_of(np.random.default_rng(0).normal(size=40), every="1h")
    frame.loc[12:, "data_quality"] = 4

    with pytest.raises(NotTrainable) as refusal:
        training_window(frame, SENSOR, Kind.DETECTOR, WindowSettings(detector_days=7))

    message = str(refusal.value)
    assert message.startswith("PT-1001: 12 good readings in the last 7 d (")
    assert "marked bad: 28 readings" in message
    assert "a detector needs 30: collect more, or change window.detector_days" in message


@pytest.mark.parametrize(("kind", "minimum"), [(Kind.DETECTOR, 30), (Kind.FORECASTER, 50)])
def test_each_kind_has_its_minimum(kind, minimum):
    enough = window(range(minimum))

    assert require_minimum(enough, kind) is enough
    with pytest.raises(NotTrainable, match=f"a {kind} needs {minimum}"):
        require_minimum(enough.capped(minimum - 1), kind)


def test_a_training_window_is_the_newest_history_within_the_limits():
    frame = frame_of(np.random.default_rng(0).normal(size=24 * 100), every="1h")

    _, month = training_window(frame, SENSOR, Kind.DETECTOR, WindowSettings(detector_days=30))
    _, few = training_window(frame, SENSOR, Kind.FORECASTER, WindowSettings(forecaster_rows=100))

    assert (len(month), len(few)) == (24 * 30 + 1, 100)
    assert month.end == few.end == frame["timestamp"].iloc[-1]


def test_a_sensor_without_readings_is_not_trainable():
    with pytest.raises(NotTrainable, match="PT-1001: 0 good readings"):
        training_window(frame_of([]), SENSOR, Kind.FORECASTER)


def test_the_resolution_is_the_grid_of_the_values():
    rng = np.random.default_rng(0)
    tenths = np.round(rng.normal(20, 2, size=2_000), 1)
    averaged = tenths.copy()
    averaged[::40] += rng.uniform(0, 0.1, size=50)

    assert window(tenths).resolution == pytest.approx(0.1)
    assert window(averaged).resolution == pytest.approx(0.1)
    assert window(np.full(50, 3.0)).resolution == 0


@pytest.mark.parametrize("module", ["training.quality.windows", "training.evaluation.gate"])
def test_quality_and_evaluation_load_no_database_tracking_server_or_search(module):
    program = f"import sys, {module}; print({{'mlflow', 'optuna', 'sqlalchemy'}} & set(sys.modules))"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout == "set()\n"
