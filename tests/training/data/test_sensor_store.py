"""The table of sensors, and the fleet of table and file together."""

from datetime import timedelta

from training.data.sensor_store import add_missing_sensors, load_fleet, save_sensors
from training.data.sensors import Sensor


def test_the_table_keeps_every_field(engine, tmp_path):
    sensor = Sensor(
        id="PT-1",
        name="Wellhead",
        platform="P-48",
        type="pressure",
        unit="bar",
        step=timedelta(seconds=0.5),
        low=0,
        high=400,
        critical_low=20,
        critical_high=310,
        sentinels=(-200, 9999),
        enabled=False,
    )
    save_sensors(engine, [Sensor(id="PT-1", name="old"), Sensor(id="PT-2")])
    save_sensors(engine, [sensor])

    fleet = load_fleet(engine, tmp_path / "none.yaml")

    assert dict(fleet) == {"PT-1": sensor, "PT-2": Sensor(id="PT-2")}


def test_each_field_is_taken_from_the_file_then_the_table_then_the_type(engine, write_sensors):
    path = write_sensors(
        "types:\n  pressure: {unit: bar, low: 0, high: 400}\nsensors:\n  PT-1: {name: Wellhead}"
    )
    save_sensors(engine, [Sensor(id="PT-1", name="other", type="pressure", high=100)])

    sensor = load_fleet(engine, path)["PT-1"]

    assert (sensor.name, sensor.unit, sensor.low, sensor.high) == ("Wellhead", "bar", 0, 100)


def test_adding_missing_sensors_leaves_the_others_unchanged(engine, tmp_path):
    save_sensors(engine, [Sensor(id="PT-1", unit="bar")])

    assert add_missing_sensors(engine, ["PT-2", "PT-1", "PT-2"]) == ["PT-2"]

    fleet = load_fleet(engine, tmp_path / "none.yaml")
    assert {sensor.id: sensor.unit for sensor in fleet.values()} == {"PT-1": "bar", "PT-2": ""}
