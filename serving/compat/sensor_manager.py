"""Sensors in the form that scripts for the original system expect.

Converts to the original's field names. Sensors are defined in `training.data.sensors`.
"""

from dataclasses import dataclass

from training.data.sensor_store import load_fleet
from training.data.sensors import Fleet, Sensor
from training.workspace import Workspace


@dataclass(frozen=True)
class NamedSensor:
    """A sensor with the original's field names."""

    sensor_id: str
    display_name: str
    platform: str
    sensor_type: str
    unit: str
    enabled: bool
    lower_critical_limit: float | None
    upper_critical_limit: float | None

    @classmethod
    def of(cls, sensor: Sensor) -> "NamedSensor":
        """The sensor with the original's field names."""
        return cls(
            sensor_id=sensor.id,
            display_name=sensor.title,
            platform=sensor.platform,
            sensor_type=sensor.type,
            unit=sensor.unit,
            enabled=sensor.enabled,
            lower_critical_limit=sensor.critical_low,
            upper_critical_limit=sensor.critical_high,
        )


class SensorManager:
    """Reads the sensors at each call."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def get_all_sensors(self) -> list[NamedSensor]:
        """Every sensor, in the fleet's order."""
        return [NamedSensor.of(sensor) for sensor in self._fleet().values()]

    def get_enabled_sensors(self) -> list[NamedSensor]:
        """The enabled sensors."""
        return [sensor for sensor in self.get_all_sensors() if sensor.enabled]

    def get_sensor(self, sensor_id: str | int) -> NamedSensor:
        """One sensor.

        Raises:
            UnknownSensor: no sensor has this id.
        """
        return NamedSensor.of(self._fleet().sensor(str(sensor_id)))

    def _fleet(self) -> Fleet:
        return load_fleet(self.workspace.engine)


def create_sensor_manager() -> SensorManager:
    """The manager of the installation in `SAFEPLAN_HOME` or the working folder."""
    return SensorManager(Workspace.here())
