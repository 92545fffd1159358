"""The table of sensors: read, save, add; and the fleet of the table and `conf/sensors.yaml` together.

Holds the SQL. What a field means is defined in `training.data.sensors`, which needs no database.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, inspect, select
from sqlalchemy.dialects import postgresql, sqlite

from training.data.sensors import Fleet, Sensor
from training.data.sensors_file import Fields, read_sensors_file
from training.errors import ConfigurationError
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
        query = select(*_stored_columns(connection)).order_by(sensors.c.id)
        rows = connection.execute(query).mappings().all()
    fields_by_id: dict[str, Fields] = {}
    for row in rows:
        filled = {name: value for name, value in row.items() if value is not None}
        if (step := filled.pop("step_seconds", None)) is not None:
            filled["step"] = step
        fields_by_id[filled.pop("id")] = filled
    return fields_by_id


def save_sensors(engine: Engine, chosen: Iterable[Sensor]) -> None:
    """Write whole sensors into the table, replacing rows of the same id.

    Raises:
        ConfigurationError: a field is set that the table of another system has no column for.
    """
    rows = [_row(sensor) for sensor in chosen]
    insert = _insert(engine)
    with writing(engine) as connection:
        stored = {column.name for column in _stored_columns(connection)}
        for row in rows:
            if missing := sorted(name for name in row.keys() - stored if row.pop(name) is not None):
                raise ConfigurationError(
                    f"{row['id']}: the table sensors has no column {', '.join(missing)}. Add it, or set the "
                    "field in conf/sensors.yaml."
                )
        if rows:
            columns = {name: insert.excluded[name] for name in stored - {"id"}}
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


def _stored_columns(connection: Connection) -> list[Column[Any]]:
    """The columns that the table has: one that another system maintains may be without the newest."""
    stored = {column["name"] for column in inspect(connection).get_columns(sensors.name)}
    return [column for column in sensors.c if column.name in stored]


def _insert(engine: Engine) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(sensors) if engine.dialect.name == "postgresql" else sqlite.insert(sensors)


def _row(sensor: Sensor) -> dict[str, Any]:
    fields = sensor.model_dump(exclude={"step"})
    return {
        **{name: None if value == "" else value for name, value in fields.items()},
        "step_seconds": sensor.step.total_seconds() if sensor.step else None,
        "sentinels": list(sensor.sentinels) or None,
    }
