"""Sensors: the properties of each instrument, and how a fleet finds sensors by id or glob.

Needs no database: the table of sensors is in `training.data.sensor_store`, what sensors sent in
`training.data.readings`.
"""

import difflib
import fnmatch
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from training.data.physical_range import PhysicalRange
from training.data.sensors_file import Fields, SensorsFile, read_sensors_file
from training.errors import ConfigurationError, UnknownSensor

MAX_ID_LENGTH = 200
# From the lowest to the highest. A limit may equal the end of the range on its side, and no other limit.
LIMITS_IN_ORDER = ("low", "critical_low", "warning_low", "warning_high", "critical_high", "high")
RANGE_ENDS = {"low": {"critical_low", "warning_low"}, "high": {"critical_high", "warning_high"}}
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


class Sensor(BaseModel):
    """One instrument. Limits are in the unit of the sensor; an unknown limit is None.

    >>> Sensor(id=1001, step="5 min", low=0, high=250).step
    datetime.timedelta(seconds=300)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    id: str
    name: str = ""
    platform: str = ""
    type: str = ""
    unit: str = ""
    step: timedelta | None = None  # between readings; None: inferred from them
    low: float | None = None  # physical range: all that the instrument can read
    high: float | None = None
    critical_low: float | None = None  # operating limits: values that the plant must not reach
    critical_high: float | None = None
    warning_low: float | None = None  # inside the critical limits: the operator has time to act
    warning_high: float | None = None
    max_rate: float | None = None  # fastest permitted change, in the unit per minute
    sentinels: tuple[float, ...] = ()  # numbers that this sensor sends for "no value"
    enabled: bool = True

    @property
    def title(self) -> str:
        """The name shown to people."""
        return self.name or self.id

    @property
    def physical_range(self) -> PhysicalRange:
        """What the instrument can measure."""
        return PhysicalRange.between(self.low, self.high)

    @field_validator("id")
    @classmethod
    def _check_id(cls, value: str) -> str:
        if not is_sensor_id(value):
            raise ValueError(
                f"an id has 1 to {MAX_ID_LENGTH} printable characters, without blanks around them"
            )
        return value

    @field_validator("step", mode="before")
    @classmethod
    def _parse_step(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return pd.Timedelta(value).to_pytimedelta()
        except ValueError as error:
            raise ValueError("expected seconds, or a text like 10s, 5 min or 1 h") from error

    @model_validator(mode="after")
    def _check_limits(self) -> "Sensor":
        if self.step is not None and self.step <= timedelta(0):
            raise ValueError(f"step {self.step} is invalid: it must be above zero")
        for name in (*LIMITS_IN_ORDER, "max_rate"):
            limit = getattr(self, name)
            if limit is not None and not math.isfinite(limit):
                raise ValueError(f"{name} = {limit} is invalid: it must be finite")
        if self.max_rate is not None and self.max_rate <= 0:
            raise ValueError(f"max_rate = {self.max_rate:g} is invalid: it must be above zero")
        for below, above in combinations(LIMITS_IN_ORDER, 2):
            least, most = getattr(self, below), getattr(self, above)
            may_be_equal = above in RANGE_ENDS.get(below, ()) or below in RANGE_ENDS.get(above, ())
            if least is None or most is None or least < most or (may_be_equal and least == most):
                continue
            raise ValueError(f"{below} = {least:g} must be below {above} = {most:g}")
        return self


def is_sensor_id(text: str) -> bool:
    """Whether a text can be a sensor's id.

    >>> is_sensor_id("PT-1001"), is_sensor_id(" PT-1001"), is_sensor_id("")
    (True, False, False)
    """
    return 0 < len(text) <= MAX_ID_LENGTH and text == text.strip() and not CONTROL_CHARACTERS.search(text)


class Fleet(Mapping[str, Sensor]):
    """Sensors by id, in the order of their sources.

    >>> fleet = Fleet([Sensor(id="PT-1"), Sensor(id="PT-2"), Sensor(id="TT-1", enabled=False)])
    >>> [sensor.id for sensor in fleet.match(["PT-*"])]
    ['PT-1', 'PT-2']
    """

    def __init__(self, sensors: Iterable[Sensor] = ()) -> None:
        self._sensors = {sensor.id: sensor for sensor in sensors}

    def __getitem__(self, sensor_id: str) -> Sensor:
        return self._sensors[sensor_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sensors)

    def __len__(self) -> int:
        return len(self._sensors)

    @classmethod
    def from_yaml(cls, path: Path | None = None) -> "Fleet":
        """The sensors of a file; by default of `sensors.yaml` in the conf folder.

        Raises:
            ConfigurationError: a sensor is invalid; the message names it and what is wrong.
        """
        return cls.merge(read_sensors_file(path), {})

    @classmethod
    def merge(cls, file: SensorsFile, table: Mapping[str, Fields]) -> "Fleet":
        """The sensors of both sources; a field set in the file wins over the table's, that over its type's.

        Raises:
            ConfigurationError: a sensor is invalid; the message names it and what is wrong.
        """
        return cls(_merged(file, sensor_id, table) for sensor_id in {**file.sensors, **table})

    def sensor(self, sensor_id: str) -> Sensor:
        """The sensor of this id.

        Raises:
            UnknownSensor: there is none; the message names similar ids.
        """
        if sensor := self._sensors.get(sensor_id):
            return sensor
        raise UnknownSensor(self._unknown(sensor_id))

    def match(self, globs: Iterable[str] = ()) -> list[Sensor]:
        """The enabled sensors that match any of the globs, in the fleet's order; all of them without globs.

        A full id matches a disabled sensor too.

        Raises:
            UnknownSensor: a glob matches no sensor; the message names similar ids.
        """
        patterns = list(globs) or ["*"]
        chosen = {sensor_id for glob in patterns for sensor_id in self._match_glob(glob)}
        return [sensor for sensor in self._sensors.values() if sensor.id in chosen]

    def _match_glob(self, glob: str) -> list[str]:
        if glob in self._sensors:
            return [glob]
        is_match = re.compile(fnmatch.translate(glob)).match
        matches = [sensor for sensor in self._sensors.values() if is_match(sensor.id)]
        if not matches and (glob != "*" or not self._sensors):
            raise UnknownSensor(self._unknown(glob))
        return [sensor.id for sensor in matches if sensor.enabled]

    def _unknown(self, requested: str) -> str:
        if not self._sensors:
            return "There are no sensors yet: load readings (safeplan load FILE) or write conf/sensors.yaml."
        if similar := difflib.get_close_matches(requested, self._sensors, n=5, cutoff=0.5):
            return f"There is no sensor {requested}; similar ids: {', '.join(similar)}."
        examples = ", ".join(list(self._sensors)[:5])
        return (
            f"There is no sensor {requested}; there are {len(self)}, such as {examples}. "
            "List them: safeplan sensors"
        )


def _merged(file: SensorsFile, sensor_id: str, table: Mapping[str, Fields]) -> Sensor:
    in_file, in_table = file.sensors.get(sensor_id, {}), table.get(sensor_id, {})
    kind = in_file.get("type") or in_table.get("type") or ""
    of_type = file.types.get(str(kind), {})
    try:
        return Sensor(**{**of_type, **in_table, **in_file, "id": sensor_id})
    except ValidationError as error:
        origin = file.path if sensor_id in file.sensors else "the table sensors"
        raise ConfigurationError(f"Sensor {sensor_id} of {origin}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{field} = {problem['input']!r}: {message}" if field else message)
    return "; ".join(lines) + f". Known fields: {', '.join(Sensor.model_fields)}."
