"""The table of sensors, and the fleet of table and file together."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from training.data.sensor_store import add_missing_sensors, load_fleet, save_sensors
from training.data.sensors import Sensor
from training.errors import ConfigurationError
from training.storage import schema
from training.storage.database import open_database, writing


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
        warning_low=30,
        warning_high=290,
        max_rate=15,
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


ADDED_SINCE_0007 = {
    "sensors": ("warning_low", "warning_high", "max_rate"),
    "alert_changes": ("reason_data",),
    "alerts": ("observed", "notified", "settled_level", "settled_at"),
}


@pytest.fixture
def foreign_table(engine, database_url):
    """A table of sensors that another system maintains, as a view without the columns of revision 0008."""
    with writing(engine) as connection:
        for table, columns in ADDED_SINCE_0007.items():
            for name in columns:
                connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {name}"))
        connection.execute(text("ALTER TABLE sensors RENAME TO plant_sensors"))
        connection.execute(text("CREATE VIEW sensors AS SELECT * FROM plant_sensors"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
        connection.execute(
            text("INSERT INTO plant_sensors (id, unit, critical_high) VALUES ('PT-1', 'bar', 30)")
        )
    opened = open_database(database_url)
    yield opened
    with writing(opened) as connection:
        connection.execute(text("DROP VIEW sensors"))
        connection.execute(text("ALTER TABLE plant_sensors RENAME TO sensors"))
    opened.dispose()


def test_a_view_without_the_newest_columns_is_upgraded_and_read(foreign_table, write_sensors):
    path = write_sensors("sensors:\n  PT-1: {warning_high: 25}")

    sensor = load_fleet(foreign_table, path)["PT-1"]

    assert (sensor.unit, sensor.critical_high, sensor.warning_high) == ("bar", 30, 25)
    with writing(foreign_table) as connection:
        assert schema.schema_revision(connection) == schema.CURRENT_REVISION


def test_a_limit_that_a_foreign_table_cannot_keep_is_refused(foreign_table):
    with pytest.raises(ConfigurationError, match="PT-1: the table sensors has no column max_rate"):
        save_sensors(foreign_table, [Sensor(id="PT-1", max_rate=5)])
