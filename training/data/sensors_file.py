"""Read `conf/sensors.yaml`: fields by sensor, and fields that all sensors of a type share.

Checks that the file is well formed. Whether the fields make sense is checked in `training.data.sensors`; the
table of sensors is in `training.data.sensor_store`.
"""

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from training.errors import ConfigurationError
from training.settings import conf_folder

Fields = Mapping[str, Any]
SECTIONS = ("types", "sensors")


@dataclass(frozen=True)
class SensorsFile:
    """The content of a sensors file: fields by sensor id, and fields by type of sensor."""

    path: Path
    sensors: dict[str, Fields] = field(default_factory=dict)
    types: dict[str, Fields] = field(default_factory=dict)


def read_sensors_file(path: Path | None = None) -> SensorsFile:
    """The sections `types` and `sensors` of a file; both empty where the file is missing.

    Raises:
        ConfigurationError: invalid YAML, an unknown section, a name that is not text, or a repeated name.
    """
    path = path or conf_folder(os.environ) / "sensors.yaml"
    if not path.exists():
        return SensorsFile(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}  # noqa: S506 (a safe one)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(content, dict) or not content.keys() <= set(SECTIONS):
        raise ConfigurationError(f"{path} must contain only the sections {' and '.join(SECTIONS)}.")
    sections = {name: _parse_section(content.get(name) or {}, f"{path}, {name}") for name in SECTIONS}
    return SensorsFile(path, sections["sensors"], sections["types"])


def _parse_section(section: Any, where: str) -> dict[str, Fields]:
    if not isinstance(section, dict):
        raise ConfigurationError(f"{where} must contain fields by name, not {section!r}.")
    named: dict[str, Fields] = {}
    for key, fields in section.items():
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ConfigurationError(f"{where}: {key!r} is read as a {type(key).__name__}; put it in quotes.")
        if not isinstance(fields, dict | None):
            raise ConfigurationError(f"{where}: {key} must contain fields by name, not {fields!r}.")
        if str(key) in named:
            raise ConfigurationError(f"{where}: {key} is written twice; delete one of the two.")
        named[str(key)] = fields or {}
    return named


# The C parser reads 5,000 sensors in a tenth of the time; some builds of PyYAML come without it.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a repeated key, where YAML would let the last one win."""

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
