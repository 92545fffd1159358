"""The table of sensors: read, save, add; and the fleet of the table and `conf/sensors.yaml` together.

Holds the SQL. What a field means is defined in `training.data.sensors`, which needs no database.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from training.data.sensors import Fleet, Sensor
from training.data.sensors_file import Fields, read_sensors_file
from training.storage.database import reading, sensors, writing


def load_fleet(engine: Engine, path: Path | None = None) -> Fleet:
    """The sensors of the file and of the table; a field set in the file wins over the table's.

    Raises:
        ConfigurationError: a sensor is invalid; the message names it and what is wrong.
    """
    return Fleet.merge(read_sensors_file(path), read_sensors_table(engine))


def read_sensors_table(engine: Engine) -> dict[str, Fields]:
    """The columns that are filled, by sensor id."""
    with reading(engine) as connection:
        rows = connection.execute(select(sensors).order_by(sensors.c.id)).mappings().all()
    fields_by_id: dict[str, Fields] = {}
    for row in rows:
        filled = {name: value for name, value in row.items() if value is not None}
        if (step := filled.pop("step_seconds", None)) is not None:
            filled["step"] = step
        fields_by_id[filled.pop("id")] = filled
    return fields_by_id


def save_sensors(engine: Engine, chosen: Iterable[Sensor]) -> None:
    """Write whole sensors into the table, replacing rows of the same id."""
    rows = [_row(sensor) for sensor in chosen]
    insert = _insert(engine)
    columns = {column.name: insert.excluded[column.name] for column in sensors.c if not column.primary_key}
    with writing(engine) as connection:
        if rows:
            connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=columns), rows)


def add_missing_sensors(engine: Engine, ids: Iterable[str]) -> list[str]:
    """Add sensors of which only the id is known, leave those in the table as they are; the ids added."""
    requested = list(dict.fromkeys(ids))
    with writing(engine) as connection:
        known = set(connection.scalars(select(sensors.c.id)))
        new = [sensor_id for sensor_id in requested if sensor_id not in known]
        if new:
            rows = [{"id": sensor_id} for sensor_id in new]
            connection.execute(_insert(engine).on_conflict_do_nothing(), rows)
    return new


def _insert(engine: Engine) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(sensors) if engine.dialect.name == "postgresql" else sqlite.insert(sensors)


def _row(sensor: Sensor) -> dict[str, Any]:
    fields = sensor.model_dump(exclude={"step"})
    return {
        **{name: None if value == "" else value for name, value in fields.items()},
        "step_seconds": sensor.step.total_seconds() if sensor.step else None,
        "sentinels": list(sensor.sentinels) or None,
    }
