"""Where sensors are written down: `conf/sensors.yaml` and the table `sensors`.

Knows both forms, and gives plain fields by id. What the fields mean and whether they make sense belongs to
`sensors`.
"""

import os
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from training.errors import ConfigurationError
from training.settings import conf_folder
from training.storage.database import reading, sensors, writing

if TYPE_CHECKING:
    from training.data.sensors import Sensor

Fields = Mapping[str, Any]
SECTIONS = ("types", "sensors")


@dataclass(frozen=True)
class SensorsFile:
    """What a sensors file says: fields by sensor id, and fields that all sensors of a type share."""

    path: Path
    sensors: dict[str, Fields] = field(default_factory=dict)
    types: dict[str, Fields] = field(default_factory=dict)


def read_sensors_file(path: Path | None = None) -> SensorsFile:
    """The sections `types` and `sensors` of a file; both empty where the file is missing.

    Raises:
        ConfigurationError: no readable YAML, another section, a name that is no text, or one written twice.
    """
    path = path or conf_folder(os.environ) / "sensors.yaml"
    if not path.exists():
        return SensorsFile(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}  # noqa: S506 (a safe one)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(content, dict) or not content.keys() <= set(SECTIONS):
        raise ConfigurationError(f"{path} must hold the sections {' and '.join(SECTIONS)}, nothing else.")
    named = {
        section: _parse_section(content.get(section) or {}, f"{path}, {section}") for section in SECTIONS
    }
    return SensorsFile(path, named["sensors"], named["types"])


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


def save_sensors(engine: Engine, chosen: "Iterable[Sensor]") -> None:
    """Write sensors into the table, whole: what stood there under their ids is replaced."""
    rows = [_row(sensor) for sensor in chosen]
    insert = _insert(engine)
    columns = {column.name: insert.excluded[column.name] for column in sensors.c if not column.primary_key}
    with writing(engine) as connection:
        if rows:
            connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=columns), rows)


def add_missing_sensors(engine: Engine, ids: Iterable[str]) -> list[str]:
    """Write sensors of which nothing but the id is known; those already there stay as they are.

    Returns the ids that were new.
    """
    requested = list(dict.fromkeys(ids))
    with writing(engine) as connection:
        known = set(connection.scalars(select(sensors.c.id)))
        new = [sensor_id for sensor_id in requested if sensor_id not in known]
        if new:
            rows = [{"id": sensor_id} for sensor_id in new]
            connection.execute(_insert(engine).on_conflict_do_nothing(), rows)
    return new


def _insert(engine: Engine) -> "postgresql.Insert | sqlite.Insert":
    return postgresql.insert(sensors) if engine.dialect.name == "postgresql" else sqlite.insert(sensors)


def _row(sensor: "Sensor") -> dict[str, Any]:
    fields = sensor.model_dump(exclude={"step"})
    return {
        **{name: None if value == "" else value for name, value in fields.items()},
        "step_seconds": sensor.step.total_seconds() if sensor.step else None,
        "sentinels": list(sensor.sentinels) or None,
    }


def _parse_section(section: Any, where: str) -> dict[str, Fields]:
    if not isinstance(section, dict):
        raise ConfigurationError(f"{where} must hold fields by name, not {section!r}.")
    named: dict[str, Fields] = {}
    for key, fields in section.items():
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ConfigurationError(f"{where}: {key!r} is read as a {type(key).__name__}; put it in quotes.")
        if not isinstance(fields, dict | None):
            raise ConfigurationError(f"{where}: {key} must hold fields by name, not {fields!r}.")
        if str(key) in named:
            raise ConfigurationError(f"{where}: {key} is written twice.")
        named[str(key)] = fields or {}
    return named


# The C parser reads 5,000 sensors in a tenth of the time; some builds of PyYAML come without it.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a key written twice, where YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is written twice", key.start_mark
                )
            seen.add(str(key.value))
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping
