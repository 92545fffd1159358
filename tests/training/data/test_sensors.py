"""Sensors: read from the file, validated, and found by id or glob."""

import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import ValidationError

from training.data.sensors import Fleet, Sensor
from training.errors import ConfigurationError, UnknownSensor
from training.settings import PACKAGED_CONF


def test_a_sensor_is_read_from_the_file(write_sensors):
    path = write_sensors(
        "sensors:\n  PT-1: {name: Wellhead, unit: bar, step: 5 min, low: 0, sentinels: [-200]}"
    )

    assert Fleet.from_yaml(path)["PT-1"] == Sensor(
        id="PT-1", name="Wellhead", unit="bar", step=timedelta(minutes=5), low=0, sentinels=(-200,)
    )


def test_ids_may_be_whole_numbers(write_sensors):
    assert list(Fleet.from_yaml(write_sensors("sensors:\n  1001: {}"))) == ["1001"]


def test_without_a_file_there_are_no_sensors(tmp_path):
    assert len(Fleet.from_yaml(tmp_path / "none.yaml")) == 0


def test_the_packaged_file_is_readable():
    assert len(Fleet.from_yaml(PACKAGED_CONF / "sensors.yaml")) == 0


def test_the_field_of_a_sensor_wins_over_that_of_its_type(write_sensors):
    path = write_sensors(
        "types:\n  pressure: {unit: bar, low: 0, high: 400}\nsensors:\n  PT-1: {type: pressure, high: 100}",
    )

    sensor = Fleet.from_yaml(path)["PT-1"]

    assert (sensor.unit, sensor.low, sensor.high) == ("bar", 0, 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sensors:\n  PT-1: {low: 3, high: 1}", "PT-1.*low = 3 must be below high = 1"),
        (
            "sensors:\n  PT-1: {high: 10, critical_high: 11}",
            "PT-1.*critical_high = 11 must be below high = 10",
        ),
        (
            "sensors:\n  PT-1: {warning_low: 5, critical_low: 5}",
            "critical_low = 5 must be below warning_low = 5",
        ),
        (
            "sensors:\n  PT-1: {warning_low: 8, warning_high: 5}",
            "warning_low = 8 must be below warning_high = 5",
        ),
        (
            "sensors:\n  PT-1: {warning_high: 9, critical_high: 8}",
            "warning_high = 9 must be below critical_high",
        ),
        ("sensors:\n  PT-1: {warning_high: 9, high: 8}", "warning_high = 9 must be below high = 8"),
        ("sensors:\n  PT-1: {max_rate: 0}", "max_rate = 0 is invalid: it must be above zero"),
        ("sensors:\n  PT-1: {low: .inf}", "PT-1.*must be finite"),
        ("sensors:\n  PT-1: {step: soon}", "PT-1.*5 min"),
        ("sensors:\n  PT-1: {step: 0}", "PT-1.*above zero"),
        ("sensors:\n  PT-1: {hihg: 3}", "PT-1.*hihg.*Known fields"),
        ("sensors:\n  PT-1: {low: high}", "PT-1.*low = 'high'"),
        ("sensors:\n  PT-1: {}\n  PT-1: {}", "PT-1 is written twice"),
        ("sensors:\n  1: {}\n  '1': {}", "1 is written twice"),
        ("sensors:\n  NO: {}", "in quotes"),
        ("sensors:\n  ' PT': {}", "printable"),
        ("sensors: [PT-1]", "fields by name"),
        ("sensors:\n  PT-1: 5", "PT-1 must contain fields"),
        ("sensor:\n  PT-1: {}", "only the sections types and sensors"),
        ("sensors: {", "not readable YAML"),
    ],
)
def test_an_invalid_sensor_is_refused_by_name(write_sensors, text, message):
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        Fleet.from_yaml(write_sensors(text))


@pytest.mark.parametrize("bad", ["", " PT", "PT\n1", "x" * 201])
def test_an_invalid_id_is_refused(bad):
    with pytest.raises(ValidationError, match="printable"):
        Sensor(id=bad)


def test_an_operating_limit_may_equal_the_end_of_the_range():
    assert Sensor(id="LT-1", low=0, critical_low=0, critical_high=100, high=100).critical_low == 0


FLEET = Fleet(
    [
        Sensor(id="PT-1001"),
        Sensor(id="PT-1002", enabled=False),
        Sensor(id="TT-1001"),
        Sensor(id="a[1]", name="A"),
    ]
)


@pytest.mark.parametrize(
    ("globs", "ids"),
    [
        ([], ["PT-1001", "TT-1001", "a[1]"]),
        (["PT-*"], ["PT-1001"]),
        (["PT-1002"], ["PT-1002"]),
        (["TT-*", "*-1001"], ["PT-1001", "TT-1001"]),
        (["a[1]"], ["a[1]"]),
    ],
)
def test_globs_match_enabled_sensors_and_ids_match_any(globs, ids):
    assert [sensor.id for sensor in FLEET.match(globs)] == ids


def test_the_error_of_a_glob_without_match_names_similar_ids():
    with pytest.raises(UnknownSensor, match="PT-10001; similar ids: PT-1001"):
        FLEET.match(["TT-*", "PT-10001"])


def test_the_error_of_an_unknown_id_without_similar_ones_names_some():
    with pytest.raises(UnknownSensor, match="there are 4, such as PT-1001"):
        FLEET.sensor("zzz")


def test_the_error_of_an_empty_fleet_names_the_command_to_run():
    with pytest.raises(UnknownSensor, match="safeplan load"):
        Fleet().match()


def test_the_title_of_a_sensor_is_its_name_or_else_its_id():
    assert [sensor.title for sensor in FLEET.match(["PT-1001", "a[1]"])] == ["PT-1001", "A"]


@pytest.mark.parametrize("module", ["training.data.sensors", "training.pipeline.worker_preload"])
def test_what_a_worker_imports_loads_no_sqlalchemy(module):
    """A worker gets readings and returns a model; it opens no database."""
    program = f"import sys, {module}; print('sqlalchemy' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout == "False\n"
