"""A simulated plant: ten one-minute sensors of a pump and of a well, over a week, from a seed.

Each signal is a slow level plus the noise of one reading, rounded to the resolution of its instrument, in the
proportions of a real pump rig and a real offshore well. The pump couples its sensors: when it stops, flow and
current fall within minutes and the motor cools over hours. Faults are put in by `operator_faults`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from training.common.arrays import Flags, Floats

MINUTES_PER_DAY = 1440
PUMP, WELL = "Pump 201", "Well 101"


@dataclass(frozen=True)
class StopResponse:
    """How a signal follows the pump: the level at rest, and the time constant in minutes."""

    level: float
    lag: float
    noise: float = 0.02  # share of the running pump's noise that remains


@dataclass(frozen=True)
class Signal:
    """One sensor's readings, one per minute; level and noise are apart, because a fault may change one."""

    level: Floats
    noise: Floats
    resolution: float = 0.0  # of the instrument; 0: sends what it sees

    @property
    def values(self) -> Floats:
        """What the instrument sees."""
        return np.asarray(self.level + self.noise)

    def rounded(self, values: Floats) -> Floats:
        """Values as the instrument sends them."""
        if self.resolution:
            values = np.round(np.round(values / self.resolution) * self.resolution, 5)
        return values


def steady(_: np.random.Generator, minutes: int, __: float) -> Floats:
    """A level that never moves."""
    return np.zeros(minutes)


def wander(rng: np.random.Generator, minutes: int, memory: float) -> Floats:
    """A process that returns to zero within `memory` minutes, of standard deviation one."""
    keep = np.exp(-1 / memory)
    start = rng.standard_normal() * keep
    steps = rng.standard_normal(minutes) * np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], steps, zi=[start])[0])


def smooth_wander(rng: np.random.Generator, minutes: int, memory: float) -> Floats:
    """The same without corners: it cannot move far within some minutes."""
    warm_up = int(memory)
    result = follow(wander(rng, minutes + warm_up, memory), memory / 10)
    return np.asarray(result[warm_up:])


def slugs(rng: np.random.Generator, minutes: int, period: float) -> Floats:
    """Slug flow: rises slowly and falls quickly, with a period that varies."""
    phase = 2 * np.pi * np.cumsum(1 + 0.15 * wander(rng, minutes, 3 * period)) / period
    return np.asarray(np.sin(phase) + 0.3 * np.sin(2 * phase))


def follow(target: Floats, lag: float) -> Floats:
    """A signal that follows its target with a time constant in minutes."""
    gain = 1 - np.exp(-1 / lag)
    return np.asarray(lfilter([gain], [1.0, gain - 1], target, zi=[(1 - gain) * target[0]])[0])


Course = Callable[[np.random.Generator, int, float], Floats]


@dataclass(frozen=True)
class PlantSensor:
    """One instrument: its entry in sensors.yaml, and how its signal moves, in its unit."""

    description: Mapping[str, Any]
    mean: float
    course: Course
    memory: float  # of the course, in minutes
    amplitude: float  # of the course
    noise: float  # standard deviation from one reading to the next
    resolution: float
    stop: StopResponse | None = None

    def simulate(self, rng: np.random.Generator, minutes: int) -> Signal:
        """The signal with the pump running."""
        noise = self.noise * rng.standard_normal(minutes)
        level = self.mean + self.amplitude * self.course(rng, minutes, self.memory)
        return Signal(level, noise, self.resolution)


def _describe(
    name: str, platform: str, kind: str, unit: str, low: float, high: float, **limits: float
) -> dict[str, Any]:
    return {
        "name": name,
        "platform": platform,
        "type": kind,
        "unit": unit,
        "low": low,
        "high": high,
        **limits,
    }


SENSORS = {
    "FT-201": PlantSensor(
        _describe("Pump flow", PUMP, "flow", "L/min", 0, 300),
        *(125.8, wander, 500, 1.2, 0.75, 1.36),
        StopResponse(0.0, 0.7, noise=0.0),
    ),
    "PT-201": PlantSensor(
        _describe("Discharge pressure", PUMP, "pressure", "bar", -1, 25),
        *(4.2, steady, 1, 0.0, 0.25, 0.05),
        StopResponse(0.0, 0.7),
    ),
    "IT-201": PlantSensor(
        _describe("Motor current", PUMP, "current", "A", 0, 15),
        *(2.54, steady, 1, 0.0, 0.45, 0.0001),
        StopResponse(0.02, 0.3),
    ),
    "TT-201": PlantSensor(
        _describe("Fluid temperature", PUMP, "temperature", "degC", 0, 150),
        *(28.6, smooth_wander, 900, 0.6, 0.004, 0.0001),
        StopResponse(24.0, 60.0, noise=1.0),
    ),
    "TT-202": PlantSensor(
        _describe("Motor temperature", PUMP, "temperature", "degC", 0, 250, critical_high=95),
        *(89.0, wander, 300, 0.6, 0.16, 0.0001),
        StopResponse(24.0, 30.0, noise=0.5),
    ),
    "VT-201": PlantSensor(
        _describe("Pump vibration", PUMP, "vibration", "g", 0, 5),
        *(0.213, wander, 700, 0.0045, 0.0013, 0.00001),
        StopResponse(0.002, 0.3, noise=0.1),
    ),
    "PT-101": PlantSensor(
        _describe("Annulus pressure", WELL, "pressure", "bar", 0, 400),
        *(44.0, smooth_wander, 600, 1.5, 0.03, 0.001),
    ),
    "PT-102": PlantSensor(
        _describe("Wellhead pressure", WELL, "pressure", "bar", 0, 400),
        *(163.0, smooth_wander, 1200, 1.5, 0.10, 0.01),
    ),
    "PT-103": PlantSensor(
        _describe("Choke pressure", WELL, "pressure", "bar", 0, 400),
        *(73.0, slugs, 55, 2.5, 1.0, 0.001),
    ),
    "TT-101": PlantSensor(
        _describe("Wellhead temperature", WELL, "temperature", "degC", -20, 250),
        *(117.6, smooth_wander, 900, 0.2, 0.005, 0.0001),
    ),
}


def simulate_plant(minutes: int, *, seed: int = 0) -> dict[str, Signal]:
    """The signals of all sensors with the pump running, by sensor."""
    return {
        sensor_id: sensor.simulate(np.random.default_rng([seed, number]), minutes)
        for number, (sensor_id, sensor) in enumerate(SENSORS.items())
    }


def stop_pump(signal: Signal, response: StopResponse, running: Flags) -> Signal:
    """The signal with the pump stopped where `running` is false."""
    share = follow(running.astype(float), response.lag)
    level = response.level + (signal.level - response.level) * share
    return replace(signal, level=level, noise=signal.noise * (response.noise + (1 - response.noise) * share))


def as_readings(values: Mapping[str, Floats], start: pd.Timestamp) -> pd.DataFrame:
    """What `ReadingStore.ingest` takes, in order of time; NaN is a reading that never arrived."""
    length = max(len(series) for series in values.values())
    wide = pd.DataFrame(values, index=pd.date_range(start, periods=length, freq="min", name="timestamp"))
    return to_long(wide)


def to_long(wide: pd.DataFrame) -> pd.DataFrame:
    """Readings of a table with a column per sensor and an index `timestamp`, in order of time."""
    long = wide.melt(ignore_index=False, var_name="sensor_id", value_name="value").dropna().reset_index()
    return long.sort_values(["timestamp", "sensor_id"], ignore_index=True).assign(data_quality=0)


def sensors_file() -> dict[str, Any]:
    """The content of conf/sensors.yaml."""
    return {"sensors": {sensor_id: dict(sensor.description) for sensor_id, sensor in SENSORS.items()}}
